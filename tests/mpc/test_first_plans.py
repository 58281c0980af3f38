"""First plans: from the regulator's prediction where full steps contract, else by ipopt; fixed numbers of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np
import pytest

from benchmarks.plants import PLANTS
from ctrl.controller import Source, Status
from mpc import NonlinearMPC
from mpc.solvers.sqp import SQP
from systems import Task, library
from tests.mpc.real_time_tasks import quadrotor_with_obstacle
from tests.mpc.test_sqp import program


def watched(mpc: NonlinearMPC) -> list[int]:
    """One entry for each call of ipopt."""
    calls, solve = [], mpc.solver.solve

    def noted(*arguments: Any) -> Any:
        calls.append(1)
        return solve(*arguments)

    mpc.solver.solve = noted  # type: ignore[method-assign]
    return calls


def cost_of(mpc: NonlinearMPC) -> float:
    """Cost of the last plan, which is feasible to 1e-5."""
    assert mpc._sequential is not None
    sqp = mpc._sequential.sqp
    assert isinstance(sqp, SQP)
    sqp.linearisation.evaluate()
    point = sqp.point
    assert (np.abs(point.next - point.x[1:]) <= 1e-5 * (1 + np.abs(point.x[1:]))).all()
    assert (np.maximum(sqp.lower - point.g, point.g - sqp.upper) <= 1e-5).all()
    return float(point.f.sum() + point.F.sum())


def starts(task: Task) -> np.ndarray:
    return task.initial.sample(task.plant.state, np.random.default_rng(0), (3,))


SLOW = pytest.mark.slow  # to build, not to solve
NEAR = [
    PLANTS["furuta"], PLANTS["magnetic_levitation"], (library.cartpole_track, 15),
    *(pytest.param(*each, marks=SLOW) for each in (
        PLANTS["double_pendulum"], PLANTS["quadruple_tank"], (library.kinematic_car, 15), (library.stirred_tank, 15)
    )),
]  # fmt: skip


@pytest.mark.parametrize("iterations", [None, 1])
@pytest.mark.parametrize(("make", "horizon"), NEAR, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.every(3)
def test_first_plans_cost_what_those_of_ipopt_do(
    make: Callable[[], Task], horizon: int, iterations: int | None
) -> None:
    task = make()
    own, judge = NonlinearMPC(task, horizon, iterations=iterations), NonlinearMPC(task, horizon)
    calls = watched(own)
    for x in starts(task):
        own.reset()
        judge.reset()
        decision = own.step(x, 0)
        assert decision.iterations >= 1
        assert (decision.status, decision.source) == (Status.SOLVED, Source.OPTIMAL) or iterations is not None
        judge._from_backup = lambda *arguments: None  # type: ignore[method-assign]
        judge.step(x, 0)
        assert cost_of(own) == pytest.approx(cost_of(judge), rel=1e-5)
        assert own.began_anew
        assert judge.began_anew
    assert not calls


@pytest.mark.parametrize("iterations", [None, 1])
@pytest.mark.parametrize(
    ("make", "horizon"),
    [
        pytest.param(library.cartpole_swing_up, 40, id="swing-up"),
        pytest.param(quadrotor_with_obstacle, 30, id="obstacle"),
        pytest.param(library.rocket_landing, 20, id="rocket", marks=SLOW),
    ],
)
def test_ipopt_makes_first_plans_where_the_steps_do_not_contract(
    make: Callable[[], Task], horizon: int, iterations: int | None
) -> None:
    task = make()
    own, judge = NonlinearMPC(task, horizon, iterations=iterations), NonlinearMPC(task, horizon, solver="ipopt")
    calls = watched(own)
    x = starts(task)[0]
    assert own.step(x, 0).status is judge.step(x, 0).status is Status.SOLVED
    assert len(calls) == 1
    assert own.plan is not None
    assert judge.plan is not None
    np.testing.assert_allclose(own.plan.x, judge.plan.x, atol=1e-9)


def test_full_steps_end_where_they_do_not_contract() -> None:
    """Newton's method for the least of sqrt(1 + v^2) converges from |v| < 1 alone: v becomes -v^3."""
    x, v = ca.SX.sym("x", 1), ca.SX.sym("v", 1)
    for start, converges in ((0.5, True), (0.95, False), (1.5, False)):
        sqp = SQP(program(0 * x, ca.sqrt(1 + v**2), x, v, horizon=1), hessian="lagrangian")
        sqp.point.v[:] = start
        ended = sqp.contract(np.zeros(1), 1e-6)
        assert (ended.status is Status.SOLVED) == converges
        assert (ended.residual <= 1e-6) == converges
        if converges:
            assert abs(sqp.point.v[0, 0]) < 1e-6
            # 0.5, -0.125, 0.002, -7e-9, and a step of 7e-9
            assert ended.iterations == 4
        else:  # one step was taken, since there was none to compare it with
            assert sqp.point.v[0, 0] == pytest.approx(-(start**3), rel=1e-6)
            assert ended.iterations == 2
    assert sqp.contract(np.zeros(1), 1e-6, until=0.0).status is Status.TIMEOUT
    assert sqp.contract(np.full(1, np.nan), 1e-6).status is Status.NUMERICAL


def test_a_fixed_number_of_iterations_takes_so_many_full_steps() -> None:
    """Three steps from a state that the plan did not expect end closer to the solution than one."""
    task = library.planar_quadrotor()
    x = starts(task)[0]
    disturbed = x + np.array([0.3, -0.2, 0.1, 0.3, -0.3, 0.2])
    inputs = {}
    for iterations in (None, 1, 2, 3):
        mpc = NonlinearMPC(task, 20, iterations=iterations)
        mpc.step(x, 0)
        decision = mpc.step(disturbed, 1)
        assert not mpc.began_anew
        if iterations is not None:
            assert decision.iterations == iterations
            assert decision.status is Status.MAX_ITERATIONS
        inputs[iterations] = decision.input
    errors = [float(np.abs(inputs[i] - inputs[None]).max()) for i in (1, 2, 3)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_programs_of_real_time_iterations_are_solved_less_exactly_than_the_first() -> None:
    task = library.kinematic_car()
    mpc = NonlinearMPC(task, 10, iterations=1)
    assert mpc._sequential is not None
    sqp = mpc._sequential.sqp
    assert isinstance(sqp, SQP)
    x = task.reading.start[0] + 0.05
    mpc.step(x, 0)
    assert sqp.qp.tolerance == 1e-8
    assert mpc.plan is not None
    mpc.step(mpc.plan.x[1], 1)
    assert sqp.qp.tolerance == 1e-7
    exact = NonlinearMPC(task, 10)
    exact.step(x, 0)
    exact.step(x, 1)
    assert exact._sequential is not None
    assert exact._sequential.sqp.qp.tolerance == 1e-8  # type: ignore[attr-defined]
