"""Regions of attraction: certified sublevel sets of Lyapunov functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter, process_time

import numpy as np

from ctrl.certify.branch_and_bound import decreases
from ctrl.certify.certificate import Certificate, Kind
from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.disturbed import reachable
from ctrl.certify.equilibrium import equilibrium_near
from ctrl.certify.lyapunov import Lyapunov, QuadraticLyapunov
from ctrl.certify.region import Effort, Outcome, Region, violates
from ctrl.certify.sampling import corners, sampled_limit
from ctrl.certify.volume import inner_share, volume
from ctrl.controller import Controller, NotApplicable
from ctrl.laws.law import Law
from ctrl.regulator import LQR
from systems import InvalidValue, Task
from systems.lowering.interval import Interval

__all__ = ["certify", "largest_level", "proved_region", "proved_share", "riccati"]

_ROUNDING = (
    "doubles rounded outward; holds for real arithmetic on the plant's expressions, their numbers, parameters, gains, "
    "bounds and dt the doubles given; not for the rounding of a running controller"
)

_LEAST_LEVEL = 1e-12  # what is tried where sampling finds a violation next to the reference


def riccati(task: Task) -> QuadraticLyapunov:
    """V = (x - x_r)'P(x - x_r) with the cost-to-go of the task's linear-quadratic regulator."""
    return QuadraticLyapunov(LQR(task).P, Interval.of(task.reference.at(task.plant, 0)[0]))


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
) -> Certificate:
    """Decides by branch and bound whether {V <= level}, cut to a box, is a region of attraction of the closed loop.

    What is shown is that V falls along every motion from S but the equilibrium, and that none leaves S; as S is compact
    and V continuous, all motions from S then converge to the equilibrium.

    Under disturbances no motion converges, and what is shown is that all come to {V <= inner} in finite time and stay
    there. Nothing is then asked of the centre of V.

    Args:
        V: the task's Riccati solution where left out. level: 99 % of the sampled limit where left out.
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

    Returns:
        A certificate: proved, refused (with a proven counterexample, or because the reference is no equilibrium), or
        undecided when the budget is spent.

    Raises:
        NotApplicable: the closed loop has no enclosure, or the reference moves.
        InvalidValue: a controller instead of a law, a level that is not positive, kappa out of range, an inner level
        beyond the level, or an unbounded S.
    """
    if isinstance(law, Controller) and not isinstance(law, Law):
        name = law.__name__ if isinstance(law, type) else type(law).__name__
        hint = (
            f"give its law: {name}(task).law" if hasattr(law, "law") else "only a law in closed form can be certified"
        )
        raise InvalidValue(f"the law is {name}, a controller; {hint}")
    began, worked = perf_counter(), process_time()
    loop = ClosedLoop(task, law, continuous, dict(uncertain or {}), dict(disturbance or {}))
    V = riccati(task) if V is None else V
    if not 0 <= kappa < (np.inf if continuous else 1):
        raise InvalidValue(f"kappa = {kappa}; expected 0 <= kappa" + ("" if continuous else " < 1"))
    lower, upper = loop.domain if box is None else (np.asarray(bound, dtype=float) for bound in box)
    if lower.shape != V.centre.shape or upper.shape != lower.shape or not (lower < upper).all():
        raise InvalidValue(f"box from {lower} to {upper}; expected two arrays {V.centre.shape}, lower < upper")
    if inner is None:
        inner = reachable(loop, V, kappa, level, (lower, upper))
    if level is None:
        level = max(0.99 * sampled_limit(loop, V, kappa, box=(lower, upper), inner=inner).level, _LEAST_LEVEL, inner)
    if not 0 < level < np.inf:
        raise InvalidValue(f"level = {level}; expected a positive number")
    if not 0 <= inner <= level or (loop.is_disturbed and inner == 0):
        raise InvalidValue(f"inner = {inner}; expected a number up to the level, above 0 where there are disturbances")
    region = Region(V, float(level), lower, upper, float(inner))
    if not np.isfinite(region.hull).all():
        raise InvalidValue(
            f"task '{task.name}' has no bounded domain and this V bounds no set by itself; give a box to search"
        )
    outcome, origin, region = _decide(loop, region, kappa, budget or Effort())
    kind = {"proved": Kind.PROVED, "refuted": Kind.REFUSED, "open": Kind.UNDECIDED}[outcome.answer]
    return Certificate(
        kind=kind,
        task=task.name,
        law=_name(law),
        V=region.V,
        level=float(level),
        kappa=kappa,
        state=task.plant.state,
        domain=None if region.is_whole else (lower, upper),
        dynamics="continuous time" if continuous else str(task.true_dynamics),
        dt=0.0 if continuous else task.dt,
        uncertain=loop.uncertain,
        boxes=outcome.boxes,
        seconds=perf_counter() - began,
        cpu=process_time() - worked,
        volume=volume(region) if kind is Kind.PROVED else float("nan"),
        origin=origin,
        rounding=_ROUNDING,
        core=outcome.core,
        counterexample=outcome.point,
        reason=outcome.reason,
        proof=outcome.proof,
        disturbance=loop.disturbance,
        inner=float(inner),
    )


def _decide(loop: ClosedLoop, region: Region, kappa: float, budget: Effort) -> tuple[Outcome, str, Region]:
    """The outcome of the search, what was found out about the reference, and the region around the true equilibrium."""
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
            reason = f"the closed loop does not rest at the centre of V: it {what} {drift:.3g}"
            return ended("refuted" if moved else "open", reason, centre if moved else None), "no equilibrium", region
    if not V.centre.contains(reference).all() or V.centre.width.max(initial=0.0) > 1e-8:
        reason = f"V is centred at {centre}, the reference of the task is {reference}"
        return ended("refuted", reason), "not the centre of V", region
    if found is not None:
        # A little wider, so that another machine's enclosure of the same point lies inside.
        found = found + Interval(-found.rad, found.rad)
        region = replace(region, V=V.centred_at(found))
        away = max(float(np.abs(found.lo - reference).max()), float(np.abs(found.hi - reference).max()))
        origin = f"one equilibrium, proved to lie within {away:.2g} of it; V is centred there"
    outcome = _searched(loop, region, kappa, budget, began)
    if not outcome.core.any():
        return outcome, f"{origin}; decrease around it not shown", region
    half = ", ".join(f"{a:.3g}" for a in outcome.core)
    return (
        outcome,
        f"{origin}; no hole: one inequality between interval matrices covers a parallelepiped of +-({half})",
        region,
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


def largest_level(
    task: Task,
    law: Law,
    V: Lyapunov | None = None,
    kappa: float = 0.0,
    resolution: float = 2e-3,
    budget: Effort | None = None,
    continuous: bool = False,
    box: tuple[np.ndarray, np.ndarray] | None = None,
    uncertain: Mapping[str, tuple[float, float]] | None = None,
    disturbance: Mapping[str, tuple[float, float]] | None = None,
    inner: float | None = None,
) -> Certificate:
    """The highest level that can be proved, by trial just below the sampled limit and bisection.

    Args:
        resolution: bisection stops at this share of the sampled limit.
        budget: for all attempts together; each gets at most half of what is left.
        disturbance, inner: as :func:`certify`; the same inner level in every attempt.

    Returns:
        The proved certificate of the highest level (its boxes and seconds are those of its own proof), or the last
        attempt where none is proved.
    """
    began = perf_counter()
    budget = budget or Effort()
    V = riccati(task) if V is None else V
    loop = ClosedLoop(task, law, continuous, disturbance=dict(disturbance or {}))
    if inner is None:
        inner = reachable(loop, V, kappa, box=box)
    top = max(sampled_limit(loop, V, kappa, box=box, inner=inner).level, _LEAST_LEVEL)
    proved, failed, share = 0.0, 1.0, 1.0 - resolution
    boxes = budget.boxes
    best: Certificate | None = None
    while True:
        left = budget.seconds - (perf_counter() - began)
        effort = Effort(max(boxes // 2, 1), max(0.5 * left, 0.0), budget.device)
        level = max(share * top, inner)
        attempt = certify(task, law, V, level, kappa, effort, continuous, box, uncertain, disturbance, inner)
        boxes -= attempt.boxes
        if attempt.is_proved:
            proved, best = share, attempt
        else:
            failed = share
            best = best if best is not None and best.is_proved else attempt
        if failed - proved <= resolution or left <= 0.02 * budget.seconds or boxes <= 0.02 * budget.boxes:
            return best
        # What was too hard just below the limit is hardly easier a little lower, so the first proof is sought far down.
        share = 0.4 * failed if proved == 0.0 and attempt.kind is Kind.UNDECIDED else 0.5 * (proved + failed)
        if share * top <= inner:
            return best


def proved_region(task: Task, controller: Controller, seconds: float = 10.0) -> float | None:
    """What a comparison says of a controller: the share of its starts' support that is proved to reach the reference.

    In the plane the highest level that can be proved is sought. In more states a few shares of the sampled limit are
    tried, from the top.

    Returns:
        A lower bound of the share, 0 where nothing was proved within the time, None where the controller has no law or
        the closed loop no enclosure.
    """
    law = getattr(controller, "law", None)
    if not isinstance(law, Law):
        return None
    budget = Effort(seconds=seconds)
    try:
        if len(task.plant.state) <= 2:
            certificate = largest_level(task, law, budget=budget)
        else:
            began, limit = perf_counter(), sampled_limit(ClosedLoop(task, law), riccati(task)).level
            for share in (0.9, 0.6, 0.3):
                left = seconds - (perf_counter() - began)
                certificate = certify(task, law, level=share * limit, budget=Effort(seconds=max(0.5 * left, 0.0)))
                if certificate.is_proved:
                    break
    except NotApplicable:
        return None
    return proved_share(certificate, task)


def proved_share(certificate: Certificate, task: Task, boxes: int = 50_000) -> float:
    """A lower bound of the share of the task's initial states that lies in the proved set.

    By halving the box that supports the initial law; see :func:`ctrl.certify.volume.inner_share`.

    Returns:
        A number in [0, 1]; 0 where nothing is proved. For an unbounded law, which has no such box, the box of three
        standard deviations around the mean is taken.
    """
    if not certificate.is_proved:
        return 0.0
    state = task.plant.state
    lower, upper = task.initial.support(state)
    if not np.isfinite([lower, upper]).all():
        mean, spread = task.initial.mean(state), 3.0 * np.sqrt(np.diag(task.initial.covariance(state)))
        lower, upper = mean - spread, mean + spread
    return inner_share(certificate.region, lower, upper, boxes)


def _name(law: Law) -> str:
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in type(law).__name__)
    return f"the {words.strip().lower()} law"
