"""Move blocking and control horizons against programs written by hand for Clarabel."""

from __future__ import annotations

import dataclasses

import cvxpy as cp
import numpy as np
import pytest

from ctrl import NotApplicable
from mpc import LinearMPC, MoveBlocking, NonlinearMPC
from systems import Box, Fixed, InvalidValue, LinearPlant, Quadratic, Task

A, B = np.array([[1.05, 0.2], [0.0, 1.0]]), np.array([[0.02, 0.0], [0.2, 0.1]])
TASK = Task(
    name="unstable",
    plant=LinearPlant(A, B, dt=0.2, input_limits=((-2.0, 2.0), (-1.0, 1.0))),
    dt=0.2,
    steps=40,
    cost=Quadratic(Q=[1.0, 0.1], R=[0.1, 0.2]),
    constraints=(Box("speed", {"x2": (-1.0, 1.0)}), Box("soft", {"x1": (-1.0, 1.0)}).soft(5.0)),
    initial=Fixed([1.2, 0.5]),
)
STATE = np.array([1.2, 0.5])


def plan_of_clarabel(P: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    N = len(blocks)
    x, moves = cp.Variable((N + 1, 2)), cp.Variable((blocks.max() + 1, 2))
    cost, rows = cp.quad_form(x[N], P), [x[0] == STATE]
    for k in range(N):
        u = moves[blocks[k]]
        cost += cp.quad_form(x[k], np.diag([1.0, 0.1])) + cp.quad_form(u, np.diag([0.1, 0.2]))
        cost += 5.0 * cp.pos(cp.abs(x[k + 1, 0]) - 1.0)
        rows += [x[k + 1] == A @ x[k] + B @ u, cp.abs(u) <= [2.0, 1.0], cp.abs(x[k + 1, 1]) <= 1.0]
    problem = cp.Problem(cp.Minimize(cost), rows)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    return np.asarray(moves.value)[blocks]


@pytest.mark.parametrize("blocking", [MoveBlocking((1, 2, 1, 4)), MoveBlocking.control_horizon(3)], ids=str)
def test_plans_are_those_of_clarabel(blocking: MoveBlocking) -> None:
    blocks = blocking.blocks(10)
    dense = LinearMPC(TASK, 10, terminal="cost", solver="daqp", blocking=blocking)
    expected = plan_of_clarabel(dense._source.P, blocks)
    sparse = LinearMPC(TASK, 10, terminal="cost", solver="piqp", blocking=blocking)
    nonlinear = NonlinearMPC(TASK, 10, blocking=blocking)
    assert dense.problem.blocks == blocks[-1] + 1 == dense.form.problem.H.shape[0] // 2
    for controller, accuracy in ((dense, 1e-6), (sparse, 1e-6), (nonlinear, 1e-5)):
        assert controller.step(STATE, 0).status == "solved"
        assert controller.plan is not None
        assert np.abs(controller.plan.u - expected).max() < accuracy, controller
        assert any("holds inputs over blocks" in text for text in controller.approximations)


def test_blocks_reach_to_the_end_of_the_horizon() -> None:
    assert MoveBlocking((1, 2)).blocks(6).tolist() == [0, 1, 1, 1, 1, 1]
    assert MoveBlocking((2, 3, 9)).blocks(4).tolist() == [0, 0, 1, 1]
    assert MoveBlocking.control_horizon(2).blocks(3).tolist() == [0, 1, 1]


def test_blocks_of_one_sample_change_nothing() -> None:
    plain, blocked = LinearMPC(TASK, 8), LinearMPC(TASK, 8, blocking=MoveBlocking.control_horizon(8))
    assert np.array_equal(plain.step(STATE, 0).input, blocked.step(STATE, 0).input)


def test_the_horizon_shrinks_at_the_end_of_a_run() -> None:
    task = dataclasses.replace(TASK, cost=Quadratic(Q=[1.0, 0.1], R=[0.1, 0.2], P=[3.0, 1.0]))
    controller = LinearMPC(task, 6, blocking=MoveBlocking((1, 2)))
    controller.step(STATE, 37)
    assert controller.plan is not None
    assert len(controller.plan.u) == 3
    assert np.allclose(controller.plan.u[1], controller.plan.u[2])


def test_a_changed_task_keeps_its_blocks() -> None:
    controller = LinearMPC(TASK, 8, blocking=MoveBlocking((1, 3)))
    controller.set_cost(Quadratic(Q=[2.0, 0.1], R=[0.1, 0.2]))
    controller.step(STATE, 0)
    assert controller.plan is not None
    assert np.allclose(controller.plan.u[1:], controller.plan.u[1])
    assert controller.problem.blocks == 2


def test_misuse() -> None:
    for bad in ((), (0,), (1.5,), "12", 3, None):
        with pytest.raises(InvalidValue):
            MoveBlocking(bad)  # type: ignore[arg-type]
    with pytest.raises(NotApplicable, match="HPIPM"):
        LinearMPC(TASK, 8, solver="hpipm", blocking=MoveBlocking((1, 3)))
    with pytest.raises(InvalidValue, match="blocks couple the stages"):
        NonlinearMPC(TASK, 8, iterations=1, blocking=MoveBlocking((1, 3)))
    with pytest.raises(InvalidValue):
        LinearMPC(TASK, 8, blocking=(1, 3))  # type: ignore[arg-type]
