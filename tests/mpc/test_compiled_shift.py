"""The plan that is shifted in C is the one that is shifted in Python, to the last bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import casadi as ca
import numpy as np
import pytest

from mpc import NonlinearMPC
from mpc.nonlinear.sequential import Sequential
from mpc.solvers.sqp import SQP
from systems import Nonlinear, Task, Trajectory
from systems.library import cartpole_swing_up, planar_quadrotor
from systems.signals import Vector

pytestmark = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="needs a C compiler")

FAR = NonlinearMPC.FAR


def kinked() -> Task:
    """The planar quadrotor with a penalty on the size of its first input, which adds variables to the stages."""
    task = planar_quadrotor()
    first = task.plant.input.names[0]

    def stage(x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> ca.SX:
        errors = [x[name] - x_ref[name] for name in task.plant.state.names]
        return ca.sumsqr(ca.vertcat(*errors)) + 0.1 * ca.fabs(u[first] - u_ref[first])

    return replace(task, cost=Nonlinear(stage), constraints=())


def moving() -> Task:
    """The planar quadrotor along a line."""
    task = planar_quadrotor()
    x_ref, u_ref = task.reading.start
    states = np.repeat(x_ref[None], 50, axis=0)
    states[:, 0] = 0.02 * np.arange(50)
    return replace(task, reference=Trajectory(states, np.repeat(u_ref[None], 50, axis=0)))


TASKS: dict[str, Callable[[], Task]] = {
    "periodic": cartpole_swing_up,
    "rows": planar_quadrotor,
    "moving": moving,
    "kinked": kinked,
}


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path))


def prepared(task: Task, horizon: int = 8) -> NonlinearMPC:
    """A controller with compiled functions after two samples, of which the second is a real-time iteration."""
    mpc = NonlinearMPC(task, horizon, iterations=1)
    mpc.compile()
    mpc.step(task.reading.start[0] + 0.05, -1)
    assert mpc.plan is not None
    mpc.step(mpc.plan.x[1], 0)
    assert mpc._sequential is not None
    assert isinstance(mpc._sequential.sqp, SQP)
    assert mpc._sequential.sqp.compiled is not None
    return mpc


def shifted(mpc: NonlinearMPC, x: np.ndarray, in_c: bool, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The point after the plan has been shifted to sample 1, beginning in x."""
    sequential, plan = mpc._sequential, mpc.plan
    assert sequential is not None
    assert plan is not None
    in_foreign_code = []
    advance = Sequential.advance

    def watched(*arguments: object) -> bool | None:
        in_foreign_code.append(advance(*arguments) if in_c else None)  # type: ignore[arg-type]
        return in_foreign_code[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Sequential, "advance", watched)
        assert mpc._advance(sequential, plan, x, 1)
    assert in_foreign_code == [True if in_c else None]
    p = sequential.sqp.point
    return [array.copy() for array in (p.x, p.v, p.pi, p.lam, p.mu, p.lam_last, p.mu_last, p.v_last)]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.every(2)
def test_both_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS[name]()
    one, other = prepared(task), prepared(task)
    assert one.plan is not None
    x = one.plan.x[1] + 0.01
    pairs = list(zip(shifted(one, x, False, monkeypatch), shifted(other, x, True, monkeypatch), strict=True))
    for python, c in pairs:
        np.testing.assert_array_equal(c, python)
    np.testing.assert_array_equal(pairs[0][1][0], x)
    np.testing.assert_array_equal(pairs[0][1][1], one.plan.x[2])


def test_a_measurement_by_turns_away_moves_the_whole_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    task = cartpole_swing_up()
    periods = task.reading.state.periods
    turning = np.isfinite(periods)
    assert turning.any()
    one, other = prepared(task), prepared(task)
    assert one.plan is not None
    x = one.plan.x[1] + np.where(turning, -2.0 * np.where(turning, periods, 0.0) + 0.01, 0.0)
    python, c = shifted(one, x, False, monkeypatch), shifted(other, x, True, monkeypatch)
    for a, b in zip(python, c, strict=True):
        np.testing.assert_array_equal(b, a)
    np.testing.assert_allclose(c[0][1, turning], one.plan.x[2, turning] - 2.0 * periods[turning], rtol=1e-12)


@pytest.mark.parametrize("change", [0.6, np.nan, np.inf])
@pytest.mark.every(3)
def test_a_plan_far_from_the_measurement_is_not_used(change: float) -> None:
    mpc = prepared(planar_quadrotor())
    sequential, plan = mpc._sequential, mpc.plan
    assert sequential is not None
    assert plan is not None
    feedback = mpc._fallback.feedback(8)
    assert feedback is not None
    x = plan.x[1].copy()
    x[0] += change * (1.0 + abs(x[0])) / (1.0 - FAR)  # FAR is relative to the measurement
    assert sequential.advance(x, 1, feedback, mpc._limits, FAR) is False


def test_a_plan_that_diverges_is_not_used() -> None:
    mpc = prepared(planar_quadrotor())
    sequential, plan = mpc._sequential, mpc.plan
    assert sequential is not None
    assert plan is not None
    feedback = mpc._fallback.feedback(8)
    assert feedback is not None
    sequential.sqp.point.x[-1] = np.inf
    assert sequential.advance(plan.x[1], 1, feedback, mpc._limits, FAR) is False


def test_only_the_plan_that_was_given_is_shifted() -> None:
    """Not one of other samples, nor a point that another solve has left."""
    mpc = prepared(planar_quadrotor())
    sequential, plan = mpc._sequential, mpc.plan
    assert sequential is not None
    assert plan is not None
    feedback = mpc._fallback.feedback(8)
    assert feedback is not None
    before = sequential.sqp.point.x.copy()
    for k in (0, 2, -1):
        assert sequential.advance(plan.x[1], k, feedback, mpc._limits, FAR) is None
    sequential.start(plan.x, plan.u, np.zeros((8, 0)), 0)
    assert sequential.advance(plan.x[1], 1, feedback, mpc._limits, FAR) is None
    np.testing.assert_array_equal(sequential.sqp.point.x, before)


def test_inputs_are_held_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backup law asks for more than the limits at the end of this plan."""
    task = planar_quadrotor()
    one, other = prepared(task), prepared(task)
    assert one._sequential is not None
    assert other._sequential is not None
    for mpc in (one, other):
        plan, point = mpc.plan, mpc._sequential.sqp.point
        assert plan is not None
        plan.x[-1] += 30.0
        point.x[-1] += 30.0
    x = one.plan.x[1]
    python, c = shifted(one, x, False, monkeypatch), shifted(other, x, True, monkeypatch)
    for a, b in zip(python, c, strict=True):
        np.testing.assert_array_equal(b, a)
    low, high = task.input_bounds
    assert ((c[1][-1] == low) | (c[1][-1] == high)).all()


def test_a_closed_loop_is_the_same_with_and_without() -> None:
    task = cartpole_swing_up()
    runs = []
    for in_c in (False, True):
        mpc = prepared(task)
        if not in_c:
            assert mpc._sequential is not None
            mpc._sequential.advance = lambda *_: None  # type: ignore[method-assign]
        x, inputs = task.reading.start[0] + 0.05, []
        for k in range(1, 30):
            inputs.append(mpc.step(x, k).input)
            x = np.array(task.dynamics.function()(x, inputs[-1], 0, [])).ravel()
        runs.append(inputs)
    np.testing.assert_array_equal(*runs)
