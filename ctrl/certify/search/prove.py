"""Decides claims about closed loops: proved, refused or undecided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter, process_time

import numpy as np

from ctrl.certify.bounds.examiner import violates
from ctrl.certify.candidates.sampling import corners, sampled_limit
from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.claim import Claim, Equilibrium
from ctrl.certify.claims.result import Kind, SearchResult
from ctrl.certify.functions.lyapunov import Lyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.loops.equilibrium import at_most, distance, equilibrium_near, is_same, rest_point
from ctrl.certify.search.limits import SearchLimits
from ctrl.certify.search.search import broken_under, decreases
from ctrl.controller import NotApplicable
from ctrl.laws.law import Law
from systems import Task
from systems.arguments import expect_number, expect_whole
from systems.arithmetic.interval import Interval
from systems.errors import expect

__all__ = ["certify", "expect_limits", "prove"]

_ELSEWHERE = (
    'equilibrium="own", or a V centred at rest_point(ClosedLoop(task, law)).box; if that finds no equilibrium, the '
    "loop's Jacobian may be singular or discontinuous there"
)


def certify(
    task: Task,
    law: Law,
    V: Lyapunov | None = None,
    level: float | None = None,
    kappa: float = 0.0,
    budget: SearchLimits | None = None,
    continuous: bool = False,
    *,
    box: tuple[np.ndarray, np.ndarray] | None = None,
    uncertain: Mapping[str, tuple[float, float]] | None = None,
    disturbance: Mapping[str, tuple[float, float]] | None = None,
    inner: float | None = None,
    equilibrium: Equilibrium = "reference",
) -> Certificate:
    """Decides by branch and bound whether {V <= level}, cut to a box, is a region of attraction of the closed loop.

    The proof shows that V decreases along every trajectory from this set S other than the equilibrium, and that no
    trajectory leaves S. Since S is compact and V continuous, all trajectories from S converge to the equilibrium.

    Under disturbances trajectories do not converge; the proof then shows that all of them reach {V <= inner} in finite
    time and remain there. The centre of V need not be an equilibrium in that case.

    Args:
        task: the controlled task.
        law: the controller in closed form.
        V: the Lyapunov function; default: the task's Riccati solution, or, around an equilibrium of its own, the
            linearised loop's :func:`cost_to_go`.
        level: of the set; default: 99 % of the sampled limit.
        kappa: V must decrease by more than this fraction per sample (in continuous time: per second); default: 0, any
            decrease.
        budget: limits of the search; default: 2,000,000 boxes and 60 seconds.
        continuous: whether the control law is evaluated continuously, x' = f(x); default: once per sample.
        box: lower and upper (n,) to which S is cut; default: the domain of the task.
        uncertain: intervals of parameters of the plant, by name: the claim holds for every value, and where all values
            have the same equilibrium also for values that change; default: none.
        disturbance: intervals of signals of w, by name, in which they may change from sample to sample (in continuous
            time: at any time), the others being zero; default: none. :func:`ctrl.certify.disturbances` derives them
            from the task's distribution.
        inner: level of the set that trajectories reach; default: 20 % above :func:`ctrl.certify.sampled_inner` under
            disturbances, otherwise 0: they converge.
        equilibrium: what trajectories converge to; default: the reference. A learned policy rarely outputs exactly the
            reference input at the reference, so its loop has an equilibrium nearby; choose "own" to make the claim
            about that equilibrium. The certificate says how far that is from the reference. V must be centred there
            (:func:`rest_point`).

    Returns:
        A certificate: proved, refused (with a proven counterexample, or because V is not centred at an equilibrium),
        or undecided when a limit is reached.

    Raises:
        NotApplicable: the closed loop has no enclosure, or the reference moves; no V is given and the loop has no
            equilibrium of its own that attracts.
        InvalidValue: a controller instead of a law, a level that is not positive, kappa out of range, an inner level
            beyond the level, or an unbounded S.
    """
    began, worked = perf_counter(), process_time()
    limits = expect_limits(budget)
    loop = ClosedLoop(task, law, continuous, uncertain or {}, disturbance or {})
    claim = Claim.about(loop, V, level, kappa=kappa, box=box, inner=inner, equilibrium=equilibrium)
    certificate = prove(claim, limits)
    # The time spent on constructing the claim counts as well.
    spent = replace(certificate.result, seconds=perf_counter() - began, cpu=process_time() - worked)
    return replace(certificate, result=spent)


def expect_limits(limits: SearchLimits | None) -> SearchLimits:
    """Limits as given, or the default ones.

    Raises:
        InvalidValue: not SearchLimits, fewer than one box, or negative seconds.
    """
    if limits is None:
        return SearchLimits()
    expect(limits, SearchLimits, "budget", "such as SearchLimits(seconds=60)")
    expect_whole(limits.boxes, "SearchLimits.boxes", least=1)
    expect_number(limits.seconds, "SearchLimits.seconds", least=0.0, infinite=True)
    return limits


Decide = Callable[[Claim, SearchLimits], tuple[Claim, SearchResult]]
"""A search: what is decided, which may be less than what was claimed, and the result."""


def searched(claim: Claim, limits: SearchLimits) -> tuple[Claim, SearchResult]:
    """Decides the claim without changes: by samples, which may refute it quickly, and then by branch and bound."""
    return claim, _searched(claim, limits)


def prove(claim: Claim, limits: SearchLimits, decide: Decide = searched) -> Certificate:
    """Decides a claim: locates the equilibrium, then searches.

    Args:
        claim: to decide.
        limits: of the search.
        decide: the search.
    """
    began, worked = perf_counter(), process_time()
    claim, result = _decided(claim, limits, decide)
    volume = claim.region.volume() if result.kind is Kind.PROVED else float("nan")
    return Certificate(
        claim, replace(result, seconds=perf_counter() - began, cpu=process_time() - worked, volume=volume)
    )


def _decided(claim: Claim, limits: SearchLimits, decide: Decide) -> tuple[Claim, SearchResult]:
    """The claim around the equilibrium that is proved to exist, and the result of its search."""
    loop, region = claim.loop, claim.region
    V, own = region.V, claim.equilibrium == "own"
    zero = np.zeros_like(V.middle)
    if region.inner > 0:
        origin = f"no claim; trajectories end in {{V <= {region.inner:.6g}}}"
        claim, result = decide(claim, limits)
        return claim, replace(result, origin=origin)
    centre, reference = V.middle, loop.reference
    is_exact, drift = loop.drift(centre)
    origin, equilibrium = "equilibrium, exactly", None
    if not is_exact:
        equilibrium = equilibrium_near(loop, centre)
        if equilibrium is None:
            # V = 0 there, so any movement away from the centre breaks the decrease, whatever the level.
            moves = not loop.increment(Interval.of(centre)).contains(zero).all()
            what = "is not an equilibrium" if moves else "is not proved to be an equilibrium"
            reason = f"the centre of V {what} of the closed loop: the state changes by up to {drift:.3g}{_hint(claim)}"
            if moves:
                refused = SearchResult(Kind.REFUSED, zero, counterexample=centre, reason=reason)
                return claim, replace(refused, origin="no equilibrium")
            undecided = SearchResult(Kind.UNDECIDED, zero, reason=reason, advice=_ELSEWHERE)
            return claim, replace(undecided, origin="no equilibrium")
    if V.centre.width.max(initial=0.0) > 1e-8:
        reason = f"the centre of V is known only to within {V.centre.width.max():.1g}; expected at most 1e-8"
        return claim, SearchResult(Kind.REFUSED, zero, reason=reason)
    if not own and not (V.centre.contains(reference).all() or is_same(V.centre, reference)):
        reason = f"V is centred at {centre}, but the reference of the task is {reference}{_hint(claim)}"
        return claim, SearchResult(Kind.REFUSED, zero, reason=reason, origin="not the centre of V")
    if equilibrium is not None:
        # A little wider, so that another machine's enclosure of the same point lies inside.
        equilibrium = equilibrium + Interval(-equilibrium.rad, equilibrium.rad)
        claim = claim.centred(V.centred_at(equilibrium))
        away = float(distance(equilibrium, reference).max())
        where = "of it" if is_same(equilibrium, reference) else "of the reference"
        origin = f"one equilibrium, proved to lie within {at_most(away)} {where}; V is centred there"
    claim, result = decide(claim, limits)
    if not result.core.any():
        return claim, replace(result, origin=f"{origin}; decrease around it not proved")
    half = ", ".join(f"{a:.3g}" for a in result.core)
    covered = f"in a parallelepiped within +-({half}), by one inequality between interval matrices"
    return claim, replace(result, origin=f"{origin}; decrease around it proved {covered}")


def _hint(claim: Claim) -> str:
    """Advice on where to centre V."""
    try:
        rest = rest_point(claim.loop)
    except NotApplicable:
        return ""
    if claim.equilibrium == "own" or rest.is_reference:
        return f"; its equilibrium is at {rest.box.mid}: centre V at rest_point(loop).box"
    away = at_most(rest.offset.max())
    return (
        f'; the equilibrium of the loop is {rest.box.mid}, at most {away} from the reference: equilibrium="own" makes '
        "a claim about that point"
    )


def _searched(claim: Claim, limits: SearchLimits) -> SearchResult:
    # A counterexample is cheap to find where one exists; where sampling finds none, time is better spent on boxes.
    # The level may come from a sampled limit already, but of more rays over a larger set, which can miss it.
    loop, region = claim.loop, claim.region
    box = (region.lower, region.upper)
    sampled = sampled_limit(loop, region.V, claim.kappa, region.level, rays=256, box=box, inner=region.inner)
    if sampled.violation is not None:
        for w in corners(loop):
            if violates(claim, sampled.violation[None], w[None])[0]:
                zero, reason = np.zeros_like(region.V.middle), broken_under(w, loop.is_disturbed)
                return SearchResult(Kind.REFUSED, zero, counterexample=sampled.violation, reason=reason)
    return decreases(claim, limits)
