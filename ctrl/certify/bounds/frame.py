"""Coordinates in which a set is divided into boxes.

Any regular matrix is sound; a good one reduces millions of boxes to thousands. Boxes have to be
small because of the curvature of the plant and the kinks of the control law. The directions along which these vary
should therefore be axes of the boxes, and the remaining axes conjugate to them with respect to V.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from ctrl.certify.functions.lyapunov import Lyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from systems.arithmetic.affine import Patch
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.interval import Interval

__all__ = ["Frame", "frames"]


@final
@dataclass(frozen=True, eq=False)
class Frame:
    """x = origin + T z.

    Args:
        origin: (n,).
        T: (n, n), regular, which :meth:`cover` verifies.
    """

    origin: np.ndarray
    T: np.ndarray

    def patch(self, low: np.ndarray, high: np.ndarray) -> Patch:
        """The boxes low <= z <= high, each (b, n)."""
        box = Interval(low, high)
        point = self.states(Interval.of(box.mid))
        reach = upward((np.abs(self.T) @ box.rad[..., None])[..., 0])
        hull = Ball(point.mid, upward(reach + point.rad)).interval
        return Patch(hull, point, box.rad, self.T)

    def states(self, z: Interval) -> Interval:
        """States (b, n) of coordinates (b, n), each component over the whole box."""
        return (Ball.of(np.broadcast_to(self.T, (*z.shape, z.shape[-1]))) @ Ball.of(z)).interval + self.origin

    def cover(self, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """A box of coordinates, low and high (n,), that contains all states between lower and upper; None if T is not
        regular.

        With R an approximate inverse of T and RT = I + E, R (x - origin) = z + E z, so |z - R (x - origin)| <= e |z|
        in the maximum norm, e = |E|, and |z| <= |R (x - origin)| / (1 - e).
        """
        n = len(self.origin)
        if not np.isfinite(self.T).all() or np.linalg.matrix_rank(self.T) < n:
            return None
        R = np.linalg.inv(self.T)
        defect = float(((Ball.of(R) @ Ball.of(self.T)) - Ball.of(np.eye(n))).size.sum(axis=1).max())
        if not defect < 0.01:
            return None
        rough = (Ball.of(R) @ Ball.of(Interval(lower, upper) - self.origin)).interval
        slack = 1.02 * defect * float(np.maximum(np.abs(rough.lo), np.abs(rough.hi)).max())
        grown = Interval(rough.lo, rough.hi) + Interval(-slack, slack)
        return grown.lo, grown.hi


def frames(loop: ClosedLoop, V: Lyapunov) -> list[Frame]:
    """Frames to try; the unrotated one comes first in the plane, where it is usually best, and last otherwise."""
    origin = V.middle
    n = len(origin)
    plain = Frame(origin, np.eye(n))
    hessian = V.enclose_hessian(V.centre).mid
    P = 0.25 * (hessian + hessian.T)
    if n == 1 or not np.isfinite(P).all() or np.linalg.eigvalsh(P).min() <= 0:
        return [plain]
    rows = _independent([*loop.law_directions(V.centre), *loop.plant_step.curved_directions], n)
    rest = _conjugate(rows, P, loop.enclose_jacobian(V.centre).jacobian.mid, loop.continuous)
    candidates = [np.linalg.inv(np.vstack([rows, rest]))]
    if len(rows) > 0:
        everything = _conjugate(np.zeros((0, n)), P, loop.enclose_jacobian(V.centre).jacobian.mid, loop.continuous)
        candidates.append(np.linalg.inv(everything))
    others = [Frame(origin, T) for T in candidates if np.isfinite(T).all()]
    return [plain, *others] if n == 2 else [*others, plain]


def _independent(directions: list[np.ndarray], n: int) -> np.ndarray:
    """The directions (k, n) that are linearly independent of the preceding ones."""
    independent = np.zeros((0, n))
    for direction in directions:
        if len(independent) == n:
            break
        grown = np.vstack([independent, direction / max(float(np.linalg.norm(direction)), 1e-300)])
        if np.linalg.svd(grown, compute_uv=False).min() > 1e-3:
            independent = grown
    return independent


def _conjugate(rows: np.ndarray, P: np.ndarray, A: np.ndarray, continuous: bool) -> np.ndarray:
    """The other rows: N'P for a basis N of the null space of ``rows``, along which the decrease of x'Px is diagonal."""
    from scipy.linalg import eigh, null_space  # slow to import and only needed here

    n = len(P)
    N = null_space(rows) if len(rows) else np.eye(n)
    if N.shape[1] == 0:
        return np.zeros((0, n))
    decrease = -(P @ A + A.T @ P) if continuous else P - A.T @ P @ A
    vectors = eigh(N.T @ (decrease + decrease.T) @ N, N.T @ P @ N)[1]
    return (N @ vectors).T @ P
