"""Quadratic programs on HPIPM, against DAQP on the condensed form."""

from __future__ import annotations

import dataclasses

import casadi as ca
import numpy as np
import pytest

from ctrl.controller import NotApplicable, Status
from mpc import LinearMPC
from mpc.solvers.piqp import PIQP
from mpc.solvers.staged_qp import StagedQP
from systems import Box, Fixed, Inequality, LinearPlant, Nonlinear, Quadratic, SetPoint, Task, Trajectory
from systems.library import cartpole


def random_task(seed: int) -> Task:
    """Soft, hard and mixed rows, two-sided and one-sided, and a cross term in the cost; stable or not."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(3, 3))
    A *= rng.uniform(0.6, 1.15) / np.abs(np.linalg.eigvals(A)).max()
    plant = LinearPlant(A, rng.normal(size=(3, 2)), dt=0.1, input_limits=((-1.0, 1.0), (-np.inf, 0.8)))
    x, u = plant.state.names, plant.input.names
    root = rng.normal(size=(5, 5))
    whole = root @ root.T + 0.1 * np.eye(5)
    constraints = (
        Box("box", {x[0]: (-1.2, 1.0)}),
        Box("soft box", {x[1]: (-0.6, 0.5)}).soft(8.0),
        Box("one side", {x[2]: (-np.inf, 0.9)}).soft(3.0),
        Box("input", {u[0]: (-1.5, 0.7)}),
        Inequality("cap", lambda x, u: u[0] - 0.6),
        Inequality("mixed", lambda x, u: x[2] + 0.6 * u[0] - 0.7),
        Inequality("soft mixed", lambda x, u: 0.5 * u[1] - x[1] - 0.6).soft(4.0),
    )
    cost = Quadratic(whole[:3, :3], whole[3:, 3:])
    return Task("random", plant, 0.1, 60, cost, Fixed(), constraints)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("terminal", ["set", "cost"])
def test_they_decide_alike(seed: int, terminal: str) -> None:
    task, rng = random_task(seed), np.random.default_rng(100 + seed)
    staged, condensed = (LinearMPC(task, 9, terminal, solver) for solver in ("hpipm", "daqp"))  # type: ignore[arg-type]
    assert isinstance(staged.solver, StagedQP)
    solved = 0
    for k, x in enumerate(rng.normal(size=(25, 3)) * rng.uniform(0.1, 2.5, size=(25, 1))):
        staged.reset()
        condensed.reset()
        one, other = staged.step(x, k), condensed.step(x, k)
        assert one.status is other.status
        if one.status in (Status.SOLVED, Status.TERMINAL_SET_UNREACHABLE):
            solved += one.status is Status.SOLVED
            np.testing.assert_allclose(one.input, other.input, atol=3e-6)
            assert staged.plan is not None and condensed.plan is not None  # noqa: PT018
            np.testing.assert_allclose(staged.plan.x, condensed.plan.x, atol=2e-5)
    assert solved >= 5
    assert staged.solver.rescues <= 3


def test_matrices_that_vary_and_a_state_that_acts_on_the_first_stage() -> None:
    moving = Trajectory(np.linspace(0.0, 1.0, 60)[:, None] * [1.0, 0.5, 0, 0])
    task = dataclasses.replace(cartpole(), reference=moving)
    x = np.array([0.2, 0.1, -0.3, 0.2])
    staged, condensed = (LinearMPC(task, 12, solver=solver) for solver in ("hpipm", "daqp"))  # type: ignore[arg-type]
    for k in (0, 1, 7):
        np.testing.assert_allclose(staged.step(x, k).input, condensed.step(x, k).input, atol=1e-5)


def test_a_cost_of_state_times_input() -> None:
    crossed = Nonlinear(
        lambda x, u, xr, ur: (
            2.0 * ca.sumsqr(x.column)
            + ca.sumsqr(u.column)
            + x.column[0] * u.column[0]
            - 0.5 * x.column[1] * u.column[1]
        )
    )
    task = dataclasses.replace(random_task(1), cost=crossed)
    staged, condensed = (LinearMPC(task, 9, "cost", solver) for solver in ("hpipm", "daqp"))  # type: ignore[arg-type]
    for k, x in enumerate(0.5 * np.random.default_rng(0).normal(size=(8, 3))):
        np.testing.assert_allclose(staged.step(x, k).input, condensed.step(x, k).input, atol=3e-6)
    assert not staged.solver.rescues


def test_long_horizons_are_solved_by_stages() -> None:
    controller = LinearMPC(cartpole(), LinearMPC.CONDENSED + 1, "cost")
    assert isinstance(controller.solver, StagedQP)
    x = np.array([0.3, 0.1, 0.0, 0.0])
    reference = LinearMPC(cartpole(), LinearMPC.CONDENSED + 1, "cost", solver="piqp")
    assert isinstance(reference.solver, PIQP)
    np.testing.assert_allclose(controller.step(x, 0).input, reference.step(x, 0).input, atol=1e-6)


def test_a_steady_state_chosen_with_the_plan_is_left_to_piqp() -> None:
    task = dataclasses.replace(random_task(0), reference=SetPoint([4.0] * 3))
    with pytest.raises(NotApplicable, match="HPIPM has no stage"):
        LinearMPC(task, 9, solver="hpipm")
