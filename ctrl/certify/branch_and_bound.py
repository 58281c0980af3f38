"""Branch and bound over boxes: a Lyapunov function decreases on a sublevel set, proved or refuted by a point."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import Literal

import numpy as np

from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.lyapunov import Lyapunov
from systems.lowering.interval import Interval

__all__ = ["Budget", "Outcome", "Region", "decreases", "violates"]

_CHUNK = 8192  # boxes handled at once: enough to hide numpy's overhead, few enough to stay in cache


@dataclass(frozen=True)
class Budget:
    """When to give up: boxes examined, seconds."""

    boxes: int = 2_000_000
    seconds: float = 60.0


@dataclass(frozen=True)
class Region:
    """{V <= level} intersected with a box (lower, upper), each (n,), maybe infinite."""

    V: Lyapunov
    level: float
    lower: np.ndarray
    upper: np.ndarray

    @property
    def hull(self) -> tuple[np.ndarray, np.ndarray]:
        """A box that holds the region: lower and upper, each (n,)."""
        low, high = self.V.bounding_box(self.level)
        return np.maximum(low, self.lower), np.minimum(high, self.upper)

    @property
    def is_whole(self) -> bool:
        """Whether the box surely cuts nothing off {V <= level}."""
        low, high = self.V.bounding_box(self.level)
        return bool((low >= self.lower).all() and (high <= self.upper).all())

    def surely_holds(self, x: Interval) -> np.ndarray:
        """Whether each of the boxes (..., n) lies inside, proved; (...,) of bool."""
        within = ((x.lo >= self.lower) & (x.hi <= self.upper)).all(axis=-1)
        return within & (self.V.enclose(x).hi <= self.level)


@dataclass(frozen=True)
class Outcome:
    """How a search ended.

    Args:
        answer: whether the decrease is proved, refuted by ``point``, or left open for ``reason``.
        boxes: examined. seconds: wall time.
        core: half-widths (n,) of the box around the centre that one Jacobian covers.
    """

    answer: Literal["proved", "refuted", "open"]
    boxes: int
    seconds: float
    core: np.ndarray
    point: np.ndarray | None = None
    reason: str = ""


def violates(loop: ClosedLoop, region: Region, x: np.ndarray, kappa: float) -> np.ndarray:
    """Whether each of the points (b, n) is proved to refute the claim; (b,) of bool.

    It lies in the region, and V(f(x)) > (1 - kappa) V(x) or f(x) lies beyond the region's box.
    """
    point = Interval.of(x)
    after = loop.enclose(point)
    growth = region.V.enclose(after) - (1.0 - Interval.of(kappa)) * region.V.enclose(point)
    leaves = ((after.hi < region.lower) | (after.lo > region.upper)).any(axis=-1)
    return ((growth.lo > 0) | leaves) & region.surely_holds(point)


def decreases(loop: ClosedLoop, region: Region, kappa: float, budget: Budget) -> Outcome:
    """Decides whether V(f(x)) < (1 - kappa) V(x) for all x in the region but the centre, and f(x) stays in its box.

    The centre must be a fixed point of f. Boxes are discarded where V > level, settled where an upper bound of the
    change of V is negative, and else halved along the direction that blurs the bound most. Near the centre the change
    of V vanishes and no such bound is negative: there f(x) - centre = J (x - centre), and one interval matrix
    inequality over a whole box settles all of it, the centre's neighbours included.
    """
    began = perf_counter()
    low, high = (bound[None] for bound in region.hull)
    core = _core(loop, region, kappa)
    if core is None:
        n = low.shape[1]
        return Outcome("open", 0, perf_counter() - began, np.zeros(n), reason="no decrease proved around the reference")
    centre, boxes, whole = region.V.centre, 0, region.is_whole
    while len(low):
        if boxes >= budget.boxes or perf_counter() - began > budget.seconds:
            spent = f"{len(low):,} boxes left open after {boxes:,} boxes and {perf_counter() - began:.1f} s"
            return Outcome("open", boxes, perf_counter() - began, core, reason=spent)
        low, left = low[:-_CHUNK], low[-_CHUNK:]
        high, right = high[:-_CHUNK], high[-_CHUNK:]
        boxes += len(left)
        near = (left >= centre - core).all(axis=1) & (right <= centre + core).all(axis=1)
        relevant = ~near & ~(region.V.enclose(Interval(left, right)).lo > region.level)
        left, right = left[relevant], right[relevant]
        if not len(left):
            continue
        box = Interval(left, right)
        middle = box.mid
        after = loop.enclose(Interval.of(middle))
        slopes = loop.enclose_jacobian(box).jacobian
        change = region.V.change(box, middle, after, slopes, kappa)
        done, spread, doubtful = change.upper < 0, change.spread, change.at_middle.hi >= 0
        if not whole:
            inside, blur = _stays(region, box, middle, after, slopes)
            done, spread, doubtful = done & inside, np.maximum(spread, blur), doubtful | ~inside
        suspects = middle[~done & doubtful]
        if len(suspects) and (refuted := violates(loop, region, suspects, kappa)).any():
            return Outcome("refuted", boxes, perf_counter() - began, core, point=suspects[np.argmax(refuted)])
        left, right, spread = left[~done], right[~done], spread[~done]
        for _ in range(3):  # small batches cost as much as large ones, so a short list is halved more than once
            if not len(left):
                break
            halves = _halve(left, right, spread)
            if halves is None:
                spent = "a box cannot be halved any further in double precision"
                return Outcome("open", boxes, perf_counter() - began, core, reason=spent)
            left, right, spread = halves
            if len(low) + len(left) >= 512:
                break
        low, high = np.concatenate([low, left]), np.concatenate([high, right])
    return Outcome("proved", boxes, perf_counter() - began, core)


def _halve(low: np.ndarray, high: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Boxes (b, n) halved along the direction of the largest spread, and their spreads; None where none can be."""
    middle = Interval(low, high).mid
    splittable = (low < middle) & (middle < high)
    if not splittable.any(axis=1).all():
        return None
    rows = np.arange(len(low))
    axis = np.argmax(np.where(splittable, spread, -1.0), axis=1)
    left, right, less = high.copy(), low.copy(), spread.copy()
    left[rows, axis] = right[rows, axis] = middle[rows, axis]
    less[rows, axis] *= 0.5
    return np.concatenate([low, right]), np.concatenate([left, high]), np.concatenate([less, less])


def _core(loop: ClosedLoop, region: Region, kappa: float) -> np.ndarray | None:
    """Half-widths (n,) of a box around the centre, large if possible, on which one interval Jacobian shows decrease."""
    low, high = region.hull
    centre = region.V.centre
    half = np.maximum(np.minimum(centre - low, high - centre), 0.0)[None] * 2.0 ** -np.arange(0, 40, 0.5)[:, None]
    # Outward: the box given to the enclosure must cover [centre - half, centre + half].
    box = Interval((centre - Interval.of(half)).lo, (centre + Interval.of(half)).hi)
    shown = region.V.decreases_around(loop.enclose_jacobian(box).jacobian, kappa) & (half > 0).all(axis=1)
    if not region.is_whole:
        # From the core, f must lead into the box: it does where V's smallest sublevel set around the core lies in it.
        shown &= [replace(region, level=float(top)).is_whole for top in region.V.enclose(box).hi]
    return half[np.argmax(shown)] if shown.any() else None


def _stays(
    region: Region, box: Interval, middle: np.ndarray, after: Interval, slopes: Interval
) -> tuple[np.ndarray, np.ndarray]:
    """Whether f keeps each box within the region's box, proved; and how much each direction (b, n) blurs that."""
    d = abs(box - middle).hi
    blur = (abs(slopes) * Interval.of(d)[:, None, :]).hi
    reach = Interval.of(blur)
    lower, upper = after.lo, after.hi
    for j in range(d.shape[1]):
        lower = (Interval.of(lower) - reach[..., j]).lo
        upper = (Interval.of(upper) + reach[..., j]).hi
    inside = np.asarray(((lower >= region.lower) & (upper <= region.upper)).all(axis=1))
    return inside, np.where(inside[:, None], 0.0, blur.max(axis=1))
