"""Limits and weights on the change of inputs, against independent solvers."""

from __future__ import annotations

import dataclasses

import cvxpy as cp
import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from ctrl import LQR, Decision, NotApplicable, compare, simulate
from ctrl.controller import Status
from ctrl.export.code import NotExportable
from mpc import LinearMPC, NonlinearMPC, TrackingMPC
from systems import Box, Fixed, LinearPlant, Quadratic, SetPoint, Sinusoid, Soft, Task, Uniform, know_ahead, signals
from systems.inputs import delay_inputs, limit_changes
from systems.reading import Part

A = np.array([[1.0, 0.2], [0.0, 1.0]])
B = np.array([[0.02, 0.0], [0.2, 0.1]])
DT, RATE, WEIGHT = 0.2, 1.5, np.diag([0.7, 0.3])
BASE = Task(
    name="two actuators",
    plant=LinearPlant(A, B, dt=DT, input_limits=((-2.0, 2.0), (-2.0, 2.0))),
    dt=DT,
    steps=40,
    cost=Quadratic(Q=[1.0, 0.1], R=[0.1, 0.2]),
    constraints=(Box("speed", {"x2": (-1.0, 1.0)}),),
    initial=Uniform([-2.0, -0.5], [2.0, 0.5]),
)
TASK = limit_changes(BASE, {"u1": RATE, "u2": RATE}, WEIGHT, previous=[0.1, -0.2])
STATE = np.array([1.8, 0.4, 0.1, -0.2])


def plan_of_clarabel(state: np.ndarray, P: np.ndarray, horizon: int) -> np.ndarray:
    """The same problem written by hand: x+ = A x + B u, du = u_k - u_(k-1), terminal cost of (x_N, u_(N-1))."""
    x, u = cp.Variable((horizon + 1, 2)), cp.Variable((horizon, 2))
    cost, rows, before = 0.0, [x[0] == state[:2]], state[2:]
    for k in range(horizon):
        change = u[k] - before
        cost += cp.quad_form(x[k], np.diag([1.0, 0.1])) + cp.quad_form(u[k], np.diag([0.1, 0.2]))
        cost += cp.quad_form(change, WEIGHT)
        rows += [x[k + 1] == A @ x[k] + B @ u[k], cp.abs(u[k]) <= 2.0, cp.abs(change) <= RATE * DT]
        rows += [cp.abs(x[k + 1, 1]) <= 1.0]
        before = u[k]
    cost += cp.quad_form(cp.hstack([x[horizon], u[horizon - 1]]), cp.psd_wrap(P))
    problem = cp.Problem(cp.Minimize(cost), rows)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    return np.asarray(u.value)


def riccati() -> tuple[np.ndarray, np.ndarray]:
    """Gain and cost-to-go of the state (x, u_(-1)) by scipy."""
    a = np.block([[A, np.zeros((2, 2))], [np.zeros((2, 4))]])
    b = np.vstack([B, np.eye(2)])
    q = np.block([[np.diag([1.0, 0.1]), np.zeros((2, 2))], [np.zeros((2, 2)), WEIGHT]])
    r, s = np.diag([0.1, 0.2]) + WEIGHT, np.vstack([np.zeros((2, 2)), -WEIGHT])
    P = solve_discrete_are(a, b, q, r, s=s)
    return np.linalg.solve(r + b.T @ P @ b, b.T @ P @ a + s.T), P


def test_weights_of_the_regulator_are_those_of_the_augmented_riccati_equation() -> None:
    K, P = riccati()
    regulator = LQR(TASK)
    assert np.allclose(regulator.K, K, atol=1e-9)
    assert np.allclose(regulator.P, P, atol=1e-8)


def test_the_regulator_applies_the_limits_afterwards_and_says_so() -> None:
    regulator = LQR(TASK)
    K, _ = riccati()
    assert any("applies the limit 'rate limits' on the change" in text for text in regulator.approximations)
    for x in np.random.default_rng(0).uniform(-2, 2, (50, 4)):
        expected = np.clip(np.clip(-K @ x, -2, 2), x[2:] - RATE * DT, x[2:] + RATE * DT)
        assert np.allclose(regulator.step(x, 0).input, expected, atol=1e-9)
    with pytest.raises(NotApplicable, match="limits on the change"):
        _ = regulator.law
    with pytest.raises(NotExportable, match="limits on the change"):
        regulator.c_code(10)


@pytest.mark.parametrize(
    "controller",
    [
        LinearMPC(TASK, horizon=12, terminal="cost"),
        LinearMPC(TASK, horizon=12, terminal="cost", solver="piqp"),
        NonlinearMPC(TASK, horizon=12),
    ],
    ids=["linear", "linear, sparse", "nonlinear"],
)
def test_plans_are_those_of_clarabel(controller: LinearMPC | NonlinearMPC) -> None:
    u = plan_of_clarabel(STATE, riccati()[1], 12)
    controller.step(STATE, 0)
    controller.step(STATE, 0)  # nonlinear MPC solves the first sample by ipopt, to 1e-6 of the conditions
    assert controller.plan is not None
    assert np.abs(controller.plan.u - u).max() < 1e-6
    assert (np.abs(np.diff(np.vstack([STATE[2:], u]), axis=0)) > RATE * DT - 1e-6).any(), "no limit is active"


def test_an_artificial_reference_takes_limits_and_weights_exactly() -> None:
    """MPC for tracking against its program written by hand."""
    N, eps = 6, 1e-4
    task = limit_changes(dataclasses.replace(BASE, reference=SetPoint([1.0, 0.0])), {"u1": RATE, "u2": RATE}, WEIGHT)
    controller = TrackingMPC(task, horizon=N, eps=eps)
    Q, R = np.diag([1.0, 0.1]), np.diag([0.1, 0.2])
    x, u, xs, us = cp.Variable((N + 1, 2)), cp.Variable((N, 2)), cp.Variable(2), cp.Variable(2)
    before = np.array([0.1, -0.2])
    cost = 10 * N * cp.quad_form(xs - [1.0, 0.0], Q) + 10 * N * cp.quad_form(us, WEIGHT) + cp.quad_form(us, R + WEIGHT)
    rows = [x[0] == [-0.3, 0.2], x[N] == xs, u[N - 1] == us, xs == A @ xs + B @ us]
    rows += [cp.abs(us) <= 2.0 - eps, cp.abs(xs[1]) <= 1.0 - eps]
    for k in range(N):
        cost += cp.quad_form(x[k] - xs, Q) + cp.quad_form(u[k] - us, R) + cp.quad_form(u[k] - before, WEIGHT)
        rows += [x[k + 1] == A @ x[k] + B @ u[k], cp.abs(u[k]) <= 2.0, cp.abs(u[k] - before) <= RATE * DT]
        rows += [cp.abs(x[k, 1]) <= 1.0]
        before = u[k]
    cp.Problem(cp.Minimize(cost), rows).solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    decision = controller.step(np.array([-0.3, 0.2, 0.1, -0.2]), 0)
    assert decision.status == "solved"
    assert np.allclose(decision.input, u.value[0], atol=1e-5)
    assert controller.plan is not None
    assert np.allclose(controller.plan.u[:N], u.value, atol=1e-5)


def test_closed_loop_and_comparison_charge_changes_and_count_violations() -> None:
    runs = simulate(TASK, LQR(TASK), STATE[None])
    x, u = runs.states[0], runs.inputs[0]
    before = np.vstack([STATE[2:], u[:-1]])
    assert np.allclose(x[:-1, 2:], before)
    change = u - before
    cost = (x[:-1, :2] ** 2 @ [1.0, 0.1]) + (u**2 @ [0.1, 0.2]) + np.einsum("ki,ij,kj->k", change, WEIGHT, change)
    assert np.allclose(runs.costs[0], cost)


class Jumps:
    """Sets the first input from one limit to the other."""

    def reset(self) -> None: ...

    def step(self, x: np.ndarray, k: int) -> Decision:
        return Decision(np.array([2.0 * (-1) ** k, 0.0]))


def test_violations_of_rate_limits_are_counted_as_of_any_constraint() -> None:
    task = dataclasses.replace(TASK, constraints=TASK.constraints[1:], steps=10)
    runs = simulate(task, Jumps(), STATE[None])
    changes = np.abs(np.diff(np.vstack([STATE[None, 2:], runs.inputs[0]]), axis=0))
    assert np.allclose(runs.margins[0, :, 0], changes.max(axis=1) - RATE * DT)
    found = compare(task, {"jumps": Jumps(), "linear-mpc": LinearMPC(task)}, starts=STATE[None])
    assert [metrics.violated.k for metrics in found.metrics.values()] == [1, 0]


def test_a_weight_alone_and_a_soft_limit() -> None:
    weighted = limit_changes(BASE, None, {"u1": 1.0})
    assert weighted.plant.state.names == ("x1", "x2", "previous_u1")
    assert Part.CHANGE_LIMIT not in weighted.reading.parts
    soft = limit_changes(BASE, {"u2": (-1.0, 2.0)}, requirement=Soft(10.0))
    assert Part.SOFT in soft.reading.parts
    assert Part.CHANGE_LIMIT not in soft.reading.parts
    assert LinearMPC(soft).step(np.array([1.0, 0.0, 0.0]), 0).status == "solved"


def test_references_before_the_run() -> None:
    moving = dataclasses.replace(BASE, reference=Sinusoid(0.3, u_sine={"u1": 1.0}, u_mean={"u2": 0.5}), constraints=())
    task = limit_changes(moving, None, WEIGHT)
    assert isinstance(task.reference, Sinusoid)
    k = np.arange(5)
    x_ref, u_ref = task.reference.at(task.plant, k)
    assert np.allclose(x_ref[:, 2], np.sin(0.3 * (k - 1)))
    assert np.allclose(u_ref[:, 0], np.sin(0.3 * k))
    still = limit_changes(
        dataclasses.replace(BASE, reference=SetPoint(u={"u1": 1.0}), initial=Fixed([1.0, 0.0])), None, WEIGHT
    )
    assert np.allclose(still.initial.mean(still.plant.state), [1.0, 0.0, 1.0, 0.0])


def test_limits_differ_by_direction_and_hold_in_fallbacks() -> None:
    task = limit_changes(BASE, {"u1": (-1.0, 2.0)})
    x = np.array([[5.0, 0.0, 0.3], [-5.0, 0.0, 0.3]])
    assert np.allclose(LQR(task).batch(x, 0)[:, 0], [0.3 - 1.0 * DT, 0.3 + 2.0 * DT])
    decision = LinearMPC(task).step(np.array([5.0, 5.0, 0.3]), 0)  # the speed is far beyond its bound
    assert decision.status == "infeasible"
    controller = LinearMPC(task)
    decision = controller._clipped_fallback(np.array([5.0, 5.0, 0.3]), 0)[0]
    assert np.isclose(decision[0], 0.3 - 1.0 * DT)
    planned = controller._fallback
    controller._fallback_input = lambda x, k: (np.array([2.0, 0.0]), planned)  # type: ignore[method-assign,assignment,return-value]
    assert np.isclose(controller._clipped_fallback(np.array([1.0, 0.0, 0.3]), 0)[0][0], 0.3 + 2.0 * DT)


@pytest.mark.parametrize("lost", [[0, 1, 2, 3], [1], [0, 2]])
@pytest.mark.parametrize("kind", [LinearMPC, NonlinearMPC])
def test_limits_hold_in_a_sample_without_a_measurement(kind: type[LinearMPC | NonlinearMPC], lost: list[int]) -> None:
    """The backup law went straight to the input of the reference."""
    hard = dataclasses.replace(TASK, constraints=(Box("never", {"x1": (-0.1, 0.1)}), *TASK.constraints))
    controller, step = kind(hard, 4), hard.dynamics.lower("numpy")
    controller.reset()
    x = STATE.copy()
    for k in range(8):
        given = x.copy()
        if k == 5:
            given[lost] = np.nan
        decision = controller.step(given, k)
        assert np.abs(decision.input - x[2:]).max() <= RATE * DT + 1e-9
        assert k != 5 or decision.status is Status.NUMERICAL
        x = step(x, decision.input, np.zeros(0), np.zeros(0))
    controller.reset()  # of what came before a run, nothing is known
    assert np.isfinite(controller.step(np.full(4, np.nan), 0).input).all()


def test_the_regulator_keeps_limits_where_the_input_before_is_measured() -> None:
    regulator = LQR(TASK)
    backup = regulator.step(np.array([np.nan, 0.4, 1.5, -0.9]), 0)
    assert backup.status is Status.NUMERICAL
    np.testing.assert_allclose(backup.input, [1.2, -0.6])
    assert np.array_equal(regulator.step(np.array([np.nan, 0.4, np.nan, np.inf]), 0).input, [0.0, 0.0])


def test_limits_are_kept_by_their_name_in_what_is_made_of_the_task() -> None:
    """Where the other input has a dead time, or signals are known ahead, regulators and fallbacks read them."""
    one = limit_changes(BASE, {"u1": RATE}, previous=[0.1, -0.2])
    for made in (
        delay_inputs(one, {"u2": DT}),
        limit_changes(dataclasses.replace(one, constraints=(one.constraints[-1],)), weights=WEIGHT * [[0.0], [1.0]]),
        know_ahead(one, signals("price"), {"price": np.zeros(41)}),
    ):
        (limit,) = made.reading.change_limits
        assert limit.bounds == {"u1": (-RATE * DT, RATE * DT)}
    delayed = delay_inputs(one, {"u2": DT})
    x = np.array([1.8, 0.4, 0.1, -0.2])
    assert np.isclose(LQR(delayed).step(x, 0).input[0], 0.1 - RATE * DT)
    assert LQR(delayed).approximations == LQR(one).approximations
