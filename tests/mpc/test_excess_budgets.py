"""Budgets of accumulated excess: what a run spends in all, against CVXPY's optimum of the whole run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import casadi as ca
import cvxpy as cp
import numpy as np
import pytest

from ctrl import simulate
from mpc import NonlinearMPC
from systems import Fixed, Inequality, LinearPlant, Quadratic, Task

PLANT = LinearPlant([[1.0, 0.2], [0.0, 0.8]], [[0.0], [0.2]], dt=0.2, input_limits=((-2.0, 2.0),))
STEPS, START, RATE = 15, np.array([1.0, 0.0]), 0.9
SPENT: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any], float]] = {
    "fuel": (lambda x, u: ca.fabs(u.u1), lambda x, u: cp.abs(u[0]), 3.0),
    "fuel of one side": (lambda x, u: ca.fmax(0.5 - u.u1, -u.u1 - 0.5), lambda x, u: cp.maximum(0.5 - u[0], 0), 9.0),
    "wear, a norm of 1": (
        lambda x, u: ca.fabs(u.u1) + ca.fabs(x.x2) - 0.2,
        lambda x, u: cp.pos(cp.abs(u[0]) + cp.abs(x[1]) - 0.2),
        2.0,
    ),
    "dose": (lambda x, u: x.x2**2 - 0.01, lambda x, u: cp.pos(cp.square(x[1]) - 0.01), 0.1),
}


def task_of(name: str, per: Literal["episode", "discounted"]) -> Task:
    g, _, limit = SPENT[name]
    budget = Inequality(name, g).budget(limit, per=per, of="excess")
    return Task("b", PLANT, 0.2, STEPS, Quadratic([1, 0.1], [0.01]), Fixed(START), (budget,), discount=RATE)


def optimum(name: str, per: str) -> float:
    _, spent, limit = SPENT[name]
    x, u = cp.Variable((STEPS + 1, 2)), cp.Variable((STEPS, 1))
    rules, cost, total = [x[0] == START, cp.abs(u) <= 2], 0.0, 0.0
    for k in range(STEPS):
        rules.append(x[k + 1] == PLANT.A @ x[k] + PLANT.B @ u[k])
        cost += cp.square(x[k, 0]) + 0.1 * cp.square(x[k, 1]) + 0.01 * cp.square(u[k, 0])
        total += (RATE**k if per == "discounted" else 1.0) * spent(x[k], u[k])
    problem = cp.Problem(cp.Minimize(cost), [*rules, total <= limit])
    problem.solve(solver=cp.CLARABEL)
    return float(problem.value)


@pytest.mark.parametrize("per", ["episode", "discounted"])
@pytest.mark.parametrize("name", SPENT)
@pytest.mark.every(3)
def test_a_whole_run_is_optimal_within_its_budget(name: str, per: Literal["episode", "discounted"]) -> None:
    task = task_of(name, per)
    run = simulate(task, NonlinearMPC(task, STEPS, terminal="task"), START[None])
    assert (run.statuses == 0).all()
    assert float(run.cost[0]) == pytest.approx(optimum(name, per), rel=1e-5)


def test_what_cannot_be_split_is_announced() -> None:
    budget = Inequality("either", lambda x, u: ca.fmin(u.u1, x.x1)).budget(1.0, of="excess")
    task = Task("b", PLANT, 0.2, STEPS, Quadratic([1, 0.1], [0.01]), Fixed(START), (budget,))
    assert any("kinks" in text and "'either'" in text for text in NonlinearMPC(task, 3).approximations)
    assert not any("kinks" in text for text in NonlinearMPC(task_of("fuel", "episode"), 3).approximations)


@pytest.mark.parametrize("asked", [2, 3])
def test_a_sample_that_is_decided_again_is_spent_once(asked: int) -> None:
    task, x, used = task_of("fuel", "episode"), START.copy(), 0.0
    controller = NonlinearMPC(task, STEPS)
    for k in range(STEPS):
        for _ in range(asked):
            decision = controller.step(x, k)
        used += abs(float(decision.input[0]))
        x = PLANT.A @ x + PLANT.B @ decision.input
    assert used <= 3.0 + 1e-6
    controller.reset()
    assert controller.step(START, 0).input == pytest.approx(NonlinearMPC(task, STEPS).step(START, 0).input, abs=1e-6)
