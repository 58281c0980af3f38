"""Branch and bound over boxes: a claim is proved, refuted by a point, or left undecided."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np

from ctrl.certify.bounds.examiner import CORES, Examiner, Run, as_written, suspicious, violates
from ctrl.certify.bounds.frame import Frame, frames
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.result import Kind, SearchResult
from ctrl.certify.claims.subdivision import Subdivision, Tree, halved
from ctrl.certify.search.border import holds_at_border
from ctrl.certify.search.limits import SearchLimits
from ctrl.certify.search.reasons import LOWER, MORE, around_centre, undefined_over
from systems.lowering.device import fetched, placed

__all__ = ["CHUNK", "LONG", "Search", "broken_under", "decreases"]

CHUNK = 4096  # boxes per batch: enough to amortise numpy's overhead, few enough to stay in the cache
_DEVICE_CHUNK = 1 << 18  # devices need more of them, because each call has a large overhead
LONG = 2 * CHUNK  # recording the operations pays off in searches of more boxes than this
_TRIALS = 4
_INSIDE = (
    "a lower level, at which the set does not reach the border of its box, or more seconds: SearchLimits(seconds=...)"
)


def decreases(claim: Claim, limits: SearchLimits) -> SearchResult:
    """Decides whether V decreases, by kappa, at all x of the set except the centre, and no trajectory leaves it.

    The centre must be an equilibrium, unless there is an inner level: then V(f(x, w)) < max((1 - kappa) V(x), inner) is
    decided for all x and w, and in continuous time the decrease wherever V >= inner. Boxes are discarded where V >
    level, settled where an upper bound on the change of V is negative, and otherwise halved along the direction that
    contributes most to the error of the bound. Near the centre the change of V vanishes and no such bound is negative:
    there f(x) - centre = J (x - centre), and one matrix inequality over a whole box settles it, including the
    neighbourhood of the centre.

    In discrete time every image must lie in the set's box. In continuous time the velocity must point inward wherever
    the set touches the box.

    Several frames in which to divide boxes are compared in a few trials of increasing length; from the second trial on,
    the frame with the largest open volume is dropped, until one remains.
    """
    began, boxes = perf_counter(), 0
    loop, region = claim.loop, claim.region

    def left_open(boxes: int, reason: str, advice: str) -> SearchResult:
        core, seconds = np.zeros(len(region.lower)), perf_counter() - began
        return SearchResult(Kind.UNDECIDED, core, boxes, seconds, reason=reason, advice=advice)

    if loop.continuous and not region.is_whole:
        boxes, fault = holds_at_border(claim, limits)
        if fault:
            return left_open(boxes, fault, _INSIDE)
    tried = frames(loop, region.V)
    searches = [s for frame in tried if (s := Search.start(claim, frame, limits.device)) is not None]
    if not searches:
        reason, advice = around_centre(claim)
        return left_open(boxes + len(tried) * CORES, reason, advice)
    searches = [search for search in searches if search.is_settled] or searches
    for trial in range(_TRIALS + 1):
        for search in list(searches):
            left = SearchLimits(limits.boxes - boxes, limits.seconds - (perf_counter() - began))
            last = trial == _TRIALS
            result = search.run(left if last else SearchLimits(min(search.chunk << trial, left.boxes), left.seconds))
            boxes += result.boxes
            spent = perf_counter() - began
            if (
                result.kind is not Kind.UNDECIDED
                or last
                or search.is_stuck
                or boxes >= limits.boxes
                or spent > limits.seconds
            ):
                return search.explained(replace(result, boxes=boxes, seconds=spent))
        if trial > 0 and len(searches) > 1:
            searches.remove(max(searches, key=lambda search: search.volume))
        if trial == _TRIALS - 1:
            searches = [min(searches, key=lambda search: search.volume)]
    raise AssertionError("the last trial returns")


class Search:
    """The boxes still open in one frame."""

    def __init__(
        self, examiner: Examiner, cover: tuple[np.ndarray, np.ndarray], core: np.ndarray, device: str | None = None
    ) -> None:
        self.examiner, self.cover, self.core, self.device = examiner, cover, core, device
        self.chunk = CHUNK if device is None else _DEVICE_CHUNK
        self.low, self.high, self.node = cover[0][None], cover[1][None], np.zeros(1, dtype=int)
        self.tree = Tree()
        self.is_stuck = False  # a box cannot be halved any further
        self._examined = 0
        self._by: Run = as_written

    @staticmethod
    def start(claim: Claim, frame: Frame, device: str | None = None) -> Search | None:
        """A search in a frame; None if the frame is unsuitable, or if no decrease is proved around the centre."""
        examiner = Examiner(claim, frame)
        cover = examiner.cover()
        core = None if cover is None else examiner.core(cover)
        return None if cover is None or core is None else Search(examiner, cover, core, device)

    @property
    def volume(self) -> float:
        """The total volume of the open boxes."""
        return float(np.prod(self.high - self.low, axis=1).sum() * abs(np.linalg.det(self.examiner.frame.T)))

    @property
    def is_settled(self) -> bool:
        """Whether the core contains practically the whole region, so that nothing needs to be searched."""
        return bool((self.core >= np.maximum(-self.cover[0], self.cover[1])).all())

    @property
    def proof(self) -> Subdivision:
        """The subdivision of the region; valid when no box is open."""
        return Subdivision(self.examiner.frame.T, self.core, *self.cover, *self.tree.arrays())

    def explained(self, result: SearchResult) -> SearchResult:
        """The result; if it is undecided, with the number of open boxes and the likely reason."""
        if result.kind is not Kind.UNDECIDED:
            return result
        reason = f"{len(self.low):,} boxes undecided after {result.boxes:,} boxes and {result.seconds:.1f} s"
        reason += f"; {result.reason}" if result.reason else ""
        if not len(self.low):
            return replace(result, reason=reason)
        undefined = undefined_over(
            self.examiner.claim, self.examiner.frame.patch(self.low[-CHUNK:], self.high[-CHUNK:]).hull
        )
        if undefined is None:
            return replace(result, reason=reason)
        return replace(result, reason=f"{reason}; {undefined[0]}", advice=undefined[1])

    def _compiled(self, boxes: int) -> Run:
        """The way to run the examination of further boxes: compiled if the search is long."""
        if self._by is as_written and self.device is None and self._examined >= LONG:
            from systems.tape.recorded import Recorder  # numba is slow to import

            self._by = Recorder()
        self._examined += boxes
        return self._by

    def run(self, limits: SearchLimits) -> SearchResult:
        """Continues until no box is open, a counterexample is found, or a limit is reached."""
        began, boxes = perf_counter(), 0
        examiner = self.examiner

        def ended(
            kind: Kind, reason: str = "", counterexample: np.ndarray | None = None, advice: str = ""
        ) -> SearchResult:
            return SearchResult(
                kind,
                core=np.abs(examiner.frame.T) @ self.core,
                boxes=boxes,
                seconds=perf_counter() - began,
                counterexample=counterexample,
                reason=reason,
                advice=advice,
                proof=self.proof if kind is Kind.PROVED else None,
            )

        while len(self.low):
            if boxes >= limits.boxes or perf_counter() - began > limits.seconds:
                return ended(Kind.UNDECIDED, advice=MORE)
            self.low, left = self.low[: -self.chunk], self.low[-self.chunk :]
            self.high, right = self.high[: -self.chunk], self.high[-self.chunk :]
            self.node, node = self.node[: -self.chunk], self.node[-self.chunk :]
            boxes += len(left)
            findings = examiner.examine(
                placed(left, self.device), placed(right, self.device), self.core, self._compiled(len(left))
            )
            suspects, disturbances = findings.worst[findings.open], findings.disturbance[findings.open]
            if self.device is None:
                likely = np.flatnonzero(suspicious(examiner.claim, suspects, disturbances))
                suspects, disturbances = suspects[likely], disturbances[likely]
            refuted = fetched(violates(examiner.claim, suspects, disturbances)) if len(suspects) else np.zeros(0, bool)
            if refuted.any():
                k = int(np.argmax(refuted))
                x, w = fetched(suspects[k]), fetched(disturbances[k])
                return ended(Kind.REFUSED, broken_under(w, examiner.claim.loop.is_disturbed), x)
            still_open, spread = fetched(findings.open), fetched(findings.spread)
            left, right, node, spread = (a[still_open] for a in (left, right, node, spread))
            for _ in range(3):  # small batches take as long as large ones, so a short list is halved more than once
                if not len(left):
                    break
                halves = halved(left, right, spread)
                if halves is None:
                    self.is_stuck = True
                    self.low, self.high = np.concatenate([self.low, left]), np.concatenate([self.high, right])
                    stuck = "a box cannot be halved any further in double precision"
                    return ended(Kind.UNDECIDED, stuck, advice=LOWER)
                left, right, spread = halves.low, halves.high, halves.spread
                node = self.tree.cut(node, halves.axis)
                if len(self.low) + len(left) >= self.chunk // 8:
                    break
            self.low, self.high = np.concatenate([self.low, left]), np.concatenate([self.high, right])
            self.node = np.concatenate([self.node, node])
        return ended(Kind.PROVED)


def broken_under(w: np.ndarray, is_disturbed: bool) -> str:
    """A sentence that a point violates the condition, with the disturbance (q,)."""
    under = f" under w = {w.tolist()}" if is_disturbed else ""
    return f"the condition is proved to be violated at this point{under}"
