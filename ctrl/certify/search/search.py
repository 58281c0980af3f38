"""Branch and bound in one frame, and the replay of what it found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, final

import numpy as np

from ctrl.certify.bounds.decrease import change, decreases_around, lowest
from ctrl.certify.bounds.frame import Frame
from ctrl.certify.claims.sublevel_set import Answer, Effort, Outcome, Region, violates
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.search.reasons import LOWER, MORE, undefined_at
from ctrl.certify.search.subdivision import Proof, Tree, halved
from systems.arithmetic.affine import Affine, Patch
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.interval import Interval
from systems.lowering.device import fetched, placed

__all__ = ["CHUNK", "CORES", "Examiner", "Search"]

CORES = 80  # sizes of the parallelepiped around the centre that are tried
CHUNK = 4096  # boxes handled at once: enough to hide numpy's overhead, few enough to stay in cache
_DEVICE_CHUNK = 1 << 18  # a device wants more of them, to be busy for longer than it takes to ask it


@dataclass(frozen=True)
class _Findings:
    """Of boxes (b, n): which are still open, how much each direction blurs their bounds, and at which state (b, n) and
    disturbance (b, q) g seems largest."""

    open: np.ndarray
    spread: np.ndarray
    worst: np.ndarray
    push: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Examiner:
    """What settles a box of a frame: beyond the region, inside the core, or V proved to fall all over it."""

    loop: ClosedLoop
    region: Region
    kappa: float
    frame: Frame

    def cover(self) -> tuple[np.ndarray, np.ndarray] | None:
        """A box of coordinates, low and high (n,), that holds the region; None where the frame does not serve."""
        whole = self.frame.cover(*self.region.hull)
        at = self.frame.cover(self.region.V.centre.lo, self.region.V.centre.hi)
        if whole is None or at is None:
            return None
        reach = Interval.of(self.region.V.reach(self.region.level, self.frame.T))
        return np.maximum(whole[0], (at[0] - reach).lo), np.minimum(whole[1], (at[1] + reach).hi)

    def settled_around(self, half: np.ndarray) -> np.ndarray:
        """Whether parallelepipeds of half-widths (b, n) around the centre are settled by one Jacobian each; (b,)."""
        region, loop, centre = self.region, self.loop, self.region.V.centre
        reach = Interval.of(upward(half @ np.abs(self.frame.T).T))
        hull = Interval((centre - reach).lo, (centre + reach).hi)
        at = Interval(np.broadcast_to(centre.lo, half.shape), np.broadcast_to(centre.hi, half.shape))
        core = Patch(hull, at, half, self.frame.T)
        slopes = loop.enclose_slopes(core)
        shown = decreases_around(region.V, slopes, core, self.kappa, loop.continuous)
        if not (region.is_whole or loop.continuous):
            image = centre + (slopes @ Ball.of(Interval(-half, half))).interval
            shown &= ((image.lo >= region.lower) & (image.hi <= region.upper)).all(axis=1)
        return shown

    def core(self, cover: tuple[np.ndarray, np.ndarray]) -> np.ndarray | None:
        """Half-widths (n,) of a parallelepiped around the centre that is settled at once, large if possible."""
        room = np.minimum(-cover[0], cover[1]) * (1 + 1e-9)  # a little more, for what is taken off again by rounding
        if not (room > 0).all():
            return None
        if self.region.inner > 0:  # nothing is claimed of the centre
            return np.zeros_like(room)
        bowl = self.frame.T.T @ self.region.V.enclose_hessian(self.region.V.centre).mid @ self.frame.T
        if not np.isfinite(bowl).all():
            return None
        shape = np.sqrt(np.maximum(np.diag(np.linalg.pinv(0.5 * (bowl + bowl.T))), 0.0))
        shape = np.where(shape > 0, shape, room)
        half = np.minimum(shape * (room / shape).max(), room)[None] * 2.0 ** -np.arange(0, CORES / 2, 0.5)[:, None]
        shown = self.settled_around(half)
        return half[np.argmax(shown)] if shown.any() else None

    def examine(self, low: np.ndarray, high: np.ndarray, core: np.ndarray) -> _Findings:
        """Of boxes low <= z <= high, each (b, n), with a core that is settled."""
        region, loop = self.region, self.loop
        n = len(core)
        open_, spread, worst = np.zeros_like(low[:, 0], dtype=bool), np.zeros_like(low), np.zeros_like(low)
        push = np.zeros_like(low[:, :1]) + loop.pushes.mid
        off = self.frame.cover(region.V.centre.lo, region.V.centre.hi)
        if off is None:
            return _Findings(~open_, high - low, worst, push)
        # The core extends from the centre's own coordinates, known to lie between off[0] and off[1]; rounded inward.
        inner = (off[1] - Interval.of(core)).hi, (off[0] + Interval.of(core)).lo
        within = (low >= inner[0]).all(axis=1) & (high <= inner[1]).all(axis=1)
        rest = np.flatnonzero(~within | (region.inner > 0))
        patch = self.frame.patch(low[rest], high[rest])
        least = lowest(region.V, patch)
        beyond = ((patch.hull.lo > region.upper) | (patch.hull.hi < region.lower)).any(axis=1)
        relevant = ~beyond & ~(least > region.level)
        rest, patch, least = rest[relevant], patch[relevant], least[relevant]
        if not len(rest):
            return _Findings(open_, spread, worst, push)
        f, wide = loop.relax(patch), loop.with_pushes(patch)
        found = change(region.V, wide, f, self.kappa, loop.continuous)
        least = np.fmax(least, found.V)
        done, blur, at = found.upper < 0, found.spread[:, :n], found.worst[:, :n]
        if region.inner > 0:
            left = np.flatnonzero(~done)
            done[left] = self._stays(wide[left], f[left])
        elif self.kappa > 0:
            done &= least >= 0
        if not (region.is_whole or loop.continuous):
            reach = f.range(wide.half)
            inside: Any = ((reach.lo >= region.lower) & (reach.hi <= region.upper)).all(axis=1)
            blur = np.where(inside[:, None], blur, np.abs(f.matrix[..., :n]).max(axis=1) * patch.half)
            done, at = done & inside, np.where(inside[:, None], at, 0.0)
        open_[rest] = ~done & ~(least > region.level)
        spread[rest], worst[rest] = blur, patch.point.mid + at @ self.frame.T.T
        if loop.is_disturbed:
            push[rest] = np.clip(push[rest] + found.worst[:, n:], loop.pushes.lo, loop.pushes.hi)
        return _Findings(open_, spread, worst, push)

    def _stays(self, patch: Patch, f: Affine) -> np.ndarray:
        """Whether all motions from parallelepipeds are in the inner set after one sample, or, in continuous time, all
        of their states are; (b,)."""
        region = self.region
        if self.loop.continuous:
            return region.V.enclose(patch.hull).hi < region.inner
        return change(region.V, patch, f, 1.0, False).upper < region.inner  # kappa = 1: V(f) by itself


class Search:
    """The boxes still open in one frame."""

    def __init__(
        self, examiner: Examiner, cover: tuple[np.ndarray, np.ndarray], core: np.ndarray, device: str | None = None
    ) -> None:
        self.examiner, self.cover, self.core, self.device = examiner, cover, core, device
        self.chunk = CHUNK if device is None else _DEVICE_CHUNK
        self.low, self.high, self.node = cover[0][None], cover[1][None], np.zeros(1, dtype=int)
        self.tree = Tree()
        self.is_stuck = False  # a box is as small as it can be

    @staticmethod
    def start(loop: ClosedLoop, region: Region, kappa: float, frame: Frame, device: str | None = None) -> Search | None:
        """None where the frame does not serve, or where no decrease is proved around the centre."""
        examiner = Examiner(loop, region, kappa, frame)
        cover = examiner.cover()
        core = None if cover is None else examiner.core(cover)
        return None if cover is None or core is None else Search(examiner, cover, core, device)

    @property
    def volume(self) -> float:
        """Of all open boxes together."""
        return float(np.prod(self.high - self.low, axis=1).sum() * abs(np.linalg.det(self.examiner.frame.T)))

    @property
    def is_settled(self) -> bool:
        """Whether the core holds about all of the region, so that there is nothing to search."""
        return bool((self.core >= np.maximum(-self.cover[0], self.cover[1])).all())

    @property
    def proof(self) -> Proof:
        """How the region was cut; of use once nothing is open."""
        return Proof(self.examiner.frame.T, self.core, *self.cover, *self.tree.arrays())

    def explained(self, outcome: Outcome) -> Outcome:
        """The outcome; where it is open, with how much is left, and what is special about that."""
        if outcome.answer != "open":
            return outcome
        reason = f"{len(self.low):,} boxes left open after {outcome.boxes:,} boxes and {outcome.seconds:.1f} s"
        reason += f"; {outcome.reason}" if outcome.reason else ""
        found = undefined_at(self.examiner, self.low[-CHUNK:], self.high[-CHUNK:])
        if found is None:
            return replace(outcome, reason=reason)
        return replace(outcome, reason=f"{reason}; {found[0]}", advice=found[1])

    def run(self, budget: Effort) -> Outcome:
        """Goes on until nothing is open, a counterexample is found, or the budget is spent."""
        began, boxes = perf_counter(), 0
        examiner = self.examiner

        def ended(answer: Answer, reason: str = "", point: np.ndarray | None = None, advice: str = "") -> Outcome:
            size = np.abs(examiner.frame.T) @ self.core
            proof = self.proof if answer == "proved" else None
            return Outcome(answer, boxes, perf_counter() - began, size, point, reason, proof, advice)

        while len(self.low):
            if boxes >= budget.boxes or perf_counter() - began > budget.seconds:
                return ended("open", advice=MORE)
            self.low, left = self.low[: -self.chunk], self.low[-self.chunk :]
            self.high, right = self.high[: -self.chunk], self.high[-self.chunk :]
            self.node, node = self.node[: -self.chunk], self.node[-self.chunk :]
            boxes += len(left)
            found = examiner.examine(placed(left, self.device), placed(right, self.device), self.core)
            suspects, pushes = found.worst[found.open], found.push[found.open]
            refuted = fetched(violates(examiner.loop, examiner.region, suspects, examiner.kappa, pushes))
            if refuted.any():
                k = int(np.argmax(refuted))
                x, w = fetched(suspects[k]), fetched(pushes[k])
                under = f" under w = {w.tolist()}" if examiner.loop.is_disturbed else ""
                return ended("refuted", f"the point above is proved to break the condition{under}", x)
            still_open, spread = fetched(found.open), fetched(found.spread)
            left, right, node, spread = (a[still_open] for a in (left, right, node, spread))
            for _ in range(3):  # small batches cost as much as large ones, so a short list is halved more than once
                if not len(left):
                    break
                halves = halved(left, right, spread)
                if halves is None:
                    self.is_stuck = True
                    self.low, self.high = np.concatenate([self.low, left]), np.concatenate([self.high, right])
                    stuck = "a box cannot be halved any further in double precision"
                    return ended("open", stuck, advice=LOWER)
                left, right, spread = halves.low, halves.high, halves.spread
                node = self.tree.cut(node, halves.axis)
                if len(self.low) + len(left) >= self.chunk // 8:
                    break
            self.low, self.high = np.concatenate([self.low, left]), np.concatenate([self.high, right])
            self.node = np.concatenate([self.node, node])
        return ended("proved")
