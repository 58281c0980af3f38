"""Settles boxes of states that lie outside the set, inside the core, or where V is proved to decrease."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from ctrl.certify.bounds.decrease import change, decreases_around, lowest
from ctrl.certify.bounds.frame import Frame
from ctrl.certify.claims.claim import Claim
from systems.arithmetic.affine import Affine, Patch
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_matrices import total

__all__ = ["CORES", "Examiner", "Findings", "violates"]

CORES = 80  # sizes of the parallelepiped around the centre that are tried


@final
@dataclass(frozen=True, eq=False)
class Findings:
    """The result of examining boxes.

    Args:
        open: (b,), whether a box is not settled.
        spread: (b, n), how much each direction contributes to the error of the bounds.
        worst: (b, n), the state at which the change of V seems largest.
        disturbance: (b, q), under which it does.
    """

    open: np.ndarray
    spread: np.ndarray
    worst: np.ndarray
    disturbance: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Examiner:
    """Settles the boxes of a frame that lie beyond the set, inside the core, or where V decreases everywhere."""

    claim: Claim
    frame: Frame

    def cover(self) -> tuple[np.ndarray, np.ndarray] | None:
        """A box of coordinates, low and high (n,), that holds the region; None where the frame does not serve."""
        region = self.claim.region
        whole = self.frame.cover(*region.hull)
        centre = self.frame.cover(region.V.centre.lo, region.V.centre.hi)
        if whole is None or centre is None:
            return None
        reach = Interval.of(region.V.reach(region.level, self.frame.T))
        return np.maximum(whole[0], (centre[0] - reach).lo), np.minimum(whole[1], (centre[1] + reach).hi)

    def settled_around(self, half: np.ndarray) -> np.ndarray:
        """Whether parallelepipeds of half-widths (b, n) around the centre are settled by one Jacobian each; (b,)."""
        region, loop, centre = self.claim.region, self.claim.loop, self.claim.region.V.centre
        reach = Interval.of(upward(half @ np.abs(self.frame.T).T))
        hull = Interval((centre - reach).lo, (centre + reach).hi)
        point = Interval(np.broadcast_to(centre.lo, half.shape), np.broadcast_to(centre.hi, half.shape))
        core = Patch(hull, point, half, self.frame.T)
        slopes = loop.enclose_slopes(core)
        shown = decreases_around(region.V, slopes, core, self.claim.kappa, loop.continuous)
        if not (region.is_whole or loop.continuous):
            image = centre + (slopes @ Ball.of(Interval(-half, half))).interval
            shown &= ((image.lo >= region.lower) & (image.hi <= region.upper)).all(axis=1)
        return shown

    def core(self, cover: tuple[np.ndarray, np.ndarray]) -> np.ndarray | None:
        """Half-widths (n,) of a parallelepiped around the centre that is settled at once, large if possible."""
        region, T = self.claim.region, self.frame.T
        room = np.minimum(-cover[0], cover[1]) * (1 + 1e-9)  # a little more, for what is taken off again by rounding
        if not (room > 0).all():
            return None
        if region.inner > 0:  # nothing is claimed of the centre
            return np.zeros_like(room)
        # Widths in proportion to those of the ellipsoid that V is about near its centre.
        hessian = T.T @ region.V.enclose_hessian(region.V.centre).mid @ T
        if not np.isfinite(hessian).all():
            return None
        shape = np.sqrt(np.maximum(np.diag(np.linalg.pinv(0.5 * (hessian + hessian.T))), 0.0))
        shape = np.where(shape > 0, shape, room)
        half = np.minimum(shape * (room / shape).max(), room)[None] * 2.0 ** -np.arange(0, CORES / 2, 0.5)[:, None]
        shown = self.settled_around(half)
        return half[np.argmax(shown)] if shown.any() else None

    def examine(self, low: np.ndarray, high: np.ndarray, core: np.ndarray) -> Findings:
        """Of boxes low <= z <= high, each (b, n), with a core that is settled."""
        region, loop = self.claim.region, self.claim.loop
        n = len(core)
        still_open, spread, worst = np.zeros_like(low[:, 0], dtype=bool), np.zeros_like(low), np.zeros_like(low)
        disturbance = np.zeros_like(low[:, :1]) + loop.disturbance_box.mid
        centre = self.frame.cover(region.V.centre.lo, region.V.centre.hi)
        if centre is None:
            return Findings(~still_open, high - low, worst, disturbance)
        # The core extends from the centre's own coordinates, which lie between centre[0] and centre[1]; rounded inward.
        inner = (centre[1] - Interval.of(core)).hi, (centre[0] + Interval.of(core)).lo
        within = (low >= inner[0]).all(axis=1) & (high <= inner[1]).all(axis=1)
        rest = np.flatnonzero(~within | (region.inner > 0))
        patch = self.frame.patch(low[rest], high[rest])
        least = lowest(region.V, patch)
        beyond = ((patch.hull.lo > region.upper) | (patch.hull.hi < region.lower)).any(axis=1)
        relevant = ~beyond & ~(least > region.level)
        rest, patch, least = rest[relevant], patch[relevant], least[relevant]
        if not len(rest):
            return Findings(still_open, spread, worst, disturbance)
        f, disturbed = loop.relax(patch), loop.with_disturbances(patch)
        bounds = change(region.V, disturbed, f, self.claim.kappa, loop.continuous)
        least = np.fmax(least, bounds.V)
        settled, error, d = bounds.upper < 0, bounds.spread[:, :n], bounds.worst[:, :n]
        if region.inner > 0:
            left = np.flatnonzero(~settled)
            settled[left] = self._stays(disturbed[left], f[left])
        elif self.claim.kappa > 0:
            settled &= least >= 0
        if not (region.is_whole or loop.continuous):
            image = f.range(disturbed.half)
            inside: Any = ((image.lo >= region.lower) & (image.hi <= region.upper)).all(axis=1)
            error = np.where(inside[:, None], error, np.abs(f.matrix[..., :n]).max(axis=1) * patch.half)
            settled, d = settled & inside, np.where(inside[:, None], d, 0.0)
        still_open[rest] = ~settled & ~(least > region.level)
        spread[rest], worst[rest] = error, patch.point.mid + d @ self.frame.T.T
        if loop.is_disturbed:
            box = loop.disturbance_box
            disturbance[rest] = np.clip(disturbance[rest] + bounds.worst[:, n:], box.lo, box.hi)
        return Findings(still_open, spread, worst, disturbance)

    def _stays(self, patch: Patch, f: Affine) -> np.ndarray:
        """Whether all states of parallelepipeds are in the inner set one sample later or, in continuous time, are in it
        themselves; (b,)."""
        region = self.claim.region
        if self.claim.loop.continuous:
            return region.V.enclose(patch.hull).hi < region.inner
        return change(region.V, patch, f, 1.0, False).upper < region.inner  # kappa = 1: V(f) by itself


def violates(claim: Claim, x: np.ndarray, w: np.ndarray | None = None) -> np.ndarray:
    """Whether each of the points (b, n), with disturbances (b, q), is proved to refute the claim; (b,) of bool.

    It lies in the region, and V(f(x, w)) > max((1 - kappa) V(x), inner) or f(x, w) lies beyond the region's box; in
    continuous time, V'(x) f(x, w) > -kappa V(x) and V(x) >= inner.
    """
    loop, region, kappa = claim.loop, claim.region, claim.kappa
    point = Interval.of(x)
    after, value = loop.enclose(point, w), region.V.enclose(point)
    if loop.continuous:
        growth = total(region.V.enclose_gradient(point) * after) + Interval.of(kappa) * value
        leaves: Any = np.zeros_like(value.lo, dtype=bool)
        grows = (growth.lo > 0) & (value.lo >= region.inner)
    else:
        image = region.V.enclose(after)
        growth = image - (1.0 - Interval.of(kappa)) * value
        grows = (growth.lo > 0) & ((image.lo > region.inner) | (region.inner == 0.0))
        leaves = ((after.hi < region.lower) | (after.lo > region.upper)).any(axis=-1)
    return (grows | leaves) & region.surely_holds(point)
