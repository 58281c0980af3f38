"""The task's own terminal cost is optimised exactly as it is charged: with a horizon over the whole run, every
controller finds the optimum of the run, whose value comes from CVXPY."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import casadi as ca
import cvxpy as cp
import numpy as np
import pytest

from ctrl import Controller, NotApplicable, simulate
from mpc import ExplicitMPC, HarmonicMPC, LagrangianMPC, LinearMPC, NonlinearMPC, StochasticMPC
from systems import Box, Fixed, LinearPlant, Nonlinear, Task

A, B = np.array([[1.0, 0.2], [0.0, 0.9]]), np.array([[0.02], [0.2]])
STEPS, START = 12, np.array([1.0, 0.0])
PLANT = LinearPlant(A, B, dt=0.2, input_limits=((-1.0, 1.0),))
EXACT: dict[str, Callable[[Task], Controller]] = {
    "linear, condensed": lambda task: LinearMPC(task, STEPS, solver="daqp"),
    "linear, sparse": lambda task: LinearMPC(task, STEPS + 5, solver="piqp"),
    "nonlinear": lambda task: NonlinearMPC(task, STEPS + 3),
    "Lagrangian": lambda task: LagrangianMPC(task, STEPS),
    "stochastic": lambda task: StochasticMPC(task, STEPS),
}
Case = tuple[Nonlinear, Callable[[Any, Any], Any], Callable[[Any], Any], tuple[Box, ...], tuple[float, float]]
CASES: dict[str, Case] = {
    "soft limit that the end lies beyond": (
        Nonlinear(
            lambda x, u, xr, ur: 0.01 * x.x1**2 + 0.1 * u.u1**2,
            lambda x, xr: 20 * (x.x1 - 3) ** 2 + 5 * (x.x2 - 1) ** 2,
        ),
        lambda x, u: 0.01 * x[0] ** 2 + 0.1 * u[0] ** 2,
        lambda x: 20 * (x[0] - 3) ** 2 + 5 * (x[1] - 1) ** 2,
        (Box("speed", {"x2": (-0.5, 0.5)}).soft(2.0),),
        (2.0, np.inf),
    ),
    "hard limit, moving at the end": (
        Nonlinear(lambda x, u, xr, ur: 0.01 * x.x1**2 + 0.1 * u.u1**2, lambda x, xr: 20 * (x.x1 - 3) ** 2),
        lambda x, u: 0.01 * x[0] ** 2 + 0.1 * u[0] ** 2,
        lambda x: 20 * (x[0] - 3) ** 2,
        (Box("speed", {"x2": (-0.5, 0.5)}),),
        (0.0, 0.5),
    ),
    "sold at the end": (
        Nonlinear(lambda x, u, xr, ur: 0.05 * x.x1**2 + 0.1 * u.u1**2 + 0.2 * u.u1, lambda x, xr: -2 * x.x1),
        lambda x, u: 0.05 * x[0] ** 2 + 0.1 * u[0] ** 2 + 0.2 * u[0],
        lambda x: -2 * x[0],
        (),
        (0.0, np.inf),
    ),
}


def optimum(case: Case) -> float:
    _, stage, last, limits, (price, bound) = case
    x, u = cp.Variable((STEPS + 1, 2)), cp.Variable((STEPS, 1))
    cost, rules = last(x[STEPS]), [x[0] == START, cp.abs(u) <= 1, cp.abs(x[1:, 1]) <= min(bound, 1e3)]
    for k in range(STEPS):
        rules.append(x[k + 1] == A @ x[k] + B @ u[k])
        cost += stage(x[k], u[k])
        if limits and price:
            cost += price * (cp.pos(x[k, 1] - 0.5) + cp.pos(-0.5 - x[k, 1]))
    problem = cp.Problem(cp.Minimize(cost), rules)
    problem.solve(solver=cp.CLARABEL)
    return float(problem.value)


def task_of(case: Case) -> Task:
    return Task("batch", PLANT, 0.2, STEPS, case[0], Fixed(START), case[3])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.every(3)
def test_a_whole_run_is_optimal(name: str, case: str) -> None:
    task = task_of(CASES[case])
    run = simulate(task, EXACT[name](task), START[None])
    assert float(run.cost[0]) == pytest.approx(optimum(CASES[case]), rel=1e-5)
    if name != "Lagrangian":  # whose first-order steps may end before they have converged, as the status says
        assert (run.statuses == 0).all()


@pytest.mark.parametrize("make", [LinearMPC, LagrangianMPC, StochasticMPC, HarmonicMPC, ExplicitMPC])
@pytest.mark.parametrize(
    "last",
    [lambda x, xr: 5 * ca.fmax(3 - x.x1, 0), lambda x, xr: ca.if_else(x.x1 > 2, 0, 1 + x.x2**2)],
    ids=["fmax", "if_else"],
)
def test_kinks_of_a_terminal_cost_are_not_dropped(make: Callable[[Task], Controller], last: Any) -> None:
    task = Task(
        "kinked", PLANT, 0.2, STEPS, Nonlinear(lambda x, u, xr, ur: 0.05 * x.x1**2 + 0.1 * u.u1**2, last), Fixed(START)
    )  # fmt: skip
    with pytest.raises(NotApplicable):
        make(task)


def test_a_convex_kink_of_a_terminal_cost_is_optimised() -> None:
    case: Case = (
        Nonlinear(lambda x, u, xr, ur: 0.05 * x.x1**2 + 0.1 * u.u1**2, lambda x, xr: 5 * ca.fmax(3 - x.x1, 0)),
        lambda x, u: 0.05 * x[0] ** 2 + 0.1 * u[0] ** 2,
        lambda x: 5 * cp.pos(3 - x[0]),
        (),
        (0.0, np.inf),
    )
    task = task_of(case)
    run = simulate(task, NonlinearMPC(task, STEPS), START[None])
    assert float(run.cost[0]) == pytest.approx(optimum(case), rel=1e-5)
