"""The largest level from a single search, which examines boxes in the order of V and keeps what it has decided.

Whether V decreases all over a box does not depend on the level. So once every box on which V may be below some level is
decided, this level is proved, regardless of undecided boxes above it. The level rises until a point is found that
violates the claim, a box cannot be decided, or further progress would be too slow.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter, process_time
from typing import final

import numpy as np

from ctrl.certify.bounds.examiner import Examiner, Run, as_written, suspicious, violates
from ctrl.certify.bounds.frame import Frame, frames
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.result import Kind, SearchResult
from ctrl.certify.claims.subdivision import Subdivision, Tree, halved
from ctrl.certify.search.limits import SearchLimits
from ctrl.certify.search.search import CHUNK, LONG
from systems.arithmetic.interval import Interval

__all__ = ["highest"]

_TRIALS, _MORE_TRIALS = 4, 8  # more only as long as no frame has proved a level, by which to choose among them
_BELOW = 1.0 - 1e-9  # proved level over the least V on undecided boxes; with this margin another rounding verifies it
_FAR = 0.7  # a search that halts below this share of what may be proved is followed by those in the other frames
_PATIENCE = 0.3  # the search ends if this share of its boxes has not raised the level by its resolution


def highest(claim: Claim, limits: SearchLimits, resolution: float) -> tuple[Claim, SearchResult]:
    """The claim at the highest proved level up to its own, with the result; undecided if none is proved.

    If the region's box cuts the set, images have to lie in the box as well. This is not required of a set that the box
    contains; if the final level is below the level of such a set, the search is repeated from there.

    Args:
        claim: about a loop; in continuous time, conditions on the border of the region's box are not examined.
        limits: of the search.
        resolution: relative distance of the level to the lowest point that violates it; the search ends if a large
            share of its boxes has not raised the level by as much.
    """
    began = perf_counter()
    first = _highest(claim, limits, resolution)
    if claim.region.is_whole or claim.loop.continuous:
        return first
    whole, proved = _largest_whole(claim), first[1].kind is Kind.PROVED
    if whole.region.level <= max(claim.region.inner, first[0].region.level if proved else 0.0):
        return first
    left = SearchLimits(max(limits.boxes - first[1].boxes, 1), limits.seconds - (perf_counter() - began))
    second = _highest(whole, left, resolution)
    improved = second[1].kind is Kind.PROVED and (not proved or second[0].region.level > first[0].region.level)
    better = second if improved else first
    return better[0], replace(better[1], boxes=first[1].boxes + second[1].boxes)


def _largest_whole(claim: Claim) -> Claim:
    """The claim at about the highest level whose set the region's box contains; at zero if there is none."""
    low, high = 0.0, claim.region.level
    for _ in range(40):
        level = 0.5 * (low + high)
        if replace(claim.region, level=level).is_whole:
            low = level
        else:
            high = level
    return replace(claim, region=replace(claim.region, level=low))


def _highest(claim: Claim, limits: SearchLimits, resolution: float) -> tuple[Claim, SearchResult]:
    """Like :func:`highest`, with the conditions of the claim at its own level."""
    began, worked = perf_counter(), process_time()
    searches = [s for frame in frames(claim.loop, claim.region.V) if (s := _Rising.start(claim, frame, resolution))]
    every = list(searches)
    boxes, most = 0, np.inf
    undecided = SearchResult(Kind.UNDECIDED, np.zeros(len(claim.region.lower)), reason="no level was proved")
    if not every:
        return claim, undecided
    for trial in range(_MORE_TRIALS + 1):
        is_proving = max(s.proved for s in every) > claim.region.inner
        last, ended = trial == _MORE_TRIALS or (trial >= _TRIALS and is_proving), False
        for search in list(searches):
            search.level = min(search.level, most)
            left = SearchLimits(limits.boxes - boxes, limits.seconds - (perf_counter() - began))
            boxes += search.run(left if last else SearchLimits(min(CHUNK << trial, left.boxes), left.seconds))
            most = min(most, search.level)
            over = boxes >= limits.boxes or perf_counter() - began > limits.seconds
            ended = over or (search.is_done and search.proved >= _FAR * most)
            if ended:
                break
        if ended:
            break
        if trial >= _TRIALS - 1:  # the others, too, if the most promising one comes to a halt far below the level
            searches = sorted(every, key=_Rising.progress, reverse=True)
        elif trial > 0 and len(searches) > 1 and is_proving:
            searches.remove(min(searches, key=_Rising.progress))
    best = max(every, key=lambda s: s.proved)
    if best.proved <= claim.region.inner:
        return claim, replace(undecided, boxes=boxes)
    core = np.abs(best.examiner.frame.T) @ best.core
    result = SearchResult(Kind.PROVED, core, boxes, proof=best.proof)
    seconds, cpu = perf_counter() - began, process_time() - worked
    proved = replace(claim, region=replace(claim.region, level=best.proved))
    return proved, replace(result, seconds=seconds, cpu=cpu)


@final
class _Rising:
    """The undecided boxes in one frame, with lower bounds of V.

    ``level`` is the highest level that may still be proved, ``proved`` the highest that is proved.
    """

    def __init__(
        self, examiner: Examiner, cover: tuple[np.ndarray, np.ndarray], core: np.ndarray, resolution: float
    ) -> None:
        self.examiner, self.cover, self.core, self.resolution = examiner, cover, core, resolution
        self.top = self.level = examiner.claim.region.level
        self.low, self.high, self.node = cover[0][None], cover[1][None], np.zeros(1, dtype=int)
        self.least = np.zeros(1)
        self.tree, self._bounds = Tree(), list[tuple[np.ndarray, np.ndarray]]()
        self.boxes, self.is_done = 0, False
        self.history: list[tuple[int, float]] = []
        self._by: Run = as_written

    @staticmethod
    def start(claim: Claim, frame: Frame, resolution: float) -> _Rising | None:
        """None if the frame is unsuitable, or if no decrease is proved around the centre."""
        examiner = Examiner(claim, frame)
        cover = examiner.cover()
        core = None if cover is None else examiner.core(cover)
        return None if cover is None or core is None else _Rising(examiner, cover, core, resolution)

    @property
    def proved(self) -> float:
        return min(self.level, float(self.least.min(initial=np.inf))) * _BELOW

    def progress(self) -> tuple[float, float]:
        """The criterion by which searches are compared: the level, and if it is the same, the volume decided."""
        return self.proved, -float(
            np.prod(self.high - self.low, axis=1).sum() * abs(np.linalg.det(self.examiner.frame.T))
        )

    @property
    def proof(self) -> Subdivision:
        """The subdivision of the region, as far as needed: not where V is known to lie above the level."""
        axis, left, right = self.tree.arrays()
        bound = np.zeros(self.tree.size)
        for node, least in self._bounds:
            bound[node] = least
        axis[bound > self.proved] = -1
        kept, front = np.zeros(len(axis), dtype=bool), np.zeros(1, dtype=int)
        while len(front):
            kept[front] = True
            front = front[axis[front] >= 0]
            front = np.concatenate([left[front], right[front]])
        number = (np.cumsum(kept) - 1).astype(np.int32)
        inner = axis[kept] >= 0
        left, right = (np.where(inner, number[side[kept]], 0).astype(np.int32) for side in (left, right))
        return Subdivision(self.examiner.frame.T, self.core, *self.cover, axis[kept], left, right)

    def run(self, limits: SearchLimits) -> int:
        """Continues until the level is proved, progress is too slow or a limit is reached; returns the boxes
        examined."""
        began, first = perf_counter(), self.boxes
        claim = self.examiner.claim
        while not self.is_done:
            open_ = self.least <= self.level
            self._keep(open_)
            if not len(self.low) or self._is_stagnant():
                self.is_done = True
                break
            if self.boxes - first >= limits.boxes or perf_counter() - began > limits.seconds:
                break
            chosen = np.zeros(len(self.low), dtype=bool)
            chosen[np.argpartition(self.least, CHUNK)[:CHUNK] if len(self.least) > CHUNK else slice(None)] = True
            low, high, node = self.low[chosen], self.high[chosen], self.node[chosen]
            parent = self.least[chosen]
            self._keep(~chosen)
            findings = self.examiner.examine(low, high, self.core, self._compiled())
            self.boxes += len(low)
            bound = np.where(findings.open, np.fmax(findings.V, parent), 0.0)
            self._bounds.append((node, np.where(findings.open, findings.V, 0.0)))
            still = findings.open & (bound <= self.level)
            suspects, w = findings.worst[still], findings.disturbance[still]
            likely = np.flatnonzero(suspicious(claim, suspects, w))
            if len(likely):
                refuted = violates(claim, suspects[likely], w[likely])
                if refuted.any():
                    value = claim.region.V.enclose(Interval.of(suspects[likely][refuted])).lo.min()
                    self.level = min(self.level, (1.0 - self.resolution) * float(value))
            still &= bound <= self.level  # the level may have decreased
            self._halve(*(a[still] for a in (low, high, node, bound, findings.spread)))
        return self.boxes - first

    def _halve(
        self, low: np.ndarray, high: np.ndarray, node: np.ndarray, bound: np.ndarray, spread: np.ndarray
    ) -> None:
        """Halves boxes; the halves are undecided."""
        for _ in range(3):  # small batches take as long as large ones, so a short list is halved more than once
            if not len(low):
                break
            halves = halved(low, high, spread)
            if halves is None:
                self.is_done = True
                break
            low, high, spread, bound = halves.low, halves.high, halves.spread, np.tile(bound, 2)
            node = self.tree.cut(node, halves.axis)
            if len(self.low) + len(low) >= CHUNK // 8:
                break
        self._add(low, high, node, bound)

    def _is_stagnant(self) -> bool:
        """Whether a large share of the boxes has not raised the level by the resolution."""
        self.history.append((self.boxes, self.proved))
        if self.boxes < 16 * CHUNK or self.proved <= self.examiner.claim.region.inner:
            return False
        before = [level for boxes, level in self.history if boxes <= (1.0 - _PATIENCE) * self.boxes]
        return bool(before) and self.proved - before[-1] < self.resolution * self.top

    def _compiled(self) -> Run:
        if self._by is as_written and self.boxes >= LONG:
            from systems.tape.recorded import Recorder  # numba is slow to import

            self._by = Recorder()
        return self._by

    def _keep(self, which: np.ndarray) -> None:
        self.low, self.high, self.node, self.least = (a[which] for a in (self.low, self.high, self.node, self.least))

    def _add(self, low: np.ndarray, high: np.ndarray, node: np.ndarray, least: np.ndarray) -> None:
        self.low, self.high = np.concatenate([self.low, low]), np.concatenate([self.high, high])
        self.node, self.least = np.concatenate([self.node, node]), np.concatenate([self.least, least])
