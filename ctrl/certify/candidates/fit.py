"""Polynomial Lyapunov functions fitted to the basin of attraction, by linear programs and counterexamples.

The set that a level set should contain is determined by simulation: along rays from the equilibrium, up to the point
from which runs no longer arrive. To find a polynomial V with V <= 1 inside, V >= 1 outside and a decrease at all inner
samples is a linear program in its coefficients. States at which its solution does not decrease are added to the
samples, until there are none. This is counterexample-guided synthesis (Ahmed, Peruffo & Abate 2020) with a linear
program as the learner. Nothing is proved here: the result is a candidate for :func:`ctrl.certify.certify`.
"""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np

from ctrl.certify.candidates.polynomials import Features, Monomials
from ctrl.certify.candidates.sampling import arrives
from ctrl.certify.functions.lyapunov import SymbolicLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from systems import InvalidValue
from systems.arguments import expect_seed
from systems.arithmetic.interval import Interval

__all__ = ["Basin", "fitted", "sampled_basin"]

_RAYS = {1: 2, 2: 180}  # by dimension; 250 n beyond
_PROBES = 100_000
_ATTACKED, _ASCENTS = 2000, 40
_ADDED = 800  # counterexamples per round


@dataclass(frozen=True, eq=False)
class Basin:
    """Starts from which trajectories arrive, by direction: centre + r direction for r up to ``radius``.

    Args:
        centre: (n,).
        directions: (k, n), which reach the border of the box at r = 1.
        radius: (k,), at most 1.
    """

    centre: np.ndarray
    directions: np.ndarray
    radius: np.ndarray

    def points(self, share: float | np.ndarray) -> np.ndarray:
        """States (k, n) at a share of the radius."""
        return self.centre + self.directions * (self.radius * share)[:, None]

    def beyond(self, share: float) -> np.ndarray:
        """States at a share of the way from the end of each ray that ends inside the box to the border of the box."""
        short = self.radius < 1.0
        r = self.radius[short] + share * (1.0 - self.radius[short])
        return self.centre + self.directions[short] * r[:, None]

    @property
    def volume(self) -> float:
        """Area enclosed, in the plane: of the polygon through the ends of the rays."""
        x, y = (self.points(1.0) - self.centre).T
        return float(0.5 * np.abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def sampled_basin(
    loop: ClosedLoop,
    lower: np.ndarray,
    upper: np.ndarray,
    rays: int | None = None,
    seed: int = 0,
    steps: int = 4000,
    centre: np.ndarray | None = None,
) -> Basin:
    """Bisection along rays: starts from which a simulation comes close to the centre without leaving the box.

    In continuous time by Runge-Kutta steps of half the task's sample time.

    Args:
        centre: (n,), the equilibrium of the loop; default: the reference.
    """
    centre, n = loop.reference if centre is None else centre, len(lower)
    rng = np.random.default_rng(expect_seed(seed))
    count = rays or _RAYS.get(n, 250 * n)
    if n == 2:
        angle = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
        sphere = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        sphere = rng.standard_normal((count, n))
    sphere = sphere / np.abs(sphere).max(axis=1, keepdims=True)
    directions = np.where(sphere > 0, sphere * (upper - centre), sphere * (centre - lower))
    h = 0.5 * loop.task.dt

    def advance(x: np.ndarray) -> np.ndarray:
        if not loop.continuous:
            return loop(x)
        k1 = loop(x)
        k2 = loop(x + 0.5 * h * k1)
        k3 = loop(x + 0.5 * h * k2)
        return x + h / 6.0 * (k1 + 2.0 * (k2 + k3) + loop(x + h * k3))

    def arriving(x: np.ndarray) -> np.ndarray:
        return arrives(advance, x, centre, lower, upper, steps)

    inner, outer = np.zeros(count), np.ones(count)
    whole = arriving(centre + directions * (1 - 1e-9))
    inner[whole] = 1.0
    for _ in range(10):
        middle = 0.5 * (inner + outer)
        arrived = arriving(centre + directions * middle[:, None])
        inner, outer = np.where(arrived, np.maximum(middle, inner), inner), np.where(arrived, outer, middle)
    return Basin(centre, directions, np.where(whole, 1.0, inner))


def fitted(
    loop: ClosedLoop,
    degree: int,
    basin: Basin,
    share: float = 0.9,
    margin: float = 3e-3,
    rounds: int = 12,
    seed: int = 0,
    features: ca.Function | None = None,
) -> SymbolicLyapunov:
    """A polynomial V, plus a combination of given features, with the largest part of the basin in {V <= 1} that a
    linear program finds.

    Args:
        loop: the closed loop.
        degree: of V, even.
        basin: starts from which its trajectories arrive.
        share: of each ray that the level set should contain; with a larger share, no V may be found; default: 0.9.
        margin: V must decrease by this times |z|^2 at the samples, z the state in units of the basin's size; in
            discrete time times dt; default: 0.003.
        rounds: of counterexamples; default: 12.
        seed: of the counterexamples; default: 0.
        features: smooth functions of the state (n, 1) in one column (k, 1), such as energies; default: none.

    Raises:
        InvalidValue: no V of this degree decreases even on a small part of the basin.
    """
    rng = np.random.default_rng(expect_seed(seed))
    centre, rate = basin.centre, margin * (1.0 if loop.continuous else loop.task.dt)
    scale = np.abs(basin.points(1.0) - centre).max(axis=0)
    border = basin.points(share)
    inside = np.concatenate(
        [basin.points(share * r) for r in (*np.geomspace(1e-4, 0.05, 10), *np.linspace(0.06, 1, 16))]
    )
    outside = np.concatenate([basin.beyond(s) for s in (0.0, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0)])
    basis = Features(Monomials.up_to(degree, centre, scale, even=_is_odd(loop, inside, centre)), features)
    c = None
    for _ in range(rounds):
        solution = _solve(loop, basis, border, inside, outside, rate)
        if solution is None:
            break
        c = solution
        k = rng.integers(len(basin.directions), size=_PROBES)
        r = rng.random(_PROBES) ** (1.0 / len(centre))
        r[::4] = 10.0 ** (-4.0 * r[::4])  # the shape near the equilibrium differs from that far away
        near = basin.points(1.0)[k] * r[:, None] + centre * (1.0 - r[:, None])
        near = near + 0.02 * scale * rng.standard_normal(near.shape) * r[:, None]
        near = _worsened(loop, basis, c, near, rng)
        growth = _growth(loop, basis, c, near)
        far = np.concatenate([basin.beyond(s) for s in rng.random(20)])
        too_low = far[basis.values(far) @ c < 1.0]
        bad = np.flatnonzero(growth > -0.3 * rate)
        if not len(bad) and not len(too_low):
            break
        worst = bad[np.argsort(-growth[bad])][: _ADDED // 2]
        some = rng.choice(bad, min(len(bad), _ADDED // 2), replace=False) if len(bad) else bad
        inside = np.concatenate([inside, near[np.unique(np.concatenate([worst, some]))]])
        outside = np.concatenate([outside, too_low[:_ADDED]])
    if c is None:
        raise InvalidValue(
            f"no polynomial of degree {degree} decreases at all samples of '{loop.task.name}'; reduce share or margin, "
            "or raise the degree"
        )
    return SymbolicLyapunov(basis.function(c), Interval.of(centre))


def _growth(loop: ClosedLoop, basis: Features, c: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Change of V relative to |z|^2 at the states, -infinite where V > 1."""
    growth = _change(loop, basis, x) @ c / _size(x, basis.monomials.centre, basis.monomials.scale)
    return np.where(basis.values(x) @ c <= 1.0, growth, -np.inf)


def _worsened(loop: ClosedLoop, basis: Features, c: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The states with V <= 1, and points found by random ascent from the worst, as violations at kinks are narrow."""
    growth = _growth(loop, basis, c, x)
    x, growth = x[growth > -np.inf], growth[growth > -np.inf]
    worst = np.argsort(growth)[-_ATTACKED:]
    attacked, best, step = x[worst], growth[worst], 0.05
    for _ in range(_ASCENTS):
        size = np.linalg.norm((attacked - basis.monomials.centre) / basis.monomials.scale, axis=1, keepdims=True)
        ahead = attacked + step * size * basis.monomials.scale * rng.standard_normal(attacked.shape)
        new = _growth(loop, basis, c, ahead)
        better = new > best
        attacked, best = np.where(better[:, None], ahead, attacked), np.where(better, new, best)
        step *= 0.9
    return np.concatenate([x, attacked])


def _size(x: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.asarray((((x - centre) / scale) ** 2).sum(axis=1))


def _change(loop: ClosedLoop, basis: Features, x: np.ndarray) -> np.ndarray:
    """Rows that give the change of V at the states, (b, k)."""
    after = loop(x)
    if loop.continuous:
        return basis.slopes(x, after)
    return basis.values(after) - basis.values(x)


def _solve(
    loop: ClosedLoop, basis: Features, border: np.ndarray, inside: np.ndarray, outside: np.ndarray, rate: float
) -> np.ndarray | None:
    """The coefficients; None if the linear program has no solution."""
    import cvxpy as cp  # slow to import and only needed here

    rows = _change(loop, basis, inside) / _size(inside, basis.monomials.centre, basis.monomials.scale)[:, None]
    inner, outer = basis.values(border), basis.values(outside)
    c, slack = cp.Variable(len(basis)), cp.Variable(len(inner), nonneg=True)
    constraints = [rows @ c <= -rate, inner @ c <= 1.0 + slack]
    if len(outer):
        constraints.append(outer @ c >= 1.0)
    # The mean bounds the level set from outside; otherwise the size of V would not be determined.
    objective = cp.Minimize(cp.sum(slack) / len(inner) + 1e-4 * cp.sum(inner @ c) / len(inner) + 1e-9 * cp.norm1(c))
    problem = cp.Problem(objective, constraints)
    try:
        problem.solve(solver=cp.CLARABEL)
    except cp.error.SolverError:
        return None
    if problem.status not in ("optimal", "optimal_inaccurate") or c.value is None:
        return None
    return np.asarray(c.value)


def _is_odd(loop: ClosedLoop, x: np.ndarray, centre: np.ndarray) -> bool:
    """Whether the loop is symmetric about the equilibrium, in which case V should be, too."""
    after, mirrored_after = loop(x), loop(2 * centre - x)
    mirrored = -after if loop.continuous else 2 * centre - after
    return bool(np.allclose(mirrored_after, mirrored, rtol=1e-9, atol=1e-9))
