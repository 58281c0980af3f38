"""Along a reference that moves and that the plant cannot follow, a horizon over the whole run finds its optimum, and
the regulator of a nonlinear plant is that of an independent Riccati recursion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca
import cvxpy as cp
import numpy as np
import pytest

from ctrl import LQR, Controller, NotApplicable, simulate
from mpc import HarmonicMPC, LagrangianMPC, LinearMPC, NonlinearMPC, TrackingMPC
from systems import Box, Fixed, LinearPlant, Nonlinear, Plant, Quadratic, Sinusoid, Task, Trajectory, signals

A, B = np.array([[1.0, 0.2], [0.0, 0.9]]), np.array([[0.02], [0.2]])
STEPS, START = 12, np.array([0.0, 0.0])
WAVE = Sinusoid(0.4, x_mean=[1.0, 0.0], x_sine=[1.0, 0.0], u_mean=[0.3])
COSTS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "quadratic": (
        Quadratic([2.0, 0.1], [0.1], [[5.0, 0.0], [0.0, 0.0]]),
        lambda x, u, xr, ur: 2 * (x[0] - xr[0]) ** 2 + 0.1 * (x[1] - xr[1]) ** 2 + 0.1 * (u[0] - ur[0]) ** 2,
    ),
    "with a price": (
        Nonlinear(
            lambda x, u, xr, ur: 2 * (x.x1 - xr.x1) ** 2 + 0.1 * x.x2**2 + 0.1 * u.u1**2 + 0.3 * u.u1,
            lambda x, xr: 5 * (x.x1 - xr.x1) ** 2,
        ),
        lambda x, u, xr, ur: 2 * (x[0] - xr[0]) ** 2 + 0.1 * x[1] ** 2 + 0.1 * u[0] ** 2 + 0.3 * u[0],
    ),
}
MAKERS: dict[str, Callable[[Task], Controller]] = {
    "linear, condensed": lambda task: LinearMPC(task, STEPS, solver="daqp"),
    "linear, sparse": lambda task: LinearMPC(task, STEPS + 7, solver="piqp"),
    "nonlinear": lambda task: NonlinearMPC(task, STEPS),
    "Lagrangian": lambda task: LagrangianMPC(task, STEPS),
}


def wave(name: str, limit: float, most: float) -> tuple[Task, float]:
    """A task, and the cost of the best run."""
    cost, stage = COSTS[name]
    plant = LinearPlant(A, B, dt=0.2, input_limits=((-limit, limit),))
    box = (Box("position", {"x1": (-5.0, most)}),) if np.isfinite(most) else ()
    task = Task("wave", plant, 0.2, STEPS, cost, Fixed(START), box, WAVE)
    x, u = cp.Variable((STEPS + 1, 2)), cp.Variable((STEPS, 1))
    xr, ur = WAVE.at(plant, np.arange(STEPS + 1))
    total, rules = 5 * (x[STEPS, 0] - xr[STEPS, 0]) ** 2, [x[0] == START, cp.abs(u) <= limit]
    rules.append(x[1:, 0] <= min(most, 1e3))
    for k in range(STEPS):
        rules.append(x[k + 1] == A @ x[k] + B @ u[k])
        total += stage(x[k], u[k], xr[k], ur[k])
    problem = cp.Problem(cp.Minimize(total), rules)
    problem.solve(solver=cp.CLARABEL)
    return task, float(problem.value)


@pytest.mark.parametrize("most", [np.inf, 0.8])
@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.every(4)
def test_a_whole_run_is_optimal(name: str, cost: str, most: float) -> None:
    task, right = wave(cost, 1.0, most)
    assert float(simulate(task, MAKERS[name](task), START[None]).cost[0]) == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("cost", COSTS)
def test_the_regulator_is_optimal_where_nothing_binds(cost: str) -> None:
    task, right = wave(cost, 1e3, np.inf)
    assert float(simulate(task, LQR(task), START[None]).cost[0]) == pytest.approx(right, rel=1e-5)


@dataclass(frozen=True)
class Bicycle(Plant):
    """Its speed varies along the reference, and so do all its derivatives."""

    state = signals("px [m]", "py [m]", "course [rad]", "speed [m/s]")
    input = signals("acceleration [m/s2]", "curvature [1/m]")

    def ode(self, x: Any, u: Any, w: Any) -> Any:
        return x.speed * ca.cos(x.course), x.speed * ca.sin(x.course), x.speed * u.curvature, u.acceleration

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"acceleration": (-3.0, 3.0), "curvature": (-1.5, 1.5)}


def test_a_regulator_of_time_varying_gains() -> None:
    steps, start = 60, np.array([0.15, -0.1, 0.1, 1.2])
    Q, R = np.diag([4.0, 4.0, 1.0, 0.5]), np.diag([0.1, 0.1])
    task = Task("eight", Bicycle(), 0.05, steps, Quadratic(Q, R), Fixed(start))
    k = np.arange(400)
    F, us = task.dynamics.function(), np.c_[0.6 * np.cos(0.12 * k), 0.9 * np.sin(0.07 * k)]
    states = [np.array([0.0, 0.0, 0.0, 1.0])]
    for u in us[:-1]:
        states.append(np.array(F(states[-1], u, [], []))[:, 0])
    xs = np.array(states)
    task = Task("eight", Bicycle(), 0.05, steps, Quadratic(Q, R), Fixed(start), reference=Trajectory(xs, us))
    x, u = ca.SX.sym("x", 4), ca.SX.sym("u", 2)
    slopes = ca.Function("J", [x, u], [ca.jacobian(F(x, u, [], []), x), ca.jacobian(F(x, u, [], []), u)])
    P, gains = Q, []
    for i in reversed(range(360)):
        a, b = (np.array(part) for part in slopes(xs[i], us[i]))
        gains.append(np.linalg.solve(R + b.T @ P @ b, b.T @ P @ a))
        P = Q + a.T @ P @ (a - b @ gains[-1])
    z, right = start, 0.0
    for i in range(steps):
        v = np.clip(us[i] - gains[-1 - i] @ (z - xs[i]), [-3, -1.5], [3, 1.5])
        right += (z - xs[i]) @ Q @ (z - xs[i]) + (v - us[i]) @ R @ (v - us[i])
        z = np.array(F(z, v, [], []))[:, 0]
    for make in (LQR, lambda task: LinearMPC(task, 10)):
        assert float(simulate(task, make(task), start[None]).cost[0]) == pytest.approx(right, rel=1e-6)
    for refuses in (TrackingMPC, lambda task: HarmonicMPC(task, 10, frequency=0.3)):
        with pytest.raises(NotApplicable, match="linearises once"):
            refuses(task)
