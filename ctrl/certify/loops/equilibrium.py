"""Equilibria of closed loops, at the reference or beside it: exact, or in a box proved to contain exactly one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.controller import NotApplicable
from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval

__all__ = ["RestPoint", "at_most", "behaviour_around", "distance", "equilibrium_near", "is_same", "rest_point"]

_NEAR = 1e-9  # relative distance up to which two points count as the same
_STEPS = 50  # of Newton's method
_SAMPLES = 4000  # of a run if Newton's method fails, or to describe the behaviour of an unstable loop


@final
@dataclass(frozen=True, eq=False)
class RestPoint:
    """A state x* = f(x*), or f(x*) = 0 in continuous time, proved to exist and to be the only one in its box.

    Args:
        box: (n,), contains x*; degenerate if x* is known exactly.
        reference: (n,), the task's reference.
        slopes: (n, n), Jacobian of f near x*, in floating point.
        continuous: whether f is the time derivative rather than the next state.
    """

    box: Interval
    reference: np.ndarray
    slopes: np.ndarray
    continuous: bool

    @property
    def offset(self) -> np.ndarray:
        """Upper bounds (n,) of |x* - reference|."""
        return distance(self.box, self.reference)

    @property
    def is_reference(self) -> bool:
        """Whether it is the reference, up to rounding."""
        return is_same(self.box, self.reference)

    @property
    def growth(self) -> float:
        """The largest modulus of an eigenvalue of the Jacobian; in continuous time, the largest real part. Floating
        point."""
        values = np.linalg.eigvals(self.slopes)
        return float((values.real if self.continuous else np.abs(values)).max())

    @property
    def is_attractive(self) -> bool:
        """Whether the linearised loop converges; floating point, not a proof."""
        return self.growth < (0.0 if self.continuous else 1.0)


def distance(box: Interval, point: np.ndarray) -> np.ndarray:
    """Upper bounds (n,) on the distance of any state of the box from the point."""
    return abs(box - point).hi


def at_most(a: float) -> str:
    """An upper bound on a number, printed with about three digits."""
    return f"{1.001 * a:.4g}"


def is_same(box: Interval, point: np.ndarray) -> bool:
    """Whether all of the box lies within rounding of the point."""
    return bool((distance(box, point) <= 10.0 * _NEAR * (1.0 + np.abs(point))).all())


def rest_point(loop: ClosedLoop, near: np.ndarray | None = None) -> RestPoint:
    """The equilibrium of the loop to which Newton's method converges from a state.

    A learned policy rarely outputs exactly the reference input at the reference, so its loop has an equilibrium nearby.
    It is computed in floating point and proved by :func:`equilibrium_near`.

    Args:
        loop: in discrete or continuous time.
        near: the state (n,) to start from; default: the reference.

    Raises:
        NotApplicable: no equilibrium was found, or the one that was found could not be proved.
    """
    start = loop.reference if near is None else np.asarray(near, dtype=float)
    box = Interval.of(start) if loop.drift(start)[0] else None
    if box is None:
        guess = _newton(loop, start)
        if guess is None and not loop.continuous:
            last = _run(loop, start)  # a run of the loop may lead to the equilibrium, or circle around it
            guess = _newton(loop, last[-1]) if len(last) else None
            guess = _newton(loop, last.mean(axis=0)) if guess is None and len(last) else guess
        if guess is None:
            moved = loop.drift(start)[1]
            raise NotApplicable(
                f"task '{loop.task.name}': no equilibrium of the closed loop was found from [{_text(start)}], where "
                f"the state changes by up to {moved:.3g}; a region of attraction needs one: check the law, or call "
                "rest_point with a state near it"
            )
        box = equilibrium_near(loop, guess)
        if box is None:
            raise NotApplicable(
                f"task '{loop.task.name}': the closed loop appears to have an equilibrium at [{_text(guess)}], but "
                "this could not be proved: its Jacobian there is singular or discontinuous (a kink of the law, a line "
                "of equilibria), or the equilibrium depends on an uncertain parameter"
            )
    return RestPoint(box, loop.reference, loop.enclose_jacobian(Interval.of(box.mid)).jacobian.mid, loop.continuous)


def behaviour_around(loop: ClosedLoop, rest: RestPoint) -> str:
    """A description of a simulated run that starts next to an equilibrium that is not attractive."""
    if loop.continuous:
        return "runs that start near it do not return"
    lower, upper = loop.domain
    size = np.where(np.isfinite(upper - lower), upper - lower, 1.0 + np.abs(rest.box.mid))
    last = _run(loop, rest.box.mid + 1e-4 * size)
    if not len(last):
        return "a run that starts near it leaves the domain of the task"
    swing = 0.5 * (last.max(axis=0) - last.min(axis=0))
    if (swing <= 1e-6 * size).all():
        return f"a run that starts near it converges to another equilibrium, [{_text(last[-1])}]"
    return f"a run that starts near it converges to a limit cycle of amplitude [{_text(swing)}]"


def equilibrium_near(loop: ClosedLoop, guess: np.ndarray) -> Interval | None:
    """A box (n,) around an equilibrium within rounding of the guess (n,); None if none could be proved.

    Krawczyk (1969): with G the increment of the state, Y near the inverse of its Jacobian and m the middle of a box X,
    K = m - Y G(m) + (I - Y G'(X)) (X - m). Every zero of G in X lies in K, and if K lies in the interior of X there is
    exactly one.
    """
    n = len(guess)
    Y = _inverse(loop, guess)
    if Y is None:
        return None
    identity = _identity(loop, n)
    scale = 1.0 + np.abs(guess)
    middle = guess
    for _ in range(3):  # Newton, to centre the box
        moved = loop.increment(Interval.of(middle)).mid
        middle = middle - Y @ moved
    if not (np.abs(middle - guess) <= _NEAR * scale).all():
        return None
    for radius in 10.0 ** np.arange(-15.0, -8.0):
        X = Interval(middle - radius * scale, middle + radius * scale)
        m, half = X.mid, X.rad
        G = Ball.of(loop.increment(Interval.of(m)))
        J = loop.enclose_jacobian(X).jacobian - Ball.of(identity)
        shrunk = Ball.of(np.eye(n)) - (Ball.of(Y) @ J)
        K = (Ball.of(m) - (Ball.of(Y) @ G)) + (shrunk @ Ball(np.zeros(n), half))
        if (K.lo > X.lo).all() and (K.hi < X.hi).all():
            return Interval(np.maximum(K.lo, X.lo), np.minimum(K.hi, X.hi))
    return None


def _newton(loop: ClosedLoop, start: np.ndarray) -> np.ndarray | None:
    """The limit of Newton's method with halved steps, in floating point; None if it leaves the domain or has none."""
    lower, upper = loop.domain
    x = start
    moved = loop.increment(Interval.of(x)).mid
    for _ in range(_STEPS):
        Y = _inverse(loop, x)
        if Y is None:
            return None
        step = -Y @ moved
        if (np.abs(step) <= 1e-3 * _NEAR * (1.0 + np.abs(x))).all():
            return x
        for halving in 2.0 ** -np.arange(12.0):
            ahead = x + halving * step
            change = loop.increment(Interval.of(ahead)).mid
            # In units of the step, so that states of different size count alike.
            if ((ahead >= lower) & (ahead <= upper)).all() and np.linalg.norm(Y @ change) < np.linalg.norm(step):
                break
        else:
            return None
        x, moved = ahead, change
    return None


def _inverse(loop: ClosedLoop, x: np.ndarray) -> np.ndarray | None:
    """An approximate inverse (n, n) of the increment's Jacobian at a state; None if it is singular."""
    slopes = loop.enclose_jacobian(Interval.of(x)).jacobian.mid - _identity(loop, len(x))
    if not np.isfinite(slopes).all() or np.linalg.matrix_rank(slopes) < len(x):
        return None
    return np.linalg.inv(slopes)


def _identity(loop: ClosedLoop, n: int) -> np.ndarray:
    """The matrix (n, n) that makes the Jacobian of f that of the increment."""
    return np.zeros((n, n)) if loop.continuous else np.eye(n)


def _run(loop: ClosedLoop, start: np.ndarray) -> np.ndarray:
    """The second half (k, n) of a simulated run in discrete time, empty if that leaves the domain."""
    lower, upper = loop.domain
    x, states = start, []
    for _ in range(_SAMPLES):
        x = loop(x)
        if not (np.isfinite(x) & (x >= lower) & (x <= upper)).all():
            return np.zeros((0, len(start)))
        states.append(x)
    return np.array(states[_SAMPLES // 2 :])


def _text(x: np.ndarray) -> str:
    return ", ".join(f"{a:.4g}" for a in x)
