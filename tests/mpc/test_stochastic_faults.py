"""Faults of stochastic MPC: states that are not numbers or out of reach, budgets of one iteration, lost samples."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from ctrl.controller import Source, Status
from ctrl.regulator import LQR
from mpc import StochasticMPC
from systems import Box, DimensionMismatch, Gaussian, Task
from systems.library.segway import segway


def fenced() -> Task:
    """The segway with a hard limit on its lean besides, which a fault can break."""
    posed = segway()
    return dataclasses.replace(posed, constraints=(*posed.constraints, Box("fence", {"angle": (-0.6, 0.6)})))


@pytest.mark.parametrize("every", [1, pytest.param(3, marks=pytest.mark.slow), math.inf])
@pytest.mark.parametrize("recovery", [False, True])
@pytest.mark.every(2)
def test_faults_do_no_harm_and_pass(every: float, recovery: bool) -> None:
    posed = fenced()
    controller = StochasticMPC(posed, recondition_every=every, recovery=recovery)
    hasty = StochasticMPC(posed, recondition_every=every, max_iterations=1).solver
    sound = controller.solver
    (lower, upper), (low, high) = posed.input_bounds, posed.disturbance.support(posed.plant.disturbance)
    step, rng = posed.dynamics.function(), np.random.default_rng(0)
    x, healthy, seen = np.deg2rad([10.0, 0.0]), 0, set()
    for k in range(5000):
        fault = str(rng.choice(["none", "nan", "infeasible", "hasty"], p=[0.9, 0.04, 0.02, 0.04]))
        shown = x
        if fault == "nan":
            shown = np.where(rng.random(2) < 0.5, rng.choice([np.nan, np.inf, -np.inf]), np.nan)
        elif fault == "infeasible":
            shown = rng.choice([-1.0, 1.0]) * np.array([10.0 ** rng.uniform(1.0, 300.0), 3.0])
        controller.solver = hasty if fault == "hasty" else sound
        decision = controller.step(shown, k)
        assert decision.input.shape == (1,)
        assert np.isfinite(decision.input).all()
        assert (lower <= decision.input).all()
        assert (decision.input <= upper).all()
        seen.add((fault, decision.status))
        if fault == "nan":
            assert decision.status is Status.NUMERICAL
        healthy = healthy + 1 if fault == "none" else 0
        if healthy >= 2:
            assert decision.status is Status.SOLVED
            assert decision.source is Source.OPTIMAL
        x = np.array(step(x, decision.input, rng.uniform(low, high), []))[:, 0]
        if np.abs(x).max() > 0.6:  # pushed out by what the faults did: a new start, as a user would make one
            x = np.deg2rad([10.0, 0.0])
            controller.reset()
    assert {status for fault, status in seen if fault == "none"} >= {Status.SOLVED}
    if every == 1 and not recovery:
        assert ("infeasible", Status.INFEASIBLE) in seen


def test_every_step_on_one_iteration() -> None:
    """From a start that needs more: the plan is never found, and the regulator acts until nothing binds any more."""
    posed = segway()
    controller, regulator = StochasticMPC(posed, max_iterations=1), LQR(posed)
    x, sources = np.deg2rad([25.0, -20.0]), []
    for k in range(12):
        decision = controller.step(x, k)
        sources.append(decision.source)
        if decision.source is Source.BACKUP:
            np.testing.assert_allclose(decision.input, regulator.step(x, k).input, atol=1e-12)
        x = np.array(posed.dynamics.function()(x, decision.input, 0, []))[:, 0]
    assert sources[0] is Source.BACKUP
    assert sources[-1] in (Source.OPTIMAL, Source.SUBOPTIMAL)


def test_a_lost_measurement_is_bridged_by_the_plan() -> None:
    """Without noise the plan is the truth: its inputs and its nominal state go on, also when samples are skipped."""
    posed = segway()
    controller = StochasticMPC(posed, recondition_every=math.inf)
    x = np.deg2rad([25.0, -20.0])
    controller.step(x, 0)
    plan = controller.plan
    assert plan is not None
    for k in range(1, 4):
        decision = controller.step(np.full(2, np.nan), k)
        assert decision.source is Source.SHIFTED_PLAN
        np.testing.assert_allclose(decision.input, plan.u[k], atol=1e-12)
        np.testing.assert_allclose(controller.nominal, plan.x[k], atol=1e-12)
    assert controller.step(plan.x[5], 5).status is Status.SOLVED
    np.testing.assert_allclose(controller.nominal, plan.x[5], atol=1e-12)
    assert controller.step(np.full(2, np.nan), 40).source is Source.BACKUP
    assert controller.step(x, 3).status is Status.SOLVED  # time runs backwards: a new run
    np.testing.assert_allclose(controller.nominal, x)


def test_an_overdue_reconditioning_comes_with_the_next_measurement() -> None:
    posed = segway()
    controller = StochasticMPC(posed, recondition_every=2)
    x = np.deg2rad([5.0, 0.0])
    controller.step(x, 0)
    for k in (1, 2, 3):
        controller.step(np.full(2, np.nan), k)
    assert controller.step(x, 4).status is Status.SOLVED
    np.testing.assert_allclose(controller.nominal, x)


def test_a_state_out_of_reach_gets_the_backup_and_is_forgotten() -> None:
    for every in (1, math.inf):
        controller = StochasticMPC(fenced(), recondition_every=every)
        decision = controller.step(np.array([3.0, 3.0]), 0)
        assert (decision.status, decision.source) == (Status.INFEASIBLE, Source.BACKUP)
        assert controller.step(np.deg2rad([5.0, 0.0]), 1).status is Status.SOLVED


def test_a_nominal_state_that_leads_nowhere_is_given_up() -> None:
    controller = StochasticMPC(segway(), recondition_every=math.inf)
    x = np.deg2rad([5.0, 0.0])
    controller.step(x, 0)
    controller._zeta = np.array([1e6, 1e6])
    statuses = [controller.step(x, k).status for k in range(1, 5)]
    assert statuses == [Status.INFEASIBLE] * 3 + [Status.SOLVED]
    np.testing.assert_allclose(controller.nominal, x)


def test_normal_noise_for_many_steps() -> None:
    """The horizon of precomputed margins is passed, and a kick beyond all quantiles does no harm."""
    posed = dataclasses.replace(segway(), disturbance=Gaussian(np.deg2rad([0.8, 0.9]).tolist()))
    controller = StochasticMPC(posed, recondition_every=math.inf)
    rng, step, x = np.random.default_rng(0), posed.dynamics.function(), np.deg2rad([20.0, -20.0])
    for k in range(600):
        w = posed.disturbance.sample(posed.plant.disturbance, rng) * (6.0 if k == 300 else 1.0)
        decision = controller.step(x, k)
        assert decision.status is Status.SOLVED
        x = np.array(step(x, decision.input, w, []))[:, 0]
    assert np.abs(x).max() < np.deg2rad(25.0)


def test_one_state_per_call() -> None:
    with pytest.raises(DimensionMismatch, match="one state per call"):
        StochasticMPC(segway()).step(np.zeros((2, 2)), 0)
