"""Faults: states that are not numbers, states without a solution, budgets of one iteration. Nothing may break."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from ctrl.controller import Controller, Source, Status
from ctrl.lqr import LQR
from mpc import LinearMPC, NonlinearMPC
from systems import Box, DimensionMismatch, LinearPlant, Nonlinear, Task
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum


def fenced() -> Task:
    """The pendulum with hard limits that a push or a fault can break."""
    return dataclasses.replace(pendulum(), constraints=(Box("fence", {"angle": (-0.8, 0.8), "rate": (-2.0, 2.0)}),))


Made = Callable[..., LinearMPC | NonlinearMPC]
CONTROLLERS: dict[str, tuple[Made, int]] = {
    "linear-daqp": (lambda **k: LinearMPC(fenced(), horizon=15, solver="daqp", **k), 1500),
    "linear-piqp": (lambda **k: LinearMPC(fenced(), horizon=15, solver="piqp", **k), 1000),
    "nonlinear": (lambda **k: NonlinearMPC(fenced(), horizon=10, **k), 1000),
}


@pytest.mark.parametrize("name", CONTROLLERS)
def test_faults_do_no_harm_and_pass(name: str) -> None:
    make, steps = CONTROLLERS[name]
    controller, hasty = make(), make(max_iterations=1)
    lower, upper = controller.task.input_bounds
    step = controller.task.dynamics.function()
    rng = np.random.default_rng(0)
    part = "solvers" if isinstance(controller, NonlinearMPC) else "solver"
    sound, weak = getattr(controller, part), getattr(hasty, part)
    x, healthy, seen = np.zeros(2), 0, set()
    for k in range(steps):
        fault = rng.choice(["none", "nan", "infeasible", "hasty"], p=[0.9, 0.04, 0.02, 0.04])
        shown = x
        if fault == "nan":
            shown = np.where(rng.random(2) < 0.5, rng.choice([np.nan, np.inf, -np.inf]), np.nan)
        elif fault == "infeasible":
            shown = rng.choice([-1.0, 1.0]) * np.array([10.0 ** rng.uniform(0.5, 3.0), 3.0])
        setattr(controller, part, weak if fault == "hasty" else sound)
        decision = controller.step(shown, k)
        assert decision.input.shape == (1,)
        assert np.isfinite(decision.input).all()
        assert (lower <= decision.input).all()
        assert (decision.input <= upper).all()
        seen.add((str(fault), decision.status))
        if fault == "nan":
            assert decision.status is Status.NUMERICAL
        if fault == "infeasible":
            assert decision.status is not Status.SOLVED
        healthy = healthy + 1 if fault == "none" else 0
        x = np.array(step(x, decision.input, rng.uniform(-0.02, 0.02), []))[:, 0]
        if (np.abs(x) > [0.7, 1.8]).any() or rng.random() < 0.02:  # back to where a solution surely exists
            x = rng.uniform([-0.2, -0.3], [0.2, 0.3])
            healthy = 0
        elif healthy >= 2:
            assert decision.status is Status.SOLVED
            assert decision.source is Source.OPTIMAL
    assert {("none", Status.SOLVED), ("nan", Status.NUMERICAL), ("infeasible", Status.INFEASIBLE)} <= seen
    assert any(fault == "hasty" and status is not Status.SOLVED for fault, status in seen)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_budget_of_one_iteration_for_a_whole_run(name: str) -> None:
    controller = CONTROLLERS[name][0](max_iterations=1)
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


@pytest.mark.parametrize("make", [LinearMPC, NonlinearMPC])
def test_a_start_that_violates_a_state_constraint_may_come_back(make: type[LinearMPC] | type[NonlinearMPC]) -> None:
    decision = make(fenced()).step(np.array([0.85, -1.5]), 0)
    assert decision.status is Status.SOLVED


def test_without_a_regulator_the_reference_input_is_the_backup() -> None:
    plant = LinearPlant(np.eye(1), np.eye(1), dt=0.1, input_limits=((0.2, 1.0),))
    task = dataclasses.replace(cartpole(), name="bare", constraints=(), domain=None, tolerance=None)
    bare = Task("bare", plant, 0.1, 10, Nonlinear(lambda x, u, xr, ur: x.x1**4), task.disturbance)
    controller = NonlinearMPC(bare, horizon=3)
    assert "terminal cost of the task" in controller.terminal
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
