"""Examination of boxes of states: a box is settled if it lies outside the set or inside the core, or if V provably
decreases on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import numpy as np

from ctrl.certify.bounds.decrease import decreases_around, expanded, lowest
from ctrl.certify.bounds.ellipsoid import decreases_on_ellipsoid
from ctrl.certify.bounds.frame import Frame
from ctrl.certify.bounds.quadratics import Terms, greatest, sharpened
from ctrl.certify.claims.claim import Claim
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from systems.arithmetic.affine import Patch
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_matrices import total

__all__ = ["CORES", "Examiner", "Findings", "Run", "as_written", "suspicious", "violates"]

CORES = 80  # sizes of the parallelepiped around the centre that are tried


Run = Callable[..., Sequence[np.ndarray]]
"""Runs a function of boxes: ``run(function, *arrays)`` returns the result of ``function(*arrays)``."""


def as_written(function: Callable[..., Sequence[np.ndarray]], *arrays: np.ndarray) -> Sequence[np.ndarray]:
    """Runs a function in the arithmetic of its arrays, such as numpy's."""
    return function(*arrays)


@final
@dataclass(frozen=True, eq=False)
class Findings:
    """The result of examining boxes.

    Args:
        open: (b,), whether a box is not settled.
        spread: (b, n), how much each direction contributes to the error of the bounds.
        worst: (b, n), the state at which the change of V seems largest.
        disturbance: (b, q), under which it seems largest.
        V: (b,), lower bounds on V over the open boxes.
    """

    open: np.ndarray
    spread: np.ndarray
    worst: np.ndarray
    disturbance: np.ndarray
    V: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Examiner:
    """Settles the boxes of a frame that lie outside the set or inside the core, or on which V decreases everywhere."""

    claim: Claim
    frame: Frame

    def cover(self) -> tuple[np.ndarray, np.ndarray] | None:
        """A box of coordinates, low and high (n,), that contains the region; None if the frame is unsuitable."""
        region = self.claim.region
        whole = self.frame.cover(*region.hull)
        centre = self.frame.cover(region.V.centre.lo, region.V.centre.hi)
        if whole is None or centre is None:
            return None
        reach = Interval.of(region.V.reach(region.level, self.frame.T))
        return np.maximum(whole[0], (centre[0] - reach).lo), np.minimum(whole[1], (centre[1] + reach).hi)

    def settled_around(self, half: np.ndarray) -> np.ndarray:
        """Whether one Jacobian settles each of the parallelepipeds of half-widths (b, n) around the centre; (b,)."""
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

    def is_settled_at_once(self) -> bool:
        """Whether one matrix inequality settles the whole region: an ellipsoid on which the inputs are affine in the
        state."""
        region, loop, T = self.claim.region, self.claim.loop, self.frame.T
        V = region.V
        if region.inner > 0 or not (isinstance(V, QuadraticLyapunov) and region.is_whole):
            return False
        half = V.reach(region.level, T)
        if not np.isfinite(half).all():
            return False
        reach = Interval.of(upward(np.abs(T) @ half))
        hull = Interval((V.centre - reach).lo, (V.centre + reach).hi)
        patch = Patch(hull[None], V.centre[None], half[None], T)
        return decreases_on_ellipsoid(loop, V, region.level, patch, self.claim.kappa)

    def core(self, cover: tuple[np.ndarray, np.ndarray]) -> np.ndarray | None:
        """Half-widths (n,) of a parallelepiped around the centre that one Jacobian settles, as large as possible."""
        region, T = self.claim.region, self.frame.T
        room = np.minimum(-cover[0], cover[1]) * (1 + 1e-9)  # a little larger, to compensate for inward rounding
        if not (room > 0).all():
            return None
        if region.inner > 0:  # the claim does not include the centre
            return np.zeros_like(room)
        # Widths in proportion to those of the ellipsoid that approximates V near its centre.
        hessian = T.T @ region.V.enclose_hessian(region.V.centre).mid @ T
        if not np.isfinite(hessian).all():
            return None
        shape = np.sqrt(np.maximum(np.diag(np.linalg.pinv(0.5 * (hessian + hessian.T))), 0.0))
        shape = np.where(shape > 0, shape, room)
        half = np.minimum(shape * (room / shape).max(), room)[None] * 2.0 ** -np.arange(0, CORES / 2, 0.5)[:, None]
        if self.is_settled_at_once():
            return room
        shown = self.settled_around(half)
        return half[np.argmax(shown)] if shown.any() else None

    def examine(self, low: np.ndarray, high: np.ndarray, core: np.ndarray, run: Run = as_written) -> Findings:
        """Examines boxes low <= z <= high, each (b, n), with a core that is settled.

        Args:
            run: evaluates the functions of boxes involved; default: numpy.
        """
        region, loop = self.claim.region, self.claim.loop
        n = len(core)
        still_open, spread, worst = np.zeros_like(low[:, 0], dtype=bool), np.zeros_like(low), np.zeros_like(low)
        bounds = np.zeros_like(low[:, 0])
        disturbance = np.zeros_like(low[:, :1]) + loop.disturbance_box.mid
        centre = self.frame.cover(region.V.centre.lo, region.V.centre.hi)
        if centre is None:
            return Findings(~still_open, high - low, worst, disturbance, np.zeros_like(low[:, 0]))
        # The core extends from the centre's own coordinates, which lie between centre[0] and centre[1]; rounded inward.
        inner = (centre[1] - Interval.of(core)).hi, (centre[0] + Interval.of(core)).lo
        within = (low >= inner[0]).all(axis=1) & (high <= inner[1]).all(axis=1)
        rest = np.flatnonzero(~within | (region.inner > 0))
        low, high = low[rest], high[rest]
        least, beyond = run(self._reached, low, high)
        relevant = ~beyond & ~(least > region.level)
        rest, low, high, least = rest[relevant], low[relevant], high[relevant], least[relevant]
        if not len(rest):
            return Findings(still_open, spread, worst, disturbance, bounds)
        middle, error, inside, lowest_V, *parts = run(self._expanded, low, high)
        upper, d = greatest(Terms(*parts), partial(run, self._sharpened))
        least = np.fmax(least, lowest_V)
        settled = upper < 0
        if region.inner > 0:
            left = np.flatnonzero(~settled)
            settled[left] = self._stays(low[left], high[left], run)
        elif self.claim.kappa > 0:
            settled &= least >= 0
        if not (region.is_whole or loop.continuous):
            settled, d = settled & inside, np.where(inside[:, None], d, 0.0)
        still_open[rest] = ~settled & ~(least > region.level)
        bounds[rest] = least
        spread[rest], worst[rest] = error, middle + d[:, :n] @ self.frame.T.T
        if loop.is_disturbed:
            box = loop.disturbance_box
            disturbance[rest] = np.clip(disturbance[rest] + d[:, n:], box.lo, box.hi)
        return Findings(still_open, spread, worst, disturbance, bounds)

    def _stays(self, low: np.ndarray, high: np.ndarray, run: Run) -> np.ndarray:
        """Whether all states of boxes are in the inner set one sample later or, in continuous time, now; (b,)."""
        inner = self.claim.region.inner
        if self.claim.loop.continuous:
            (highest,) = run(self._highest, low, high)
            return highest < inner
        terms = Terms(*run(self._arrival, low, high))
        return greatest(terms, partial(run, self._sharpened))[0] < inner

    # ---- functions of boxes whose results for one box do not depend on the others ----

    def _reached(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        """Lower bounds on V, and whether a box lies outside the region's box."""
        region = self.claim.region
        patch = self.frame.patch(low, high)
        beyond: Any = ((patch.hull.lo > region.upper) | (patch.hull.hi < region.lower)).any(axis=1)
        return lowest(region.V, patch), beyond

    def _expanded(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        """The middle of a box, the contribution of each direction to the error, whether its image lies in the region's
        box, lower bounds on V, and the terms of the change of V."""
        region, loop = self.claim.region, self.claim.loop
        patch = self.frame.patch(low, high)
        f, disturbed = loop.relax(patch), loop.with_disturbances(patch)
        expansion = expanded(region.V, disturbed, f, self.claim.kappa, loop.continuous)
        n = low.shape[1]
        error = expansion.spread[:, :n]
        inside: Any = np.zeros_like(low[:, 0], dtype=bool)
        if not (region.is_whole or loop.continuous):
            image = f.range(disturbed.half)
            inside = ((image.lo >= region.lower) & (image.hi <= region.upper)).all(axis=1)
            error = np.where(inside[:, None], error, np.abs(f.matrix[..., :n]).max(axis=1) * patch.half)
        return patch.point.mid, error, inside, expansion.V, *expansion.terms.arrays

    def _sharpened(self, *terms: np.ndarray) -> tuple[np.ndarray, ...]:
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            return sharpened(Terms(*terms), len(self.frame.origin))

    def _highest(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        """Upper bounds on V."""
        return (self.claim.region.V.enclose(self.frame.patch(low, high).hull).hi,)

    def _arrival(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        """The terms of V one sample later."""
        loop, patch = self.claim.loop, self.frame.patch(low, high)
        disturbed = loop.with_disturbances(patch)
        expansion = expanded(self.claim.region.V, disturbed, loop.relax(patch), 1.0, False)  # kappa = 1: V(f) by itself
        return expansion.terms.arrays


def suspicious(claim: Claim, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Which of the points (b, n), with disturbances (b, q), seem to refute the claim in floating point, whose error is
    allowed for; (b,) of bool. A proof takes many times as long, and would fail for the other points."""
    loop, region, kappa = claim.loop, claim.region, claim.kappa
    with np.errstate(all="ignore"):
        after, value = loop(x, w), region.V(x)
        slack = 1e-9 * (1.0 + np.abs(after).max(axis=-1))
        if loop.continuous:
            slope = region.V.gradient(x)
            growth, size = (slope * after).sum(-1) + kappa * value, np.abs(slope * after).sum(-1) + kappa * value
            leaves: Any = np.zeros_like(value, dtype=bool)
        else:
            image = region.V(after)
            growth, size = image - (1.0 - kappa) * value, np.abs(image) + np.abs(value)
            leaves = ((after < region.lower + slack[:, None]) | (after > region.upper - slack[:, None])).any(axis=-1)
        outside = (value > region.level * (1.0 + 1e-9)) | ((x < region.lower) | (x > region.upper)).any(axis=-1)
        return (leaves | ~(growth < -1e-9 * size)) & ~outside  # NaN counts as suspicious


def violates(claim: Claim, x: np.ndarray, w: np.ndarray | None = None) -> np.ndarray:
    """Whether each of the points (b, n), with disturbances (b, q), provably refutes the claim; (b,) of bool.

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
