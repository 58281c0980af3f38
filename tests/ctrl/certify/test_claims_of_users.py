"""What users ask of a proved set: the constraints in it, the part within them, the disturbance that it survives, the
rate; and of a controller without a law, what random runs show."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from ctrl.certify import (
    Certificate,
    Kind,
    SearchLimits,
    at_level,
    certify,
    claim_by_runs,
    constraint_statuses,
    keeps_constraints,
    largest_disturbance,
    within_constraints,
)
from ctrl.certify.files.file import read, save
from ctrl.certify.files.verification import recheck
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.controller import NotApplicable
from ctrl.regulator import LQR
from systems import Box, Budget, Chance, Fixed, Hard, InvalidValue, Soft, Task, Uniform, UnknownName
from systems.library import double_integrator, pendulum
from systems.statistics import Rate

TASK = double_integrator()
LAW = LQR(TASK).law
LIMITS = SearchLimits(20_000, 1000.0)  # boxes end a search before the clock does, on any machine


@pytest.fixture(scope="module")
def proved() -> Certificate:
    """Of a set that reaches beyond the task's hard limit of the speed."""
    certificate = certify(TASK, LAW, level=1.9)
    assert certificate.is_proved
    return certificate


def reach(certificate: Certificate, i: int) -> float:
    """How far an ellipsoid reaches along a state."""
    return float(np.sqrt(certificate.level * np.linalg.inv(certificate.V.P)[i, i]))  # type: ignore[attr-defined]


# ---- constraints ----


def test_every_constraint_has_its_own_status(proved: Certificate) -> None:
    speed = reach(proved, 1)
    constraints = (
        Box("fast", {"speed": (-0.9 * speed, 0.9 * speed)}, requirement=Hard()),
        Box("chance", {"speed": (-1.01 * speed, 1.01 * speed)}, requirement=Chance(0.9)),
        Box("soft", {"position": (-10.0, 10.0)}, requirement=Soft(1.0)),
        Box("budget", {"speed": (-0.95 * speed, 1.01 * speed)}, requirement=Budget(1.0, "episode")),
        Box("actuator", {TASK.plant.input.names[0]: (-1.0, 1.0)}, requirement=Hard()),
        Box("narrower", {TASK.plant.input.names[0]: (-0.5, 0.5)}, requirement=Hard()),  # than what the loop clips to
    )
    task = dataclasses.replace(TASK, constraints=constraints)
    domain, *statuses = constraint_statuses(proved, task, LIMITS)
    kinds = {status.constraint.name: status.kind for status in statuses}  # type: ignore[union-attr]
    expected = {"fast": Kind.REFUSED, "chance": Kind.PROVED, "soft": Kind.PROVED, "budget": Kind.REFUSED}
    assert kinds == {**expected, "actuator": Kind.PROVED, "narrower": Kind.REFUSED}
    assert domain.kind is Kind.PROVED
    assert str(domain).startswith("domain: satisfied")
    broken = statuses[0].counterexample
    assert broken is not None
    assert proved.contains(broken)
    assert abs(broken[1]) > 0.9 * speed
    assert "'fast' (hard): violated at [" in str(statuses[0])
    few = constraint_statuses(proved, task, SearchLimits(boxes=5))
    assert "undecided" in str(few[1])
    outside = dataclasses.replace(task, domain=Box("model", {"speed": (-0.9 * speed, 10.0)}))
    assert constraint_statuses(proved, outside, LIMITS)[0].kind is Kind.UNDECIDED
    with pytest.raises(InvalidValue, match="the states or inputs of task"):
        constraint_statuses(proved, pendulum())


def test_a_status_names_the_runs_that_the_claim_is_not_about(proved: Certificate) -> None:
    """Nothing is said of runs under disturbances, or of plants, that the claim does not cover."""
    still = dataclasses.replace(TASK, disturbance=Fixed([0.0]))
    pushed = dataclasses.replace(TASK, disturbance=Uniform({"push": -0.1}, {"push": 0.1}))
    end = "at every sample of every run that starts in it"

    def said(certificate: Certificate, task: Task) -> str:
        return str(constraint_statuses(certificate, task, LIMITS)[0])

    assert said(proved, still).endswith(end)
    assert said(proved, pushed).endswith(f"{end}, without disturbance")
    disturbed = certify(TASK, LAW, level=0.5, disturbance={"push": (-0.05, 0.05)})
    assert disturbed.is_proved
    assert said(disturbed, pushed).endswith(f"{end}, under the disturbances of the claim")
    less = dataclasses.replace(TASK, disturbance=Uniform({"push": -0.05}, {"push": 0.04}))
    assert said(disturbed, less).endswith(end)


def test_a_status_names_the_plants_that_the_claim_is_not_about() -> None:
    task = dataclasses.replace(pendulum(), disturbance=Fixed([0.0]))
    varied = task.with_variation(Uniform({"mass": 0.149}, {"mass": 0.151}))
    law = LQR(task).law
    nominal = certify(task, law, level=0.05)
    every = certify(task, law, level=0.05, uncertain={"mass": (0.149, 0.151)})
    assert nominal.is_proved
    assert every.is_proved
    assert str(constraint_statuses(nominal, varied)[0]).endswith("that starts in it, with the parameters of the claim")
    assert str(constraint_statuses(every, varied)[0]).endswith("that starts in it")
    wider = task.with_variation(Uniform({"mass": 0.148}, {"mass": 0.151}))
    assert str(constraint_statuses(every, wider)[0]).endswith("with the parameters of the claim")


def test_the_largest_level_within_the_constraints_is_the_ellipsoids_that_touches_one(
    proved: Certificate, tmp_path: Any
) -> None:
    limit = 0.8 * reach(proved, 1)
    task = dataclasses.replace(TASK, constraints=(Box("fast", {"speed": (-limit, limit)}),))
    within = within_constraints(proved, task, LIMITS)
    touching = limit**2 / np.linalg.inv(proved.V.P)[1, 1]  # type: ignore[attr-defined]
    assert 0.99 * touching <= within.level <= touching
    assert keeps_constraints(within, task).is_proved
    assert within.volume == pytest.approx(proved.volume * within.level / proved.level)
    assert recheck(read(save(within, TASK, LAW, "double-integrator", tmp_path / "w"), TASK)).holds
    wide = dataclasses.replace(TASK, constraints=())
    assert within_constraints(proved, wide, LIMITS) is proved


def test_no_level_is_within_constraints_that_the_equilibrium_breaks(proved: Certificate) -> None:
    task = dataclasses.replace(TASK, constraints=(Box("moving", {"speed": (0.1, 2.0)}),))
    with pytest.raises(NotApplicable, match="the constraint 'moving'"):
        within_constraints(proved, task, LIMITS)
    region = dataclasses.replace(proved.claimed.region, inner=proved.level)
    end = dataclasses.replace(proved, claimed=dataclasses.replace(proved.claimed, region=region))
    with pytest.raises(NotApplicable, match="so no lower level can be tried"):
        within_constraints(end, task, LIMITS)
    refused = dataclasses.replace(proved, result=dataclasses.replace(proved.result, kind=Kind.UNDECIDED))
    with pytest.raises(InvalidValue, match="expected a proved one"):
        within_constraints(refused, task)


def test_a_lower_level_is_proved_by_the_same_proof_down_to_the_inner_one(tmp_path: Any) -> None:
    disturbance = {"push": (-0.1, 0.1)}
    outer = certify(TASK, LAW, level=1.5, disturbance=disturbance)
    assert outer.is_proved
    lower = at_level(outer, 0.5 * (outer.level + outer.inner))
    assert recheck(read(save(lower, TASK, LAW, "double-integrator", tmp_path / "l"), TASK)).holds
    for level in (outer.inner, 0.0, 1.01 * outer.level):
        with pytest.raises(InvalidValue, match="< level <="):
            at_level(outer, level)


# ---- disturbances ----


def test_the_largest_disturbance_lies_between_proof_and_counterexample(proved: Certificate) -> None:
    lower = at_level(proved, 1.0)
    found = largest_disturbance(lower, {"push": (-1.0, 1.0)}, LIMITS, resolution=0.1)
    assert found.certificate is not None
    assert found.certificate.is_proved
    assert found.certificate.inner == found.certificate.level == lower.level
    assert found.certificate.disturbance == {"push": (-found.scale, found.scale)}
    assert found.scale < found.failed <= 1.11 * found.scale
    assert found.is_refused
    # The worst of many states on the border, by simulation, is driven out by little more than what is proved.
    angle = np.linspace(0.0, 2.0 * np.pi, 20_000)
    root = np.linalg.cholesky(np.linalg.inv(lower.V.P))  # type: ignore[attr-defined]
    x = np.sqrt(lower.level) * np.stack([np.cos(angle), np.sin(angle)], -1) @ root.T
    loop = dataclasses.replace(lower.claimed.loop, disturbance={"push": (-1.0, 1.0)})

    def leaves(w: float) -> bool:
        return any(bool((lower.V(loop(x, np.array([side * w]))) > lower.level).any()) for side in (-1.0, 1.0))

    assert not leaves(found.scale)
    assert leaves(1.15 * found.scale)
    assert "proved: no trajectory leaves {V <= 1.0} with any push in [-" in str(found)
    assert "a counterexample is proved there" in str(found)


def test_intervals_on_one_side_are_extended_to_zero(proved: Certificate) -> None:
    found = largest_disturbance(at_level(proved, 1.0), {"push": (0.1, 0.2)}, LIMITS, resolution=0.3)
    assert found.certificate is not None
    low, high = found.certificate.disturbance["push"]
    assert low == 0.0
    assert high == pytest.approx(0.2 * found.scale)


def test_disturbances_that_make_no_sense_are_refused(proved: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidValue, match=r"other than \(0, 0\)"):
        largest_disturbance(proved, {"push": (0.0, 0.0)})
    with pytest.raises(UnknownName):
        largest_disturbance(proved, {"pull": (-1.0, 1.0)})
    monkeypatch.setattr("ctrl.certify.disturbance_bounds._LEAST", 0.1)
    nothing = largest_disturbance(proved, {"push": (-1.0, 1.0)}, SearchLimits(1, 1000.0))
    assert nothing.certificate is None
    assert nothing.scale == 0.0
    assert str(nothing).startswith("not proved")


# ---- rate ----


@pytest.mark.parametrize("continuous", [False, True])
def test_the_time_constant_bounds_the_decay_along_trajectories(continuous: bool) -> None:
    kappa = 0.2 if continuous else 0.02
    certificate = certify(TASK, LAW, level=1.0, kappa=kappa, continuous=continuous)
    assert certificate.is_proved
    expected = 1.0 / kappa if continuous else -TASK.dt / math.log(1.0 - kappa)
    assert expected <= certificate.time_constant <= (1.0 + 1e-9) * expected
    assert "T = " in str(certificate)
    if continuous:
        return
    x, loop = np.array([[0.2, 0.1], [-0.2, 0.3]]), ClosedLoop(TASK, LAW)
    start = certificate.V(x)
    assert (start <= 1.0).all()
    for k in range(1, 50):
        x = loop(x)
        assert (certificate.V(x) <= np.exp(-k * TASK.dt / certificate.time_constant) * start).all()


def test_without_a_rate_there_is_no_time_constant(proved: Certificate) -> None:
    assert proved.time_constant == math.inf
    assert "  rate " not in str(proved)


# ---- runs ----


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (7, 10), (10, 10), (495, 500)])
def test_the_bound_from_runs_is_that_of_the_binomial_distribution(k: int, n: int) -> None:
    """At the bound, so many successes or more have a probability of 5 %."""
    p = Rate(k, n).at_least
    tail = sum(math.comb(n, i) * p**i * (1.0 - p) ** (n - i) for i in range(k, n + 1))
    assert (p == 0.0) if k == 0 else tail == pytest.approx(0.05, rel=1e-6)


def test_runs_that_break_a_constraint_leave_or_do_not_arrive_do_not_count() -> None:
    tight = dataclasses.replace(TASK, constraints=(Box("slow", {"speed": (-0.3, 10.0)}),))
    claim = claim_by_runs(tight, LQR, 40, workers=1, name="lqr")
    assert 0 < claim.kept.k < 40
    assert claim.arrived.k > claim.kept.k
    assert claim.whole.k <= min(claim.kept.k, claim.stayed.k, claim.arrived.k)
    assert claim.whole.n == 40
    said = str(claim)
    assert said.startswith("SAMPLED, NOT PROVED: of 40 runs of task 'double-integrator' under controller 'lqr', ")
    again = claim_by_runs(tight, LQR, 40, workers=1, name="lqr")
    assert again == claim
    short = dataclasses.replace(TASK, steps=5)
    assert claim_by_runs(short, LQR, 20, workers=1).arrived.k < 20


def test_runs_without_chance_are_no_evidence() -> None:
    fixed = dataclasses.replace(TASK, initial=Fixed({"position": 0.1, "speed": 0.0}))
    with pytest.raises(NotApplicable, match="only 1 of 5 runs"):
        claim_by_runs(fixed, LQR, 5, workers=1)
