"""Faults: states that are not numbers, states without a solution, budgets of one iteration. Nothing may break."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from ctrl.controller import Controller, Source, Status
from ctrl.regulator import LQR
from mpc import HarmonicMPC, LinearMPC, NonlinearMPC
from mpc.online import OnlineController, SolveResult
from systems import Box, DimensionMismatch, Fixed, LinearPlant, Nonlinear, Task
from systems.library.pendulum import pendulum


def fenced() -> Task:
    """The pendulum with hard limits that a disturbance or a fault can break."""
    return dataclasses.replace(pendulum(), constraints=(Box("fence", {"angle": (-0.8, 0.8), "rate": (-2.0, 2.0)}),))


Made = Callable[..., LinearMPC | NonlinearMPC]
CONTROLLERS: dict[str, Made] = {
    "linear-daqp": lambda **k: LinearMPC(fenced(), horizon=15, solver="daqp", **k),
    "linear-piqp": lambda **k: LinearMPC(fenced(), horizon=15, solver="piqp", **k),
    "nonlinear": lambda **k: NonlinearMPC(fenced(), horizon=10, **k),
}


@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_budget_of_one_iteration_for_a_whole_run(name: str) -> None:
    controller = CONTROLLERS[name](max_iterations=1)
    rng = np.random.default_rng(1)
    for k in range(400):
        decision = controller.step(rng.uniform([-0.7, -1.5], [0.7, 1.5]), k)
        assert np.isfinite(decision.input).all()
        assert abs(decision.input[0]) <= 0.75


@pytest.mark.parametrize("make", [LinearMPC, NonlinearMPC])
def test_the_chain_plan_then_regulator(make: type[LinearMPC] | type[NonlinearMPC]) -> None:
    task = fenced()
    controller, nothing = make(task, horizon=4), np.full(2, np.nan)
    first = controller.step(nothing, 0)
    assert (first.status, first.source) == (Status.NUMERICAL, Source.BACKUP)
    np.testing.assert_array_equal(first.input, [0.0])
    controller.step(np.array([0.1, 0.0]), 1)
    plan = controller.plan
    assert plan is not None
    for k in (2, 3, 4):
        decision = controller.step(nothing, k)
        assert decision.source is Source.SHIFTED_PLAN
        np.testing.assert_allclose(decision.input, plan.u[k - 1], atol=1e-6)
    assert controller.step(nothing, 5).source is Source.BACKUP  # the plan is used up
    far = np.array([3.0, 0.5])
    decision = controller.step(far, 6)
    assert (decision.status, decision.source) == (Status.INFEASIBLE, Source.BACKUP)
    np.testing.assert_array_equal(decision.input, LQR(task).step(far, 6).input)
    assert controller.step(np.array([0.1, 0.0]), 7).source is Source.OPTIMAL


@pytest.mark.parametrize("name", ["linear", "nonlinear", "harmonic"])
def test_the_plan_is_followed_with_the_feedback_of_the_regulator(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = dataclasses.replace(pendulum(), constraints=())
    make: dict[str, Callable[[Task], OnlineController]] = {
        "linear": lambda task: LinearMPC(task, horizon=6),
        "nonlinear": lambda task: NonlinearMPC(task, horizon=6),
        "harmonic": lambda task: HarmonicMPC(task, horizon=6, frequency=0.3),
    }
    controller, K = make[name](task), LQR(task).K
    controller.step(np.array([0.05, 0.0]), 3)
    plan = controller.plan
    assert plan is not None
    monkeypatch.setattr(controller, "_solve", lambda x, k: SolveResult(Status.NUMERICAL))
    lower, upper = task.input_bounds
    for k, offset in ((4, [0.003, -0.01]), (5, [-0.002, 0.02]), (6, [5.0, 5.0])):
        i = k - plan.k
        decision = controller.step(plan.x[i] + offset, k)
        assert (decision.status, decision.source) == (Status.NUMERICAL, Source.SHIFTED_PLAN)
        expected = np.clip(plan.u[i] - K @ offset, lower, upper)
        np.testing.assert_allclose(decision.input, expected, atol=1e-12)
        assert np.abs(decision.input - plan.u[i]).max() > 1e-4  # the feedback is felt


@pytest.mark.parametrize("make", [LinearMPC, NonlinearMPC])
def test_a_start_that_violates_a_state_constraint_may_come_back(make: type[LinearMPC] | type[NonlinearMPC]) -> None:
    decision = make(fenced()).step(np.array([0.85, -1.5]), 0)
    assert decision.status is Status.SOLVED


def test_without_a_regulator_the_reference_input_is_the_backup() -> None:
    plant = LinearPlant(np.eye(1), np.eye(1), dt=0.1, input_limits=((0.2, 1.0),))
    bare = Task("bare", plant, 0.1, 10, Nonlinear(lambda x, u, xr, ur: x.x1**4), Fixed())
    controller = NonlinearMPC(bare, horizon=3)
    assert controller.terminal.startswith("none")
    decision = controller.step(np.array([np.nan]), 0)
    assert decision.source is Source.BACKUP
    np.testing.assert_array_equal(decision.input, [0.2])


@pytest.mark.parametrize("make", [LinearMPC, NonlinearMPC])
def test_a_state_of_another_shape_is_misuse(make: type[LinearMPC] | type[NonlinearMPC]) -> None:
    controller = make(pendulum(), horizon=3)
    assert isinstance(controller, Controller)
    for wrong in (np.zeros(3), np.zeros((2, 1)), np.zeros(())):
        with pytest.raises(DimensionMismatch, match="angle, rate"):
            controller.step(wrong, 0)
