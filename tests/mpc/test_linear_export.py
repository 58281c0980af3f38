"""Linear MPC in C against linear MPC in Python: hard and soft rows, fallback, infeasible states, moving references."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrl.controller import Source, Status
from ctrl.export import NotExportable
from mpc import LinearMPC
from systems import Box, Fixed, LinearPlant, Quadratic, SetPoint, Sinusoid, Task, Uniform, angle, signals
from systems.library import (
    ball_and_plate_axis,
    braking,
    cartpole,
    cartpole_track,
    double_integrator,
    kinematic_car,
    oscillating_masses,
    pendulum,
    quadrotor,
    stirred_tank,
)
from tests.ctrl.export.test_project import lose_some, with_end
from tests.exported import Compiled, check_project, largest_difference
from tests.mpc.test_explicit import two_inputs


def starts(task: Task, count: int) -> np.ndarray:
    return task.initial.sample(task.plant.state, np.random.default_rng(3), (count,))


def swinging() -> Task:
    """A reference that moves on a linear plant: the matrices stay, the rows move."""
    reference = Sinusoid(0.1, x_sine={"position": 0.4}, x_cosine={"speed": 0.4})
    return dataclasses.replace(double_integrator(), reference=reference)


def turning() -> Task:
    """A periodic signal, and a limit on it that is charged."""
    plant = LinearPlant(
        [[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]], dt=0.1, input_limits=((-1.0, 1.0),),
        state=signals(angle("heading [rad]"), "rate [rad/s]"),
    )  # fmt: skip
    return Task(
        "turning", plant, 0.1, 60, Quadratic([1.0, 0.1], [0.1]), Uniform([-9.0, -0.1], [9.0, 0.1]),
        constraints=(Box("rate", {"rate": (-0.4, 0.4)}).soft(3.0),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "horizon", "steps"),
    [
        (double_integrator, 20, 500),
        (turning, 10, 200),
        pytest.param(swinging, 10, 500, marks=pytest.mark.slow),
        pytest.param(two_inputs, 8, 500, marks=pytest.mark.slow),
        pytest.param(cartpole, 20, 500, marks=pytest.mark.slow),
        pytest.param(oscillating_masses, 10, 500, marks=pytest.mark.slow),
        pytest.param(pendulum, 15, 500, marks=pytest.mark.slow),
        pytest.param(quadrotor, 8, 100, marks=pytest.mark.slow),
        pytest.param(stirred_tank, 10, 500, marks=pytest.mark.slow),
    ],
)
@pytest.mark.every(2)
def test_linear_mpc_in_c_is_linear_mpc(make, horizon: int, steps: int, tmp_path: Path) -> None:
    """Violated soft rows are exact in C; in Python the curvature of their slacks leaves up to 1e-8."""
    allowed = 1e-8 if make is turning else 1e-9
    task = make()
    controller = LinearMPC(task, horizon, solver="daqp")
    folder = controller.export(tmp_path, samples=steps)
    check_project(folder)
    assert largest_difference(controller, Compiled(folder, task), task, starts(task, 1), steps, lose_some) < allowed


def test_plans_are_followed_to_their_end_and_then_the_backup_law_acts(tmp_path: Path) -> None:
    task = double_integrator()
    controller = LinearMPC(task, 5)
    compiled = Compiled(controller.export(tmp_path), task)
    x, lost = np.array([0.5, 0.1]), np.array([0.5, math.nan])
    for k, state in ((0, lost), (1, x), (2, lost), (5, lost), (6, lost), (7, x), (6, lost), (9, lost)):
        expected = controller.step(state, k)
        u, status, source = compiled.step(state, k)
        assert (status, source) == (expected.status, expected.source)
        assert np.allclose(u, expected.input, rtol=0, atol=1e-12)
    compiled.reset()
    assert compiled.step(lost, 8)[2] is Source.BACKUP


@pytest.mark.parametrize(("make", "horizon"), [(ball_and_plate_axis, 10), (two_inputs, 4)])
def test_states_from_which_nothing_or_not_everything_is_kept(make, horizon: int, tmp_path: Path) -> None:
    task = make()
    controller = LinearMPC(task, horizon, solver="daqp")
    compiled = Compiled(controller.export(tmp_path), task)
    found = set()
    lower, upper = task.input_bounds
    for x in np.random.default_rng(0).normal(size=(100, len(task.plant.state))) * starts(task, 1):
        for scale in (0.5, 2.0, 8.0):
            controller.reset()
            compiled.reset()
            expected = controller.step(scale * x, 0)
            u, status, source = compiled.step(scale * x, 0)
            assert (status, source) == (expected.status, expected.source)
            if expected.residual <= 1e-12 or source is Source.BACKUP:
                assert (np.abs(u - expected.input) <= 1e-9 * (upper - lower)).all()
            found.add(status)
    assert Status.SOLVED in found
    assert len(found) >= 2


@pytest.mark.parametrize(("make", "horizon", "steps"), [(braking, 30, 60), (cartpole_track, 15, 100)])
def test_where_python_is_left_with_an_error_c_has_none(make, horizon: int, steps: int, tmp_path: Path) -> None:
    """Heavily weighted soft rows, and a cost far below the bounds: DAQP stops at 1e-9 and its slacks' curvature."""
    task = make()
    controller = LinearMPC(task, horizon, solver="daqp")
    compiled = Compiled(controller.export(tmp_path), task)
    dynamics, x = task.dynamics.function(), starts(task, 1)[0]
    for k in range(steps):
        expected = controller.step(x, k)
        u, status, _ = compiled.step(x, k)
        assert status is Status.SOLVED
        assert compiled.residual < 1e-10
        assert np.allclose(u, expected.input, rtol=0, atol=1e-9 + 1e4 * expected.residual)
        x = np.array(dynamics(x, u, np.zeros(len(task.plant.disturbance)), [])).ravel()


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_random_problems(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Stable and unstable plants with hard and soft boxes: the C solver against the other one, DAQP and its polish."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    plant = LinearPlant(rng.normal(size=(n, n)) * 0.8, rng.normal(size=(n, m)), dt=1.0, input_limits=((-1.0, 1.0),) * m)
    names = plant.state.names
    boxes = [Box("hard", {names[0]: (-2.0, 3.0)})] if rng.random() < 0.5 else []
    boxes += [Box("soft", dict.fromkeys(names, (-0.4, 0.3))).soft(float(rng.uniform(0.1, 30.0)))]
    task = Task(
        "random", plant, 1.0, 10, Quadratic(np.ones(n), np.full(m, 0.3)), Fixed(), constraints=tuple(boxes),
        reference=SetPoint(),
    )  # fmt: skip
    controller = LinearMPC(task, int(rng.integers(1, 7)), solver="daqp")
    compiled = Compiled(controller.export(tmp_path_factory.mktemp("random")), task)
    for x in rng.normal(size=(20, n)) * 1.5:
        expected = controller.step(x, 0)
        u, status, _ = compiled.step(x, 0)
        if expected.status is Status.SOLVED and expected.residual <= 1e-12:
            assert status is Status.SOLVED
            assert np.abs(u - expected.input).max() <= 2e-9


def test_what_changes_with_time_beyond_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotExportable, match=r"terminal cost.*export LQR"):
        LinearMPC(with_end(), 5).export(tmp_path)
    task = kinematic_car()
    curve = dataclasses.replace(task, reference=Sinusoid(0.1, x_mean=task.reading.start[0], x_sine=np.full(len(task.plant.state), 0.3)))  # fmt: skip  # noqa: E501
    with pytest.raises(NotExportable, match=r"its linearisation changes.*export LQR"):
        LinearMPC(curve, 5).export(tmp_path)
