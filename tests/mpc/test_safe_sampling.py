"""Sampling with barrier and Lyapunov conditions of a learned residual: conditions, programs, learning, closed loops."""

from __future__ import annotations

import copy
import dataclasses
from itertools import product
from typing import Any

import casadi as ca
import cvxpy as cp
import numpy as np
import pytest

from ctrl import NotApplicable, Status, simulate
from ctrl.terminal import terminal
from mpc import MPPI, CrossEntropyMPC
from mpc.sampling import Intervention
from mpc.sampling.safety import Safety
from systems import (
    Box,
    Fixed,
    Inequality,
    InvalidValue,
    LinearPlant,
    Plant,
    Quadratic,
    SetPoint,
    Task,
    Vector,
    signals,
)
from systems.discretise import exact
from systems.identification.online import ProcessResidual
from systems.library import quadrotor_in_wind

WIND = ProcessResidual({"x": 1.0, "z": 1.0}, {"x_rate": 3.0, "z_rate": 3.0}, noise=0.15)
FORCE = ProcessResidual({"position": 2.0}, {"velocity": 1.0}, noise=0.1, capacity=20)


def wall(force: float = 0.0) -> Task:
    """A mass that shall hold its place just before a wall, with a force that the nominal plant leaves out."""
    state, inputs, gust = signals("position [m]", "velocity [m/s]"), signals("force [N]"), signals("gust [N]")
    A, B, limits = np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[0.0], [1.0]]), ((-3.0, 3.0),)
    nominal = LinearPlant(A, B, B, np.zeros(2), None, state, inputs, gust, limits)
    truth = LinearPlant(A, B, B, np.array([0.0, force]), None, state, inputs, gust, limits)
    cost, constraints = Quadratic([5.0, 1.0], [0.1]), (Box("wall", {"position": (-5, 0)}),)
    start, reference = Fixed([-1.0, 0.0]), SetPoint([-0.02, 0.0])
    return Task("wall", nominal, 0.05, 40, cost, start, constraints, reference, truth=truth)


def test_conditions_of_a_mass_before_a_wall_are_those_on_paper() -> None:
    """With h = -x, psi_1 = -v - a x: -(u + d) - a v + a psi_1 >= 0 for all d within m +- k s."""
    a, k = 1.7, 2.5
    barrier = Inequality("wall", lambda x, u: x.position)
    conditions = Intervention(FORCE, (barrier,), rate=a, deviations=k, weight=0.0).conditions(wall(), np.eye(2))
    x, v, m, s = -0.8, 0.6, 0.3, 0.2
    A, b, levels = (np.array(value) for value in conditions.function([x, v], [0.0, 0.0], [m, s]))
    assert A.tolist() == [[-1.0]]
    assert b[0, 0] == pytest.approx(m + k * s + a * v - a * (-v - a * x))
    np.testing.assert_allclose(levels.ravel(), [-x, -v - a * x])
    assert conditions.names == ["wall"]


@dataclasses.dataclass(frozen=True)
class Valve(Plant):
    """A mass with a force that also opens a valve, in steps: its derivative in the input is constant."""

    state, input = signals("position [m]", "velocity [m/s]"), signals("force [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return x.velocity, u.force + ca.if_else(u.force > 1.0, 0.5, 0.0)


def test_steps_in_the_input_are_not_affine() -> None:
    limited = dataclasses.replace(wall(), plant=Valve(), truth=None)
    with pytest.raises(NotApplicable, match="Valve is not affine in its inputs"):
        Intervention(FORCE, weight=0.0).conditions(limited, None)
    within = Inequality("valve", lambda x, u: ca.sign(u.force) - 2.0)
    with pytest.raises(NotApplicable, match="'valve' depends on an input"):
        Intervention(FORCE, (within,), weight=0.0).conditions(wall(), None)


def test_conditions_hold_the_worst_derivative_of_every_level() -> None:
    """By finite differences along the plant's own equations, at every corner of the band."""
    task, a, k = quadrotor_in_wind(), 4.0, 2.0
    P = terminal(task).P
    assert P is not None
    conditions = Intervention(WIND, levels=4, rate=a, deviations=k, decrease=0.3, weight=1.0).conditions(task, P)
    assert conditions.names == ["pillars"] * 9  # thrust in two levels, and torque in the last
    f, rng, held = conditions.plant.casadi(), np.random.default_rng(0), task.reference.at(task.plant, 0)[1]
    for _ in range(5):
        x, u = rng.uniform([1.0, *[-1.0] * 5], [3.0, *[1.0] * 5]), rng.uniform(0.0, 5.0, 2)
        p = np.concatenate([rng.uniform(-2.0, 2.0, 2), rng.uniform(0.1, 0.5, 2)])
        A, b, levels = (np.array(value) for value in conditions.function(x, np.zeros(6), p))

        def least(values: object, at: np.ndarray, x: np.ndarray = x, p: np.ndarray = p) -> np.ndarray:
            """The least derivative of each value, along x' with the input ``at``."""
            rates = []
            for corner in product((-k, k), repeat=2):
                d = p[:2] + np.array(corner) * p[2:]
                rate = np.array(f(x, at, [0.0, *d], []))[:, 0]
                step = 1e-5
                ahead, behind = (np.asarray(values(x + sign * step * rate)) for sign in (1, -1))  # type: ignore[operator]
                rates.append((ahead - behind) / (2.0 * step))
            return np.asarray(np.min(rates, axis=0))

        def psi(at: np.ndarray, p: np.ndarray = p) -> np.ndarray:
            return np.array(conditions.function(at, np.zeros(6), p)[2])[:, 0]

        def cost_to_go(at: np.ndarray) -> np.ndarray:
            return np.array([-at @ P @ at])

        slack = (A @ u - b[:, 0])[:9].reshape(3, 3)
        now, free, still = (v.reshape(3, 4) for v in (levels[:, 0], least(psi, u), least(psi, held)))
        scale = 1.0 + np.abs(now).max()
        np.testing.assert_allclose(slack, free[:, 1:] + a * now[:, 1:], atol=1e-5 * scale)
        np.testing.assert_allclose(now[:, 1:], still[:, :3] + a * now[:, :3], atol=1e-5 * scale)
        decrease = least(cost_to_go, u) - 0.3 * x @ P @ x
        assert (A @ u - b[:, 0])[9] == pytest.approx(decrease[0], rel=1e-6)


@pytest.fixture(scope="module")
def safety() -> Safety:
    task = quadrotor_in_wind()
    return Safety(Intervention(WIND, levels=4, rate=6.0, weight=0.05), task, terminal(task).P)


def test_the_exact_program_is_that_of_another_solver(safety: Safety) -> None:
    rng, seen = np.random.default_rng(1), 0
    for _ in range(12):
        x = np.array([*rng.uniform([1.5, -0.7], [2.0, 0.7]), *rng.uniform(-0.4, 0.4, 4)])
        u, p = rng.uniform(0.0, 5.0, 2), np.array([0.5, -0.3, 0.3, 0.3])
        corrected = safety.exact(x, u, np.zeros(6), p)
        A, b, _ = (np.array(v) for v in safety.conditions.function(x, np.zeros(6), p))
        A, b = A * safety._width, b[:, 0]
        size = np.linalg.norm(A, axis=1)
        z, e = cp.Variable(2), cp.Variable()
        low, high = (bound / safety._width for bound in (safety._lower, safety._upper))
        rows = [A[:9] @ z >= b[:9], A[9] @ z / size[9] + e >= b[9] / size[9], z >= low, z <= high]
        problem = cp.Problem(cp.Minimize(cp.sum_squares(z - u / safety._width) + 0.05 * e**2), rows)
        problem.solve(solver=cp.CLARABEL)
        assert corrected.is_feasible == (problem.status == cp.OPTIMAL)
        if corrected.is_feasible:
            seen += 1
            np.testing.assert_allclose(corrected.input, z.value * safety._width, atol=1e-4)
            assert corrected.moved
    assert seen > 3


def test_sampled_corrections_come_close_to_the_program(safety: Safety) -> None:
    x, u, xr, p = ca.SX.sym("x", 6), ca.SX.sym("u", 2), ca.SX.sym("xr", 6), ca.SX.sym("p", 4)
    f = ca.Function("f", [x, u, xr, p], [safety.corrected(x, u, xr, p)])
    rng, far, near = np.random.default_rng(1), [], []
    for _ in range(40):
        at = np.array([*rng.uniform([1.5, -0.7], [2.0, 0.7]), *rng.uniform(-0.4, 0.4, 4)])
        proposed, numbers = rng.uniform(0.0, 5.0, 2), np.array([0.5, -0.3, 0.3, 0.3])
        exact = safety.exact(at, proposed, np.zeros(6), numbers)
        if not exact.is_feasible:
            continue
        sampled = np.array(f(at, proposed, np.zeros(6), numbers))[:, 0]
        far.append(np.linalg.norm(proposed - exact.input))
        near.append(np.linalg.norm(sampled - exact.input))
    assert np.mean(near) < 0.25 * np.mean(far)
    assert (f(np.ones((6, 1)), np.ones((2, 1)), np.zeros((6, 1)), np.zeros((4, 1))).full() >= 0.0).all()


@pytest.mark.parametrize("kind", [CrossEntropyMPC, MPPI])
def test_predictions_with_corrections_are_the_same_in_every_arithmetic(
    kind: type[CrossEntropyMPC] | type[MPPI],
) -> None:
    task = wall()
    controller = kind(task, 8, 30, 1, intervention=Intervention(FORCE, rate=2.0))
    rng = np.random.default_rng(0)
    u, p = rng.uniform(-3.0, 3.0, (8, 1, 30)), np.tile([0.4, 0.1], (8, 1)) * rng.uniform(0.5, 1.5, (8, 1))
    x, (x_ref, u_ref) = np.array([-0.3, 0.4]), task.reading.window(0, 9)
    predict = controller.rollouts
    many = predict.many(x, u, x_ref, u_ref, p)
    predict.compile()
    compiled = predict.many(x, u, x_ref, u_ref, p)
    step = Safety(Intervention(FORCE, rate=2.0), task, terminal(task).P).conditions.plant.casadi()
    for i in range(30):
        one = predict.one(x, u[..., i], x_ref, u_ref, p)
        for other in (many, compiled):
            np.testing.assert_allclose(other.u[..., i], one.u, atol=1e-12)
            np.testing.assert_allclose(other.cost[i], one.cost, rtol=1e-12)
        rate = np.array(step(one.x[0], one.u[0], [0.0, p[0, 0]], []))[1, 0]
        assert one.x[1, 1] == pytest.approx(x[1] + task.dt * rate)  # the mean is in the prediction
    assert (np.abs(many.u - u) > 1e-6).any()


def test_it_learns_the_force_and_stays_off_the_wall_where_others_do_not() -> None:
    task = wall(force=1.0)
    starts = np.array([[-1.0, 0.0]])
    plain = CrossEntropyMPC(task, 12, 40, 2)
    safe = CrossEntropyMPC(task, 12, 40, 2, intervention=Intervention(FORCE, rate=4.0))
    assert simulate(task, plain, starts).margins.max() > 1e-3
    assert plain.safety is None
    run = simulate(task, safe, starts)
    assert run.margins.max() <= 0.0
    assert safe.safety is not None
    mean, _ = safe.safety.process.predict(run.states[0, -1:, :1])
    assert mean[0, 0] == pytest.approx(1.0, abs=0.05)
    assert safe.interventions > 0
    again = simulate(task, copy.deepcopy(safe), starts)  # runs do not depend on what other runs learned
    np.testing.assert_array_equal(again.states, run.states)
    assert "sampled, not proved" in repr(safe)


def test_numbers_never_stop_it() -> None:
    task = wall(force=1.0)
    mpc = CrossEntropyMPC(task, 8, 30, 1, intervention=Intervention(FORCE, rate=4.0))
    low, high = task.input_bounds
    states = [[-1.0, 0.0], [np.nan, 0.0], [-0.9, 0.1], [1e200, 0.0], [-0.5, np.inf], [-0.5, 1e9], [-0.5, 0.0]]
    for k, x in enumerate(states):
        u = mpc.step(np.array(x), k).input
        assert ((low <= u) & (u <= high)).all()
    assert mpc.safety is not None
    assert np.isfinite(mpc.safety.process.values).all()
    assert np.abs(mpc.safety.process.values).max() <= 5.0
    assert mpc.step(np.array([2.0, 5.0]), 50).status is Status.INFEASIBLE  # beyond the wall, and no input turns it back


def test_what_has_no_conditions_is_refused() -> None:
    task = wall()
    with pytest.raises(NotApplicable, match="no hard constraint"):
        CrossEntropyMPC(dataclasses.replace(task, constraints=()), 5, 30, intervention=Intervention(FORCE))
    sampled = dataclasses.replace(task, plant=exact(task.plant, task.dt), truth=None)
    with pytest.raises(NotApplicable, match="is discrete"):
        Intervention(FORCE).conditions(sampled, None)
    with pytest.raises(NotApplicable, match="depends on an input"):
        Intervention(FORCE, (Inequality("power", lambda x, u: u.force - x.velocity),)).conditions(task, None)
    with pytest.raises(NotApplicable, match="no input appears"):
        Intervention(FORCE, levels=1).conditions(task, None)
    for wrong in ({"rate": 0.0}, {"deviations": -1.0}, {"levels": 0}, {"samples": 1}, {"barriers": "wall"}):
        with pytest.raises(InvalidValue, match=next(iter(wrong))):
            Intervention(FORCE, **wrong)
    with pytest.raises(InvalidValue, match="residual"):
        Intervention("force")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="intervention"):
        MPPI(task, 5, 30, intervention=FORCE)  # type: ignore[arg-type]
