"""The highest level of a Lyapunov function that can be proved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter

import numpy as np

from ctrl.certify.bounds.examiner import Examiner
from ctrl.certify.bounds.frame import Frame, frames
from ctrl.certify.candidates.disturbed import reachable
from ctrl.certify.candidates.sampling import sampled_limit
from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.claim import LEAST_LEVEL, Claim, Equilibrium, candidate, expected_box, expected_rate
from ctrl.certify.claims.result import Kind, SearchResult
from ctrl.certify.functions.lyapunov import Lyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.search.border import holds_at_border
from ctrl.certify.search.limits import SearchLimits
from ctrl.certify.search.prove import expect_limits, prove
from ctrl.certify.search.rising import highest
from ctrl.laws.law import Law
from systems import Task
from systems.arguments import expect_number

__all__ = ["largest_level"]

_ONE_SEARCH = 0.75  # of the limits; the rest is for a bisection if nothing is proved
_HALVED = 8  # states; in more, boxes are too many to be halved into
_CLOSE = 1.01  # two levels by less than this factor apart are not told from each other where a set is settled at once
_NEAR = 4.0  # two levels by less than this factor apart are bisected, others by the middle of their logarithms


def largest_level(
    task: Task,
    law: Law,
    V: Lyapunov | None = None,
    kappa: float = 0.0,
    resolution: float = 2e-3,
    budget: SearchLimits | None = None,
    continuous: bool = False,
    *,
    box: tuple[np.ndarray, np.ndarray] | None = None,
    uncertain: Mapping[str, tuple[float, float]] | None = None,
    disturbance: Mapping[str, tuple[float, float]] | None = None,
    inner: float | None = None,
    equilibrium: Equilibrium = "reference",
) -> Certificate:
    """The highest level that can be proved, by one search from just below the sampled limit downward.

    The search examines boxes in the order of V. A settled box is settled for every level, a point that violates the
    claim lowers the level, and the search ends if a large share of its boxes has not raised the proved level by the
    resolution.

    If it proves nothing, levels are tried by bisection, beginning with the level whose whole set is settled by one
    matrix inequality, if there is one: it may be low, but takes no search, however many states there are. With more
    than eight states nothing else is tried, provided that this proves a level.

    Args:
        task: the controlled task.
        law: the controller in closed form.
        V: as :func:`certify`.
        kappa: as :func:`certify`.
        resolution: accuracy of the level, relative to the sampled limit; default: 0.2 %.
        budget: limits of all attempts together; the one search gets three quarters, each attempt of a bisection at most
            half of what is left.
        continuous: as :func:`certify`.
        box: as :func:`certify`.
        uncertain: as :func:`certify`.
        disturbance: as :func:`certify`.
        inner: as :func:`certify`; the same inner level in every attempt.
        equilibrium: as :func:`certify`.

    Returns:
        The proved certificate of the highest level (its boxes and seconds are those of the search that proved it).
        If none is proved, the last attempt, with the boxes and seconds of all.
    """
    began = perf_counter()
    limits = expect_limits(budget)
    expect_number(resolution, "resolution", above=0.0, below=1.0, hint="a share of the sampled limit")
    loop = ClosedLoop(task, law, continuous, uncertain or {}, disturbance or {})
    V, kappa, box = candidate(loop, V, equilibrium), expected_rate(loop, kappa), expected_box(loop, box)
    if inner is None:
        inner = reachable(loop, V, kappa, box=box)
    inner = expect_number(inner, "inner", least=0.0)
    top = max(sampled_limit(loop, V, kappa, box=box, inner=inner).level, LEAST_LEVEL)
    claim = Claim.about(
        loop, V, max((1.0 - resolution) * top, inner), kappa=kappa, box=box, inner=inner, equilibrium=equilibrium
    )
    if len(V.middle) > _HALVED and (level := _settled(claim)) > inner:
        whole = prove(replace(claim, region=replace(claim.region, level=level)), limits)
        if whole.is_proved:
            return whole
    boxes = limits.boxes
    proved, failed, share = 0.0, 1.0, 1.0 - resolution
    if (single := _by_one_search(claim, limits, resolution)) is not None:
        if single.is_proved:
            return single
        boxes -= single.boxes
        share = _settled(claim) / top or 0.4
    best: Certificate | None = None
    tried: list[Certificate] = []
    while True:
        left = limits.seconds - (perf_counter() - began)
        level = max(share * top, inner)
        claim = Claim.about(loop, V, level, kappa=kappa, box=box, inner=inner, equilibrium=equilibrium)
        attempt = prove(claim, SearchLimits(max(boxes // 2, 1), max(0.5 * left, 0.0), limits.device))
        boxes -= attempt.boxes
        tried.append(attempt)
        if attempt.is_proved:
            proved, best = share, attempt
        else:
            failed = share
        is_near = failed - proved <= resolution and (proved == 0.0 or failed <= _NEAR * proved)
        if is_near or left <= 0.02 * limits.seconds or boxes <= 0.02 * limits.boxes:
            return best or _none_of(tried)
        # What was too hard just below the limit is hardly easier a little lower, so the first proof is sought far down.
        if attempt.kind is Kind.UNDECIDED and len(tried) == 1 and (settled := _settled(claim)) > 0:
            share = settled / top
        elif proved == 0.0 and attempt.kind is Kind.UNDECIDED:
            share = 0.4 * failed
        elif failed > _NEAR * proved > 0.0:
            share = (proved * failed) ** 0.5
        else:
            share = 0.5 * (proved + failed)
        if share * top <= inner:
            return best or _none_of(tried)


def _by_one_search(claim: Claim, limits: SearchLimits, resolution: float) -> Certificate | None:
    """The highest level up to that of a claim, by one search; None if the claim does not allow it."""
    if limits.device is not None:
        return None
    fault = ""

    def decide(claim: Claim, limits: SearchLimits) -> tuple[Claim, SearchResult]:
        nonlocal fault
        boxes, began = 0, perf_counter()
        if claim.loop.continuous and not claim.region.is_whole:
            # On the border, what holds at one level holds at lower ones; where it does not hold, a lower one is needed.
            # It is looked at here since the set moves a little when V is centred at the equilibrium.
            boxes, fault = holds_at_border(claim, limits)
            if fault:
                return claim, SearchResult(Kind.UNDECIDED, np.zeros(len(claim.region.lower)), boxes, reason=fault)
        left = SearchLimits(max(limits.boxes - boxes, 1), max(limits.seconds - (perf_counter() - began), 0.0))
        claim, result = highest(claim, left, resolution)
        return claim, replace(result, boxes=result.boxes + boxes)

    seconds = max(_ONE_SEARCH * limits.seconds, 0.0)
    single = prove(claim, SearchLimits(max(int(_ONE_SEARCH * limits.boxes), 1), seconds), decide)
    return None if fault else single


def _settled(claim: Claim) -> float:
    """About the highest level, below that of a claim, of which the whole set is settled around the centre; 0 if none
    is."""
    if claim.loop.is_disturbed:
        return 0.0
    claim, level = replace(claim, region=replace(claim.region, inner=0.0)), 0.0
    V, top = claim.region.V, claim.region.level
    tried = frames(claim.loop, V)
    for frame in tried:
        examiner = Examiner(claim, frame)
        cover = examiner.cover()
        core = None if cover is None or not np.isfinite(cover).all() else examiner.core(cover)
        if core is not None:
            # The set at a level reaches as far as the root of the level.
            level = max(level, float(((core / V.reach(1.0, frame.T)) ** 2).min()))
    return (1.0 - 1e-6) * max(level, _settled_at_once(claim, tried[0], max(level, 1e-12 * top), top))


def _settled_at_once(claim: Claim, frame: Frame, low: float, high: float) -> float:
    """About the highest level between two of which :meth:`Examiner.is_settled_at_once` holds; 0 if it does not even at
    the lower one."""

    def is_settled(level: float) -> bool:
        return Examiner(replace(claim, region=replace(claim.region, level=level)), frame).is_settled_at_once()

    if not is_settled(low):
        return 0.0
    while high > _CLOSE * low:
        middle = low**0.5 * high**0.5  # the product of the two levels may be beyond all doubles
        if is_settled(middle):
            low = middle
        else:
            high = middle
    return low


def _none_of(tried: list[Certificate]) -> Certificate:
    """The last of several failed attempts, with the boxes and seconds of all."""
    last = tried[-1]
    if len(tried) == 1:
        return last
    levels = [attempt.level for attempt in tried]
    reason = f"none of {len(tried)} levels from {max(levels):.6g} to {min(levels):.6g} was proved; at the last: "
    boxes, seconds, cpu = (sum(getattr(a, name) for a in tried) for name in ("boxes", "seconds", "cpu"))
    result = replace(last.result, boxes=boxes, seconds=seconds, cpu=cpu, reason=reason + last.reason)
    return replace(last, result=result)
