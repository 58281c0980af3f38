"""Branch and bound over boxes: a Lyapunov function decreases on a sublevel set, proved or refuted by a point."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import Literal

import numpy as np

from ctrl.affine import Patch
from ctrl.balls import Ball, upward
from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.decrease import change, decreases_around, lowest
from ctrl.certify.frame import Frame, frames
from ctrl.certify.lyapunov import Lyapunov
from ctrl.intervals import total
from systems.lowering.interval import Interval

__all__ = ["Effort", "Outcome", "Region", "decreases", "violates"]

Answer = Literal["proved", "refuted", "open"]

_TRIALS = 4
_CHUNK = 4096  # boxes handled at once: enough to hide numpy's overhead, few enough to stay in cache


@dataclass(frozen=True)
class Effort:
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
        answer: whether the claim is proved, refuted by ``point``, or left open for ``reason``.
        boxes: examined. seconds: wall time.
        core: half-widths (n,) of the hull of the parallelepiped around the centre that one Jacobian covers.
    """

    answer: Answer
    boxes: int
    seconds: float
    core: np.ndarray
    point: np.ndarray | None = None
    reason: str = ""


def violates(loop: ClosedLoop, region: Region, x: np.ndarray, kappa: float) -> np.ndarray:
    """Whether each of the points (b, n) is proved to refute the claim; (b,) of bool.

    It lies in the region, and V(f(x)) > (1 - kappa) V(x) or f(x) lies beyond the region's box; in continuous time,
    V'(x) f(x) > -kappa V(x).
    """
    point = Interval.of(x)
    after, value = loop.enclose(point), region.V.enclose(point)
    if loop.continuous:
        growth = total(region.V.enclose_gradient(point) * after) + Interval.of(kappa) * value
        leaves = np.asarray(np.zeros(len(x), dtype=bool))
    else:
        growth = region.V.enclose(after) - (1.0 - Interval.of(kappa)) * value
        leaves = np.asarray(((after.hi < region.lower) | (after.lo > region.upper)).any(axis=-1))
    return ((growth.lo > 0) | leaves) & region.surely_holds(point)


def decreases(loop: ClosedLoop, region: Region, kappa: float, budget: Effort) -> Outcome:
    """Decides whether V falls, by the share kappa, at all x of the region but the centre, and no motion leaves it.

    The centre must be an equilibrium. Boxes are discarded where V > level, settled where an upper bound of the change
    of V is negative, and else halved along the direction that blurs the bound most. Near the centre the change of V
    vanishes and no such bound is negative: there f(x) - centre = J (x - centre), and one inequality between matrices
    over a whole box settles all of it, the centre's neighbours included.

    In discrete time every image must lie in the region's box. In continuous time the velocity must point inward
    wherever the region touches the box.

    Several frames to cut boxes in are given a few trials of growing length; the one with least left then goes on alone.
    """
    began, boxes = perf_counter(), 0
    if loop.continuous and not region.is_whole:
        boxes, fault = _border(loop, region, budget)
        if fault:
            return Outcome("open", boxes, perf_counter() - began, np.zeros(len(region.lower)), None, fault)
    searches = [s for s in (_Search.start(loop, region, kappa, frame) for frame in frames(loop, region.V)) if s]
    if not searches:
        reason = "no decrease proved around the reference"
        return Outcome("open", boxes, perf_counter() - began, np.zeros(len(region.lower)), None, reason)
    for trial in range(_TRIALS + 1):
        for search in list(searches):
            left = Effort(budget.boxes - boxes, budget.seconds - (perf_counter() - began))
            last = trial == _TRIALS
            outcome = search.run(left if last else Effort(min(_CHUNK << trial, left.boxes), left.seconds))
            boxes += outcome.boxes
            spent = perf_counter() - began
            if outcome.answer != "open" or last or search.is_stuck or boxes >= budget.boxes or spent > budget.seconds:
                return replace(outcome, boxes=boxes, seconds=spent)
        if trial == _TRIALS - 1:
            searches = [min(searches, key=lambda search: search.volume)]
    raise AssertionError("the last trial returns")


class _Search:
    """The boxes still open in one frame."""

    def __init__(self, loop: ClosedLoop, region: Region, kappa: float, frame: Frame, core: np.ndarray) -> None:
        self.loop, self.region, self.kappa, self.frame, self.core = loop, region, kappa, frame, core
        self.low, self.high = np.zeros((0, len(core))), np.zeros((0, len(core)))
        self.is_stuck = False  # a box is as small as it can be
        # Where the centre's own coordinates lie; the core extends from there.
        off = frame.cover(region.V.centre.lo, region.V.centre.hi)
        self.inner = (np.zeros(len(core)), np.zeros(len(core))) if off is None else (off[1] - core, off[0] + core)

    @staticmethod
    def start(loop: ClosedLoop, region: Region, kappa: float, frame: Frame) -> _Search | None:
        """None where the frame does not serve, or where no decrease is proved around the centre."""
        whole, at = frame.cover(*region.hull), frame.cover(region.V.centre.lo, region.V.centre.hi)
        if whole is None or at is None:
            return None
        reach = Interval.of(region.V.reach(region.level, frame.T))
        whole = np.maximum(whole[0], (at[0] - reach).lo), np.minimum(whole[1], (at[1] + reach).hi)
        core = _core(loop, region, kappa, frame, whole)
        if core is None:
            return None
        search = _Search(loop, region, kappa, frame, core)
        search.low, search.high = whole[0][None], whole[1][None]
        return search

    @property
    def volume(self) -> float:
        """Of all open boxes together."""
        return float(np.prod(self.high - self.low, axis=1).sum() * abs(np.linalg.det(self.frame.T)))

    def run(self, budget: Effort) -> Outcome:
        """Goes on until nothing is open, a counterexample is found, or the budget is spent."""
        began, boxes = perf_counter(), 0
        region, loop = self.region, self.loop

        def ended(answer: Answer, reason: str = "", point: np.ndarray | None = None) -> Outcome:
            size = np.abs(self.frame.T) @ self.core
            return Outcome(answer, boxes, perf_counter() - began, size, point, reason)

        while len(self.low):
            if boxes >= budget.boxes or perf_counter() - began > budget.seconds:
                spent = f"{len(self.low):,} boxes left open after {boxes:,} boxes and {perf_counter() - began:.1f} s"
                return ended("open", spent)
            self.low, left = self.low[:-_CHUNK], self.low[-_CHUNK:]
            self.high, right = self.high[:-_CHUNK], self.high[-_CHUNK:]
            boxes += len(left)
            relevant = ~((left >= self.inner[0]).all(axis=1) & (right <= self.inner[1]).all(axis=1))
            left, right = left[relevant], right[relevant]
            patch = self.frame.patch(left, right)
            least = lowest(region.V, patch)
            beyond = ((patch.hull.lo > region.upper) | (patch.hull.hi < region.lower)).any(axis=1)
            relevant = ~beyond & ~(least > region.level)
            left, right, least = left[relevant], right[relevant], least[relevant]
            if not len(left):
                continue
            patch = patch[relevant]
            f = loop.relax(patch)
            found = change(region.V, patch, f, self.kappa, loop.continuous)
            least = np.fmax(least, found.V)
            done, spread, worst = found.upper < 0, found.spread, found.worst
            if self.kappa > 0:
                done &= least >= 0
            if not (region.is_whole or loop.continuous):
                reach = f.range(patch.half)
                inside = np.asarray(((reach.lo >= region.lower) & (reach.hi <= region.upper)).all(axis=1))
                blur = np.abs(f.matrix).max(axis=1) * patch.half
                spread = np.where(inside[:, None], spread, blur)
                done, worst = done & inside, np.where(inside[:, None], worst, 0.0)
            rest = ~done & ~(least > region.level)
            suspects = patch.point.mid[rest] + worst[rest] @ self.frame.T.T
            if len(suspects) and (refuted := violates(loop, region, suspects, self.kappa)).any():
                reason = "the point above is proved to break the condition"
                return ended("refuted", reason, suspects[np.argmax(refuted)])
            left, right, spread = left[rest], right[rest], spread[rest]
            for _ in range(3):  # small batches cost as much as large ones, so a short list is halved more than once
                if not len(left):
                    break
                halves = _halve(left, right, spread)
                if halves is None:
                    self.is_stuck = True
                    return ended("open", "a box cannot be halved any further in double precision")
                left, right, spread = halves
                if len(self.low) + len(left) >= 512:
                    break
            self.low, self.high = np.concatenate([self.low, left]), np.concatenate([self.high, right])
        return ended("proved")


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


def _core(
    loop: ClosedLoop, region: Region, kappa: float, frame: Frame, whole: tuple[np.ndarray, np.ndarray]
) -> np.ndarray | None:
    """Half-widths (n,) of a box around the centre, in the frame, on which one interval Jacobian shows the decrease."""
    centre = region.V.centre
    room = np.minimum(-whole[0], whole[1])
    if not (room > 0).all():
        return None
    bowl = frame.T.T @ region.V.enclose_hessian(centre).mid @ frame.T
    shape = (
        np.sqrt(np.maximum(np.diag(np.linalg.pinv(0.5 * (bowl + bowl.T))), 0.0)) if np.isfinite(bowl).all() else room
    )
    shape = np.where(shape > 0, shape, room)
    half = np.minimum(shape * (room / shape).max(), room)[None] * 2.0 ** -np.arange(0, 40, 0.5)[:, None]
    reach = Interval.of(upward(half @ np.abs(frame.T).T))
    hull = Interval((centre - reach).lo, (centre + reach).hi)
    at = Interval(np.broadcast_to(centre.lo, half.shape), np.broadcast_to(centre.hi, half.shape))
    core = Patch(hull, at, half, frame.T)
    slopes = loop.enclose_slopes(core)
    shown = decreases_around(region.V, slopes, core, kappa, loop.continuous)
    if not (region.is_whole or loop.continuous):
        image = centre + (slopes @ Ball.of(Interval(-half, half))).interval
        shown &= ((image.lo >= region.lower) & (image.hi <= region.upper)).all(axis=1)
    return half[np.argmax(shown)] if shown.any() else None


def _border(loop: ClosedLoop, region: Region, budget: Effort) -> tuple[int, str]:
    """Boxes examined to show that V > level or the velocity points inward on every face of the box; else what failed."""
    began = perf_counter()
    lower, upper = region.hull
    n, boxes = len(lower), 0
    least, most = region.V.bounding_box(
        region.level
    )  # only the region's own box is of interest, not that of {V <= level}
    faces = [(i, -1.0) for i in range(n) if least[i] < region.lower[i]]
    faces += [(i, 1.0) for i in range(n) if most[i] > region.upper[i]]
    low, high = np.tile(lower, (len(faces), 1)), np.tile(upper, (len(faces), 1))
    axis, outward = np.array([i for i, _ in faces]), np.array([side for _, side in faces])
    for k, (i, side) in enumerate(faces):
        low[k, i] = high[k, i] = lower[i] if side < 0 else upper[i]
    while len(low):
        if boxes + len(low) > budget.boxes or perf_counter() - began > budget.seconds:
            return boxes, f"budget spent on the border of the box: {len(low):,} parts of its faces left open"
        boxes += len(low)
        box = Interval(low, high)
        patch, rows = Patch.boxes(box), np.arange(len(low))
        velocity = loop.relax(patch).range(patch.half)[rows, axis]
        inward = np.where(outward > 0, velocity.hi < 0, velocity.lo > 0)
        rest = ~(inward | (region.V.enclose(box).lo > region.level))
        if not rest.any():
            return boxes, ""
        escaping = region.V.enclose(patch.point).hi <= region.level
        at = loop.enclose(patch.point)[rows, axis]
        if (rest & escaping & np.where(outward > 0, at.lo > 0, at.hi < 0)).any():
            return boxes, "the region touches the box where the motion leaves it; take a lower level or a larger box"
        low, high, axis, outward = low[rest], high[rest], axis[rest], outward[rest]
        halves = _halve(low, high, high - low)
        if halves is None:
            return boxes, "a face of the box cannot be halved any further in double precision"
        low, high, axis, outward = halves[0], halves[1], np.tile(axis, 2), np.tile(outward, 2)
    return boxes, ""
