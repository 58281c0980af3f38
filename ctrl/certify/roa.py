"""Regions of attraction: certified level sets of a quadratic Lyapunov function."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np

from ctrl.certify.branch_and_bound import Budget, Outcome, Region, decreases, violates
from ctrl.certify.certificate import Certificate, Kind
from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.lyapunov import Quadratic
from ctrl.certify.sampling import sampled_limit
from ctrl.laws.law import Law
from ctrl.lqr import LQR
from systems import InvalidValue, Task
from systems.lowering.interval import Interval

__all__ = ["certify", "largest_level", "proved_share", "riccati"]

_ROUNDING = (
    "doubles rounded outward; holds for real arithmetic on the plant's expressions, their numbers, parameters, gains, "
    "bounds and dt the doubles given; not for the rounding of a running controller"
)


def riccati(task: Task) -> Quadratic:
    """V = (x - x_r)'P(x - x_r) with the cost-to-go of the task's linear-quadratic regulator."""
    return Quadratic(LQR(task).P, task.reference.at(task.plant, 0)[0])


def certify(
    task: Task,
    law: Law,
    V: Quadratic | None = None,
    level: float | None = None,
    kappa: float = 0.0,
    budget: Budget | None = None,
) -> Certificate:
    """Decides by branch and bound whether {V <= level} is a region of attraction of the undisturbed closed loop.

    Args:
        V: the task's Riccati solution where left out. level: 99 % of the sampled limit where left out.
        kappa: V must fall by more than this fraction in every sample; 0 asks for any decrease.

    Returns:
        A certificate: proved, refused (with a proven counterexample, or because the reference is no fixed point), or
        undecided when the budget is spent.

    Raises:
        NotApplicable: the closed loop has no enclosure, or the reference moves.
        InvalidValue: a level that is not positive, or kappa outside [0, 1).
    """
    began = perf_counter()
    loop = ClosedLoop(task, law)
    V = riccati(task) if V is None else V
    if not 0 <= kappa < 1:
        raise InvalidValue(f"kappa = {kappa}; expected 0 <= kappa < 1")
    if level is None:
        level = 0.99 * sampled_limit(loop, V, kappa).level
    if not 0 < level < np.inf:
        raise InvalidValue(f"level = {level}; expected a positive number")
    region = Region(V, float(level), *loop.domain)
    outcome, origin = _decide(loop, V, region, kappa, budget or Budget())
    kind = {"proved": Kind.PROVED, "refuted": Kind.REFUSED, "open": Kind.UNDECIDED}[outcome.answer]
    return Certificate(
        kind=kind,
        task=task.name,
        law=_name(law),
        V=V,
        level=float(level),
        kappa=kappa,
        state=task.plant.state,
        domain=None if region.is_whole else loop.domain,
        dynamics=str(task.dynamics),
        dt=task.dt,
        boxes=outcome.boxes,
        seconds=perf_counter() - began,
        volume=V.volume(level),
        origin=origin,
        rounding=_ROUNDING,
        core=outcome.core,
        counterexample=outcome.point,
        reason=outcome.reason,
    )


def _decide(loop: ClosedLoop, V: Quadratic, region: Region, kappa: float, budget: Budget) -> tuple[Outcome, str]:
    """The outcome of the search, and what was found out about the reference."""
    began = perf_counter()
    centre, reference = V.centre, loop.reference
    still, drift = loop.drift(centre)
    nothing = np.zeros_like(centre)
    if not still:
        # V = 0 there, so any motion away from the centre breaks the decrease, whatever the level.
        moved = not loop.enclose(Interval.of(centre)).contains(centre).all()
        reason = f"the closed loop does not rest at the centre of V: it moves by up to {drift:.3g} in one sample"
        if not moved:
            reason = f"the centre of V could not be shown to be an exact fixed point; it moves by at most {drift:.3g}"
        answer = "refuted" if moved else "open"
        point = centre if moved else None
        return Outcome(answer, 0, perf_counter() - began, nothing, point, reason), "not a fixed point"  # type: ignore[arg-type]
    if not np.array_equal(centre, reference):
        reason = f"V is centred at {centre}, the reference of the task is {reference}"
        return Outcome("refuted", 0, perf_counter() - began, nothing, None, reason), "not the centre of V"
    # A counterexample is cheap to find where one exists, and a search without one in sight is better spent on boxes.
    sampled = sampled_limit(loop, V, kappa, ceiling=region.level, rays=256)
    if sampled.violation is not None and violates(loop, region, sampled.violation[None], kappa)[0]:
        outcome = Outcome("refuted", 0, perf_counter() - began, nothing, sampled.violation)
    else:
        outcome = decreases(loop, region, kappa, budget)
    if outcome.answer == "refuted":
        outcome = replace(outcome, reason="the point above is proved to break the condition")
    if not outcome.core.any():
        return outcome, "fixed point, exactly; decrease around it not shown"
    half = ", ".join(f"{a:.3g}" for a in outcome.core)
    return outcome, f"fixed point, exactly; no hole: one interval matrix inequality covers +-({half}) around it"


def largest_level(
    task: Task,
    law: Law,
    V: Quadratic | None = None,
    kappa: float = 0.0,
    resolution: float = 2e-3,
    budget: Budget | None = None,
) -> Certificate:
    """The highest level that can be proved, by trial just below the sampled limit and bisection.

    Args:
        resolution: bisection stops at this share of the sampled limit.
        budget: for all attempts together; each gets at most half of what is left.

    Returns:
        The proved certificate of the highest level (its boxes and seconds are those of its own proof), or the last
        attempt where none is proved.
    """
    began = perf_counter()
    budget = budget or Budget()
    V = riccati(task) if V is None else V
    top = sampled_limit(ClosedLoop(task, law), V, kappa).level
    proved, failed, share = 0.0, 1.0, 1.0 - resolution
    boxes = budget.boxes
    best: Certificate | None = None
    while True:
        left = budget.seconds - (perf_counter() - began)
        attempt = certify(task, law, V, share * top, kappa, Budget(max(boxes // 2, 1), max(0.5 * left, 0.0)))
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


def proved_share(certificate: Certificate, task: Task, boxes: int = 50_000) -> float:
    """A lower bound of the share of the task's initial states that lies in the proved set.

    By halving the box that supports the initial law until its parts lie inside or outside or ``boxes`` are spent; only
    what lies surely inside counts. Directions in which the box has no width do not count as volume.

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
    region = certificate.region
    width = np.where(upper > lower, upper - lower, 1.0)
    low, high, share = lower[None], upper[None], np.ones(1)
    inside, examined = 0.0, 0
    while len(low) and examined < boxes:
        examined += len(low)
        box = Interval(low, high)
        holds = region.surely_holds(box)
        inside += float(share[holds].sum())
        outside = (region.V.enclose(box).lo > region.level) | ((low > region.upper) | (high < region.lower)).any(axis=1)
        low, high, share = (a[~holds & ~outside] for a in (low, high, share))
        rows, axis = np.arange(len(low)), np.argmax((high - low) / width, axis=1)
        middle = Interval(low, high).mid[rows, axis] if len(low) else np.zeros(0)
        left, right = high.copy(), low.copy()
        left[rows, axis] = right[rows, axis] = middle
        low, high = np.concatenate([low, right]), np.concatenate([left, high])
        share = np.concatenate([share, share]) * 0.5
    # Midpoints are rounded, so halves are halves to 1e-16 each; a whole box needs no such allowance.
    return inside if inside in (0.0, 1.0) and examined == 1 else max(0.0, inside * (1.0 - 1e-9))


def _name(law: Law) -> str:
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in type(law).__name__)
    return f"the {words.strip().lower()} law"
