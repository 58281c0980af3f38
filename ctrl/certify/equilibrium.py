"""Equilibria of closed loops that no double hits exactly: a box that is proved to hold one, and only one."""

from __future__ import annotations

import numpy as np

from ctrl.balls import Ball
from ctrl.certify.closed_loop import ClosedLoop
from systems.lowering.interval import Interval

__all__ = ["equilibrium_near"]

_NEAR = 1e-9  # what counts as the same point up to rounding, relative to its size


def equilibrium_near(loop: ClosedLoop, guess: np.ndarray) -> Interval | None:
    """A box (n,) around an equilibrium within rounding of the guess (n,); None where none could be proved.

    Krawczyk (1969): with G the motion, Y about the inverse of its Jacobian and m the middle of a box X,
    K = m - Y G(m) + (I - Y G'(X)) (X - m). Every zero of G in X lies in K, and if K lies in the interior of X there is
    exactly one.
    """
    n = len(guess)
    identity = np.zeros((n, n)) if loop.continuous else np.eye(n)
    slopes = loop.enclose_jacobian(Interval.of(guess)).jacobian.mid - identity
    if not np.isfinite(slopes).all() or np.linalg.matrix_rank(slopes) < n:
        return None
    Y = np.linalg.inv(slopes)
    scale = 1.0 + np.abs(guess)
    middle = guess
    for _ in range(3):  # Newton, to centre the box
        moved = loop.motion(Interval.of(middle)).mid
        middle = middle - Y @ moved
    if not (np.abs(middle - guess) <= _NEAR * scale).all():
        return None
    for radius in 10.0 ** np.arange(-15.0, -8.0):
        X = Interval(middle - radius * scale, middle + radius * scale)
        m, half = X.mid, X.rad
        G = Ball.of(loop.motion(Interval.of(m)))
        J = loop.enclose_jacobian(X).jacobian - Ball.of(identity)
        shrunk = Ball.of(np.eye(n)) - (Ball.of(Y) @ J)
        K = (Ball.of(m) - (Ball.of(Y) @ G)) + (shrunk @ Ball(np.zeros(n), half))
        if (K.lo > X.lo).all() and (K.hi < X.hi).all():
            return Interval(np.maximum(K.lo, X.lo), np.minimum(K.hi, X.hi))
    return None
