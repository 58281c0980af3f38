"""Branch and bound over boxes: a Lyapunov function decreases on a sublevel set, proved or refuted by a point."""

from __future__ import annotations

import math
from dataclasses import replace
from time import perf_counter

import numpy as np

from ctrl.certify.bounds.border import holds_at_border
from ctrl.certify.bounds.frame import Frame, frames
from ctrl.certify.claims.sublevel_set import Effort, Outcome, Region
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.search.reasons import around_centre
from ctrl.certify.search.search import CHUNK, CORES, Examiner, Search
from ctrl.certify.search.subdivision import Proof

__all__ = ["decreases", "holds_again"]

_TRIALS = 4
_INSIDE = "a lower level, at which the set does not reach the border of its box, or more seconds: Effort(seconds=...)"


def decreases(loop: ClosedLoop, region: Region, kappa: float, budget: Effort) -> Outcome:
    """Decides whether V falls, by the share kappa, at all x of the region but the centre, and no motion leaves it.

    The centre must be an equilibrium, unless the region has an inner level: then V(f(x, w)) < max((1 - kappa) V(x),
    inner) is decided for all x and w, and in continuous time the decrease wherever V >= inner. Boxes are discarded
    where V > level, settled where an upper bound of the change of V is negative, and else halved along the direction
    that blurs the bound most. Near the centre the change of V vanishes and no such bound is negative: there f(x) -
    centre = J (x - centre), and one inequality between matrices over a whole box settles all of it, the centre's
    neighbours included.

    In discrete time every image must lie in the region's box. In continuous time the velocity must point inward
    wherever the region touches the box.

    Several frames to cut boxes in are given a few trials of growing length; from the second on the one with most left
    is dropped after each, and the last goes on alone.
    """
    began, boxes = perf_counter(), 0

    def left_open(boxes: int, reason: str, advice: str) -> Outcome:
        nothing = np.zeros(len(region.lower))
        return Outcome("open", boxes, perf_counter() - began, nothing, reason=reason, advice=advice)

    if loop.continuous and not region.is_whole:
        boxes, fault = holds_at_border(loop, region, budget)
        if fault:
            return left_open(boxes, fault, _INSIDE)
    tried = frames(loop, region.V)
    searches = [s for frame in tried if (s := Search.start(loop, region, kappa, frame, budget.device)) is not None]
    if not searches:
        reason, advice = around_centre(loop, region, kappa)
        return left_open(boxes + len(tried) * CORES, reason, advice)
    searches = [search for search in searches if search.is_settled] or searches
    for trial in range(_TRIALS + 1):
        for search in list(searches):
            left = Effort(budget.boxes - boxes, budget.seconds - (perf_counter() - began))
            last = trial == _TRIALS
            outcome = search.run(left if last else Effort(min(search.chunk << trial, left.boxes), left.seconds))
            boxes += outcome.boxes
            spent = perf_counter() - began
            if outcome.answer != "open" or last or search.is_stuck or boxes >= budget.boxes or spent > budget.seconds:
                return search.explained(replace(outcome, boxes=boxes, seconds=spent))
        if trial > 0 and len(searches) > 1:
            searches.remove(max(searches, key=lambda search: search.volume))
        if trial == _TRIALS - 1:
            searches = [min(searches, key=lambda search: search.volume)]
    raise AssertionError("the last trial returns")


def holds_again(
    loop: ClosedLoop, region: Region, kappa: float, proof: Proof, seconds: float = math.inf, chunk: int = CHUNK
) -> tuple[bool, str, np.ndarray, np.ndarray]:
    """Whether a proof stands: its box covers the region, and every part that it was cut into is settled on its own.

    Nothing is searched but, in continuous time, the border of the region's box.

    Args:
        seconds: after which to give up. chunk: parts that are examined at once.

    Returns:
        Whether it stands, why not, and the parts: low and high (b, n) in the frame's coordinates.
    """
    ends = perf_counter() + seconds
    examiner = Examiner(loop, region, kappa, Frame(region.V.middle, proof.T))
    low, high = proof.leaves()
    cover = examiner.cover()
    if cover is None or not ((proof.low <= cover[0]) & (proof.high >= cover[1])).all():
        return False, "the box that was cut does not cover the region", low, high
    if region.inner == 0 and not examiner.settled_around(proof.core[None])[0]:
        return False, "no decrease is shown around the equilibrium", low, high
    if loop.continuous and not region.is_whole:
        fault = holds_at_border(loop, region, Effort(seconds=min(seconds, Effort.seconds)))[1]
        if fault:
            return False, fault, low, high
    for k in range(0, len(low), chunk):
        if perf_counter() > ends:
            return False, f"time is over, with {k:,} of {len(low):,} parts shown (--seconds N gives more)", low, high
        found = examiner.examine(low[k : k + chunk], high[k : k + chunk], proof.core)
        if found.open.any():
            return False, f"{int(found.open.sum()):,} of {len(low):,} parts are not settled", low, high
    return True, "", low, high
