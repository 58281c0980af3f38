"""Regions of attraction: certified sublevel sets of Lyapunov functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter, process_time
from typing import Literal

import numpy as np

from ctrl.certify.candidates.disturbed import reachable
from ctrl.certify.candidates.linearised import cost_to_go
from ctrl.certify.candidates.sampling import corners, sampled_limit
from ctrl.certify.claims.certificate import Certificate, Kind, stated
from ctrl.certify.claims.sublevel_set import Effort, Outcome, Region, expect_effort, violates
from ctrl.certify.claims.volume import volume
from ctrl.certify.functions.lyapunov import Lyapunov, QuadraticLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.loops.equilibrium import at_most, distance, equilibrium_near, is_same, rest_point
from ctrl.certify.search.branch_and_bound import decreases
from ctrl.controller import NotApplicable
from ctrl.laws.law import Law
from ctrl.regulator import LQR
from systems import InvalidValue, Task
from systems.arithmetic.interval import Interval

__all__ = ["LEAST_LEVEL", "Equilibrium", "candidate", "certify", "riccati"]

_ELSEWHERE = (
    'equilibrium="own", or a V that is centred at rest_point(ClosedLoop(task, law)).box; where that finds no '
    "equilibrium, the loop's Jacobian may be singular or jump there"
)

Equilibrium = Literal["reference", "own"]
"""What a claim says that motions converge to: the task's reference, or the point at which the loop itself rests."""

LEAST_LEVEL = 1e-12  # what is tried where sampling finds a violation next to the reference


def riccati(task: Task) -> QuadraticLyapunov:
    """V = (x - x_r)'P(x - x_r) with the cost-to-go of the task's linear-quadratic regulator.

    Raises:
        NotApplicable: the task has no such regulator.
        InvalidValue: the cost does not see all states, so that P is singular.
    """
    P = LQR(task).P
    try:
        return QuadraticLyapunov(P, Interval.of(task.reading.start[0]))
    except InvalidValue as error:
        unseen = np.abs(np.linalg.eigh(P)[1][:, 0])
        names = [name for name, a in zip(task.plant.state.names, unseen, strict=True) if a > 0.1]
        raise InvalidValue(
            f"task '{task.name}': its cost hardly sees {', '.join(names)}, so its Riccati solution bounds no region "
            f"({error}); lyapunov(task, law) weighs every state"
        ) from error


def certify(
    task: Task,
    law: Law,
    V: Lyapunov | None = None,
    level: float | None = None,
    kappa: float = 0.0,
    budget: Effort | None = None,
    continuous: bool = False,
    box: tuple[np.ndarray, np.ndarray] | None = None,
    uncertain: Mapping[str, tuple[float, float]] | None = None,
    disturbance: Mapping[str, tuple[float, float]] | None = None,
    inner: float | None = None,
    equilibrium: Equilibrium = "reference",
) -> Certificate:
    """Decides by branch and bound whether {V <= level}, cut to a box, is a region of attraction of the closed loop.

    What is shown is that V falls along every motion from S but the equilibrium, and that none leaves S; as S is compact
    and V continuous, all motions from S then converge to the equilibrium.

    Under disturbances no motion converges, and what is shown is that all come to {V <= inner} in finite time and stay
    there. Nothing is then asked of the centre of V.

    Args:
        V: the task's Riccati solution where left out; around an equilibrium of its own, the linearised loop's
            :func:`cost_to_go`. level: 99 % of the sampled limit where left out.
        kappa: V must fall by more than this fraction in every sample (in continuous time: per second, relative to V); 0
            asks for any decrease.
        continuous: the law answers at every instant, x' = f(x), instead of once per sample.
        box: lower and upper (n,) that S is cut to; the task's domain where left out.
        uncertain: intervals of parameters of the plant, by name: the claim holds for every value, and where all values
            have the same equilibrium also for values that change.
        disturbance: intervals of signals of w, by name, in which they may change from sample to sample (in continuous
            time: at any time); the others are zero. :func:`ctrl.certify.disturbances` reads them off the task's law.
        inner: 20 % above :func:`ctrl.certify.sampled_inner` where left out under disturbances; without them, 0: the
            motions converge.
        equilibrium: what motions converge to. A learned policy hardly ever answers the reference with exactly the
            reference input: its loop rests beside it, and only at its "own" equilibrium can something be proved. The
            certificate says how far that is from the reference. V must be centred there (:func:`rest_point`).

    Returns:
        A certificate: proved, refused (with a proven counterexample, or because V is not centred at an equilibrium),
        or undecided when the budget is spent.

    Raises:
        NotApplicable: the closed loop has no enclosure, or the reference moves; no V is given and the loop has no
        equilibrium of its own that attracts.
        InvalidValue: a controller instead of a law, a level that is not positive, kappa out of range, an inner level
        beyond the level, or an unbounded S.
    """
    began, worked = perf_counter(), process_time()
    budget = expect_effort(budget)
    loop = ClosedLoop(task, law, continuous, dict(uncertain or {}), dict(disturbance or {}))
    V = candidate(loop, V, equilibrium)
    if not 0 <= kappa < (np.inf if continuous else 1):
        raise InvalidValue(f"kappa = {kappa}; expected 0 <= kappa" + ("" if continuous else " < 1"))
    lower, upper = loop.domain if box is None else (np.asarray(bound, dtype=float) for bound in box)
    if lower.shape != V.centre.shape or upper.shape != lower.shape or not (lower < upper).all():
        raise InvalidValue(f"box from {lower} to {upper}; expected two arrays {V.centre.shape}, lower < upper")
    if inner is None:
        inner = reachable(loop, V, kappa, level, (lower, upper))
    if level is None:
        level = max(0.99 * sampled_limit(loop, V, kappa, box=(lower, upper), inner=inner).level, LEAST_LEVEL, inner)
    if not 0 < level < np.inf:
        raise InvalidValue(f"level = {level}; expected a positive number")
    if not 0 <= inner <= level or (loop.is_disturbed and inner == 0):
        raise InvalidValue(f"inner = {inner}; expected a number up to the level, above 0 where there are disturbances")
    region = Region(V, float(level), lower, upper, float(inner))
    if not np.isfinite(region.hull).all():
        raise InvalidValue(
            f"task '{task.name}' has no bounded domain and this V bounds no set by itself; give a box to search"
        )
    if not (region.hull[0] <= region.hull[1]).all():
        raise InvalidValue(
            f"no state with V <= {level:.6g} lies in the box from {lower} to {upper}, V being centred at {V.middle}; "
            "give a domain or a box that holds the centre, or a higher level"
        )
    if bounds := loop.beyond_half_a_period(*region.hull):
        raise InvalidValue(
            f"box from {lower} to {upper}: a periodic signal or a quaternion reaches beyond {bounds}, where a "
            "controller may take another representative of it, closer to the reference, than the law reads; give a "
            "smaller box, or leave it out"
        )
    outcome, origin, region = _decide(loop, region, kappa, budget, equilibrium == "own")
    kind = {"proved": Kind.PROVED, "refuted": Kind.REFUSED, "open": Kind.UNDECIDED}[outcome.answer]
    return Certificate(
        **stated(loop, region, kappa),
        kind=kind,
        boxes=outcome.boxes,
        seconds=perf_counter() - began,
        cpu=process_time() - worked,
        volume=volume(region) if kind is Kind.PROVED else float("nan"),
        origin=origin,
        core=outcome.core,
        counterexample=outcome.point,
        reason=outcome.reason,
        advice=outcome.advice,
        proof=outcome.proof,
    )


def candidate(loop: ClosedLoop, V: Lyapunov | None, equilibrium: Equilibrium) -> Lyapunov:
    """V, or what it is where none is given."""
    if V is None:
        return cost_to_go(loop) if equilibrium == "own" else riccati(loop.task)
    if not isinstance(V, Lyapunov):
        raise InvalidValue(
            f"V is of type {type(V).__name__}; expected a Lyapunov function: QuadraticLyapunov(P, centre) for (x - c)'P"
            "(x - c), SymbolicLyapunov(function, centre) for a smooth casadi.Function of one column"
        )
    if V.centre.shape != loop.reference.shape:
        raise InvalidValue(
            f"V is a function of {len(V.middle)} states; plant {loop.task.plant.name} has {len(loop.reference)}: "
            f"{', '.join(loop.task.plant.state.names)}"
        )
    return V


def _decide(loop: ClosedLoop, region: Region, kappa: float, budget: Effort, own: bool) -> tuple[Outcome, str, Region]:
    """The outcome of the search, what was found out about the equilibrium, and the region around the true one."""
    began = perf_counter()
    V = region.V
    nothing = np.zeros_like(V.middle)

    def ended(answer: str, reason: str, point: np.ndarray | None = None) -> Outcome:
        return Outcome(answer, 0, perf_counter() - began, nothing, point, reason)  # type: ignore[arg-type]

    if region.inner > 0:
        origin = f"nothing is claimed of it: motions end in {{V <= {region.inner:.6g}}}"
        return _searched(loop, region, kappa, budget, began), origin, region
    centre, reference = V.middle, loop.reference
    still, drift = loop.drift(centre)
    origin, found = "equilibrium, exactly", None
    if not still:
        found = equilibrium_near(loop, centre)
        if found is None:
            # V = 0 there, so any motion away from the centre breaks the decrease, whatever the level.
            moved = not loop.motion(Interval.of(centre)).contains(nothing).all()
            what = "moves by up to" if moved else "could not be shown to rest there; it moves by at most"
            reason = f"the closed loop does not rest at the centre of V: it {what} {drift:.3g}{_hint(loop, own)}"
            found_out = ended("refuted" if moved else "open", reason, centre if moved else None)
            return found_out if moved else replace(found_out, advice=_ELSEWHERE), "no equilibrium", region
    if V.centre.width.max(initial=0.0) > 1e-8:
        return ended("refuted", f"the centre of V is not known to more than {V.centre.width.max():.1g}"), "", region
    if not own and not (V.centre.contains(reference).all() or is_same(V.centre, reference)):
        reason = f"V is centred at {centre}, the reference of the task is {reference}{_hint(loop, own)}"
        return ended("refuted", reason), "not the centre of V", region
    if found is not None:
        # A little wider, so that another machine's enclosure of the same point lies inside.
        found = found + Interval(-found.rad, found.rad)
        region = replace(region, V=V.centred_at(found))
        away = float(distance(found, reference).max())
        where = "of it" if is_same(found, reference) else "of the reference"
        origin = f"one equilibrium, proved to lie within {at_most(away)} {where}; V is centred there"
    outcome = _searched(loop, region, kappa, budget, began)
    if not outcome.core.any():
        return outcome, f"{origin}; decrease around it not shown", region
    half = ", ".join(f"{a:.3g}" for a in outcome.core)
    return (
        outcome,
        f"{origin}; no hole: one inequality between interval matrices covers a parallelepiped within +-({half})",
        region,
    )


def _hint(loop: ClosedLoop, own: bool) -> str:
    """Where to centre V instead."""
    try:
        rest = rest_point(loop)
    except NotApplicable:
        return ""
    if own or rest.is_reference:
        return f"; the loop rests at {rest.box.mid}: centre V at the box of rest_point(loop)"
    away = at_most(rest.offset.max())
    return (
        f"; the loop rests beside the reference, at {rest.box.mid}, which is at most {away} away: "
        'equilibrium="own" makes a claim about that point'
    )


def _searched(loop: ClosedLoop, region: Region, kappa: float, budget: Effort, began: float) -> Outcome:
    # A counterexample is cheap to find where one exists, and a search without one in sight is better spent on boxes.
    box = (region.lower, region.upper)
    sampled = sampled_limit(loop, region.V, kappa, region.level, rays=256, box=box, inner=region.inner)
    if sampled.violation is not None:
        for w in corners(loop):
            if violates(loop, region, sampled.violation[None], kappa, w[None])[0]:
                under = f" under w = {w.tolist()}" if loop.is_disturbed else ""
                reason = f"the point above is proved to break the condition{under}"
                nothing = np.zeros_like(region.V.middle)
                return Outcome("refuted", 0, perf_counter() - began, nothing, sampled.violation, reason)
    return decreases(loop, region, kappa, budget)
