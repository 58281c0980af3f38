"""The standard tasks: they construct quickly, and a regulator does what can be asked of it."""

from __future__ import annotations

import subprocess
import sys

import casadi as ca
import numpy as np
import pytest

from ctrl.regulator import LQR
from systems import Discretisation, Task
from systems.constraints import Hard
from systems.library import cartpole, cartpole_swing_up, van_der_pol_reversed

# What no linear regulator can do: swing up, steer others, trade at prices, or decide where there is nothing to decide.
NOT_FOR_LQR = {
    "bandit",
    "battery",
    "cartpole_swing_up",
    "driving",
    "greenhouse",
    "heat_pump",
    "intersection",
    "pendulum_swing_up",
    "van_der_pol_reversed",
}
# Starts are drawn this much closer to the reference where saturation rules out the whole initial distribution.
SHRUNK = {"cartpole": 0.5, "ball_and_plate": 0.01, "ball_and_plate_axis": 0.01, "ball_and_plate_linear": 0.01}


def test_name_is_that_of_its_function(task: Task, task_name: str) -> None:
    assert task.name == task_name.replace("_", "-")


def test_starts_and_references_lie_in_the_domain(task: Task) -> None:
    if task.domain is None:
        return
    lower, upper = task.initial.support(task.plant.state)
    reference, _ = task.reference.at(task.plant, np.arange(task.steps))
    for points in (lower, upper, reference):
        assert task.domain.contains(points, task.plant.state).all()


def test_starts_keep_the_hard_constraints(task: Task) -> None:
    hard = [isinstance(c.requirement, Hard) for c in task.constraints]
    x = task.initial.sample(task.plant.state, np.random.default_rng(0), (200,))
    _, u = task.reference.at(task.plant, 0)
    margins = np.array([task.margin_function()(start, u).full()[:, 0] for start in x]).reshape(len(x), len(hard))
    assert (margins[:, hard] <= 0).all()


def test_step_of_the_task_is_accurate_enough(task: Task) -> None:
    """Eight times finer steps change a sample by little; Euler tasks are certified as Euler systems and exempt."""
    if task.integrator != "rk4" or task.plant.is_discrete:
        return
    rng = np.random.default_rng(0)
    plant = task.plant
    finer = Discretisation(plant, task.dt, "rk4", 8).lower("numpy")
    x, w = task.initial.sample(plant.state, rng, (50,)), task.disturbance.sample(plant.disturbance, rng, (50,))
    u = rng.uniform(*plant.bounds, (50, len(plant.input)))
    coarse = task.dynamics.lower("numpy")(x, u, w, np.zeros((50, 0)))
    np.testing.assert_allclose(coarse, finer(x, u, w, np.zeros((50, 0))), rtol=2e-3, atol=2e-3)


def test_a_saturated_regulator_stabilises(task: Task, task_name: str) -> None:
    if task_name in NOT_FOR_LQR:
        return
    plant, law, runs = task.plant, LQR(task), 100
    rng = np.random.default_rng(0)
    start, _ = task.reference.at(plant, 0)
    x = start + SHRUNK.get(task_name, 1.0) * (task.initial.sample(plant.state, rng, (runs,)) - start)
    step = task.dynamics.lower("numpy")
    for k in range(task.steps):
        w = task.disturbance.sample(plant.disturbance, rng, (runs,))
        x = step(x, law.batch(x, k), w, np.zeros((runs, 0)))
        assert task.domain is None or task.domain.contains(x, plant.state).all()
    reference, _ = task.reference.at(plant, task.steps)
    assert (np.abs(x - reference) <= task.arrival).all()


def test_reversed_van_der_pol_comes_to_rest_by_itself() -> None:
    task = van_der_pol_reversed()
    step = task.dynamics.lower("numpy")
    x = task.initial.sample(task.plant.state, np.random.default_rng(0), (100,))
    for _ in range(task.steps):
        x = step(x, np.zeros((100, 0)), np.zeros((100, 0)), np.zeros((100, 0)))
    assert (np.abs(x) <= task.arrival).all()


def test_cartpole_can_be_swung_up_within_the_track() -> None:
    """The optimal open-loop trajectory from hanging ends upright and stays on the track with the available force."""
    task = cartpole_swing_up()
    n, step, cost = task.steps, task.dynamics.function(), task.cost.stage_function(task.plant)
    problem = ca.Opti()
    x, u = problem.variable(4, n + 1), problem.variable(1, n)
    problem.subject_to(x[:, 1:] == step.map(n)(x[:, :-1], u, 0, ca.DM(0, n)))
    problem.subject_to(x[:, 0] == [0.0, ca.pi, 0.0, 0.0])
    problem.subject_to(problem.bounded(-2.4, x[0, :], 2.4))
    problem.subject_to(problem.bounded(-10.0, u, 10.0))
    problem.minimize(ca.sum2(cost.map(n)(x[:, :-1], u, 0, 0)))
    problem.set_initial(x[1, :], np.linspace(np.pi, 0, n + 1))
    problem.solver("ipopt", {"print_time": False}, {"print_level": 0, "sb": "yes", "max_iter": 500})
    end = np.array(problem.solve().value(x))[:, -1]
    np.testing.assert_allclose([end[0], np.sin(end[1]), np.cos(end[1]), end[2], end[3]], [0, 0, 1, 0, 0], atol=0.05)


def test_swing_up_costs_have_the_curvature_of_the_balancing_task() -> None:
    def hessian(task: Task) -> np.ndarray:
        x, u = task.plant.state.symbol(), task.plant.input.symbol()
        second, _ = ca.hessian(task.cost.stage_function(task.plant)(x, u, 0, 0), ca.vertcat(x, u))
        return ca.Function("h", [x, u], [second])(0, 0).full()

    np.testing.assert_allclose(hessian(cartpole_swing_up()), hessian(cartpole()), atol=1e-12)


@pytest.mark.parametrize("heavy", ["torch", "scipy", "gymnasium"])
def test_importing_the_library_is_light(heavy: str) -> None:
    code = f"import sys, systems.library; sys.exit('{heavy}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
