"""The real-time iteration in C: equal to Python's, and safe when things go wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path

import casadi as ca
import numpy as np
import pytest

from ctrl.controller import Source, Status
from ctrl.export import NotExportable, export
from mpc import NonlinearMPC
from mpc.export.real_time_iteration import RealTimeOriginal
from mpc.fallback import Fallback
from systems import Box, Fixed, LinearPlant, Nonlinear, Task
from systems.library import bandit, cartpole_swing_up, cartpole_track, kinematic_car, pendulum_swing_up
from tests.exported import Compiled, check_project
from tests.mpc.real_time_tasks import quadrotor_with_obstacle

PROBLEMS: dict[str, tuple[Callable[[], Task], int]] = {
    "cart-pole": (cartpole_swing_up, 40),
    "obstacle": (quadrotor_with_obstacle, 30),
    "soft obstacle": (lambda: quadrotor_with_obstacle(20.0), 30),
}
MOST = 1e-6  # difference of inputs, as a share of the width of their bounds


@cache
def problem(name: str) -> tuple[Task, NonlinearMPC]:
    make, horizon = PROBLEMS[name]
    task = make()
    return task, NonlinearMPC(task, horizon, iterations=1)


@pytest.fixture(scope="module", params=["cart-pole", "obstacle", pytest.param("soft obstacle", marks=pytest.mark.slow)])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, Path, Compiled]:
    task, controller = problem(request.param)
    folder = export(controller, tmp_path_factory.mktemp("exported"), name="rti")
    return task, folder, Compiled(folder, task)


def closed_loop(task: Task, step: Callable[[np.ndarray, int], np.ndarray], steps: int) -> tuple[float, np.ndarray]:
    """Cost, and the states that were measured."""
    dynamics, (x_ref, u_ref) = task.dynamics.function(), task.reading.start
    x, cost, states = task.initial.mean(task.plant.state), 0.0, []
    for k in range(steps):
        u = step(x, k)
        states.append(x)
        cost += float(task.stage_cost(x, u, x_ref, u_ref))
        x = np.array(dynamics(x, u, 0, []))[:, 0]
    return cost, np.array(states)


@pytest.mark.every(2)
def test_five_hundred_steps_equal_pythons(exported: tuple[Task, Path, Compiled]) -> None:
    task, _, compiled = exported
    name = next(name for name in PROBLEMS if problem(name)[0] is task)
    original = RealTimeOriginal(problem(name)[1])
    decided = []

    def python(x: np.ndarray, k: int) -> np.ndarray:
        decision = original.step(x, k)
        assert decision is not None
        decided.append(decision)
        return decision.input

    cost, states = closed_loop(task, python, 500)
    compiled.reset()
    width = task.input_bounds[1] - task.input_bounds[0]
    for k, (x, decision) in enumerate(zip(states, decided, strict=True)):
        u, status, source = compiled.step(x, k)
        assert (status, source) == (decision.status, decision.source) == (Status.MAX_ITERATIONS, Source.SUBOPTIMAL)
        assert (np.abs(u - decision.input) <= MOST * width).all(), (k, u, decision.input)
    compiled.reset()
    in_c, _ = closed_loop(task, lambda x, k: compiled.step(x, k)[0], 500)
    assert in_c == pytest.approx(cost, rel=1e-6)
    # Python's own quadratic programs are solved less accurately.
    controller = problem(name)[1]
    controller.reset()
    assert in_c == pytest.approx(closed_loop(task, lambda x, k: controller.step(x, k).input, 500)[0], rel=1e-5)


@pytest.mark.slow
def test_the_project_is_strict_c_and_passes_its_test(exported: tuple[Task, Path, Compiled]) -> None:
    _, folder, _ = exported
    check_project(folder)
    recorded = (folder / "test" / "recorded.h").read_text()
    assert int(recorded.split("RECORDED = ")[1].split()[0]) >= 240
    assert "comes from a solve that converged in Python" in (folder / "README.md").read_text()
    assert "converged in Python" in (folder / "include" / "rti.h").read_text()


def test_a_memory_of_zeros_is_one_that_was_reset(exported: tuple[Task, Path, Compiled]) -> None:
    task, _, compiled = exported
    x = task.initial.mean(task.plant.state)
    compiled.memory[:] = bytes(compiled.memory_size)
    first = compiled.step(x, 0)[0]
    compiled.reset()
    np.testing.assert_array_equal(compiled.step(x, 0)[0], first)


def test_inputs_stay_finite_within_bounds_and_recover(exported: tuple[Task, Path, Compiled]) -> None:
    task, _, compiled = exported
    rng = np.random.default_rng(0)
    dynamics, (low, high) = task.dynamics.function(), task.input_bounds
    x = task.initial.mean(task.plant.state)
    compiled.reset()
    faults = [np.full(len(x), np.nan), np.full(len(x), np.inf), np.full(len(x), 1e300), np.full(len(x), -1e9), 1e4 * x]
    failed = 0
    for k in range(400):
        wrong = rng.uniform() < 0.2
        u, status, _ = compiled.step(faults[int(rng.integers(len(faults)))] if wrong else x, k)
        assert np.isfinite(u).all()
        assert (low <= u).all()
        assert (u <= high).all()
        failed = 0 if wrong else failed + (status is not Status.MAX_ITERATIONS)
        assert failed <= 2, (k, x, status)
        x = np.array(dynamics(x, u, 0, []))[:, 0]
        if not (np.abs(x) < 10.0).all():
            x = task.initial.mean(task.plant.state)


def test_a_lost_measurement_is_answered_by_the_plan_and_a_few_by_its_rest(
    exported: tuple[Task, Path, Compiled],
) -> None:
    task, _, compiled = exported
    original = RealTimeOriginal(problem(next(name for name in PROBLEMS if problem(name)[0] is task))[1])
    compiled.reset()
    x, dynamics = task.initial.mean(task.plant.state), task.dynamics.function()
    for k in range(12):
        seen = np.full(len(x), np.nan) if k in (3, 7, 8) else x
        decision = original.step(seen, k)
        assert decision is not None
        u, status, source = compiled.step(seen, k)
        assert (status, source) == (decision.status, decision.source)
        assert source is (Source.SHIFTED_PLAN if k in (3, 7, 8) else Source.SUBOPTIMAL)
        np.testing.assert_allclose(u, decision.input, atol=1e-6 * np.max(task.input_bounds[1]))
        x = np.array(dynamics(x, u, 0, []))[:, 0]


def test_an_infeasible_state_is_answered_by_feedback_about_the_plan(tmp_path: Path) -> None:
    task, controller = problem("obstacle")
    compiled = Compiled(export(controller, tmp_path, name="rti"), task)
    original = RealTimeOriginal(controller)
    x, dynamics = task.initial.mean(task.plant.state), task.dynamics.function()
    for k in range(20):
        decision = original.step(x, k)
        assert decision is not None
        compiled.step(x, k)
        x = np.array(dynamics(x, decision.input, 0, []))[:, 0]
    inside = x.copy()
    inside[:2] = -0.7, 0.06  # in the disc, which cannot be left within a sample
    assert (np.abs(inside - x) < 0.5 * (1.0 + np.abs(inside))).all()  # near enough for the plan to be continued
    u, status, source = compiled.step(inside, 20)
    assert (status, source) == (Status.INFEASIBLE, Source.SHIFTED_PLAN)
    plan = original._mpc.plan
    assert plan is not None
    expected = np.clip(Fallback(task).follow(inside, 20, plan.x[1], plan.u[1]), *task.input_bounds)
    np.testing.assert_allclose(u, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "make", [pytest.param(cartpole_track, marks=pytest.mark.slow), kinematic_car, pendulum_swing_up]
)
@pytest.mark.every(2)
def test_other_tasks(make: Callable[[], Task], tmp_path: Path) -> None:
    """A terminal steady state chosen with the plan, a moving reference, and a cost that is not convex."""
    folder = export(NonlinearMPC(make(), 10, iterations=1), tmp_path, samples=60)
    check_project(folder)
    assert "converged in Python" in (folder / "README.md").read_text()


CHAIN = LinearPlant(np.array([[1.0, 0.2], [0.0, 0.9]]), np.array([[0.02], [0.2]]), dt=0.2, input_limits=((-1.0, 1.0),))
COSTS: dict[str, Nonlinear] = {
    "end of the run": Nonlinear(
        lambda x, u, xr, ur: 0.01 * x.x1**2 + 0.1 * u.u1**2, lambda x, xr: 20 * (x.x1 - 3) ** 2
    ),
    "concave": Nonlinear(lambda x, u, xr, ur: x.x1**2 + 0.5 * x.x2**2 + 0.5 * ca.cos(2 * u.u1)),
    "kink": Nonlinear(lambda x, u, xr, ur: x.x1**2 + ca.fabs(x.x2 + 0.3) + 0.1 * u.u1**2),
}


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.every(4)
def test_other_costs(cost: str, tmp_path: Path) -> None:
    task = Task("chain", CHAIN, 0.2, 30, COSTS[cost], Fixed([1.0, 0.0]), (Box("speed", {"x2": (-0.5, 0.5)}),))
    controller = NonlinearMPC(task, 8, iterations=1)
    assert controller.staged.ends == (cost == "end of the run")
    folder = export(controller, tmp_path)
    assert "RECORDED = 60 " in (folder / "test" / "recorded.h").read_text()
    check_project(folder)


@pytest.mark.slow
def test_after_three_failures_the_iteration_starts_anew(tmp_path: Path) -> None:
    task, controller = problem("obstacle")
    compiled = Compiled(export(controller, tmp_path, name="rti"), task)
    planned, lost, far = RealTimeOriginal(controller).x, np.full(6, np.nan), np.full(6, 1e3)
    answers = []
    for before in (
        {1: planned[1], 2: planned[2], 3: lost, 4: lost, 5: lost},
        {5: far},
        {3: planned[3], 4: lost, 5: lost},
    ):
        compiled.reset()
        for k, x in before.items():
            compiled.step(x, k)
        u, status, _ = compiled.step(planned[6], 6)
        answers.append((u.tolist(), status))
    # The straight line to the reference leads through the obstacle; the plan leads around it.
    assert answers[0] == answers[1] == (answers[1][0], Status.INFEASIBLE)
    assert answers[2][1] is Status.MAX_ITERATIONS


def test_what_has_no_form_in_c_is_refused() -> None:
    with pytest.raises(NotExportable, match="iterations=1"):
        NonlinearMPC(cartpole_swing_up(), 10).c_code(10)
    with pytest.raises(NotExportable, match="budget of accumulated excess"):
        NonlinearMPC(bandit(), 5, iterations=1).c_code(10)
    inside = dataclasses.replace(quadrotor_with_obstacle(), initial=Fixed({"x": -0.6, "z": 0.05}))
    with pytest.raises(NotExportable, match="did not converge"):
        NonlinearMPC(inside, 10, iterations=1).c_code(10)
