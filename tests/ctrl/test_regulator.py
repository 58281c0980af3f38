"""LQR: against python-control, against simulated cost, and where no regulator exists."""

from __future__ import annotations

import dataclasses

import control
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrl import LQR, NotApplicable, Source, Status, lqr, simulate
from ctrl.regulator import NotStabilisable, local_model
from systems import (
    DimensionMismatch,
    Fixed,
    InvalidValue,
    LinearPlant,
    Nonlinear,
    Quadratic,
    SetPoint,
    Task,
    Trajectory,
)
from systems.library import cartpole, cartpole_swing_up, pendulum, segway


def random_plant(seed: int, dt: float | None) -> tuple[LinearPlant, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    root = rng.standard_normal((n + m, n + m))
    weight = root @ root.T + 0.1 * np.eye(n + m)
    plant = LinearPlant(rng.standard_normal((n, n)), rng.standard_normal((n, m)), dt=dt)
    return plant, weight[:n, :n], weight[n:, n:], weight[:n, n:]


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), discrete=st.booleans())
def test_gains_equal_python_controls(seed: int, discrete: bool) -> None:
    plant, Q, R, N = random_plant(seed, 0.1 if discrete else None)
    solve = control.dlqr if discrete else control.lqr
    K, P, _ = solve(plant.A, plant.B, Q, R, N)
    gain = lqr(plant, Q, R, N)
    np.testing.assert_allclose(gain.K, K, rtol=1e-6, atol=1e-6 * np.abs(K).max())
    np.testing.assert_allclose(gain.P, P, rtol=1e-6, atol=1e-6 * np.abs(P).max())


def test_cost_to_go_is_the_cost_of_the_simulated_loop() -> None:
    plant = LinearPlant([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]], dt=0.1)
    task = Task("mass", plant, 0.1, 400, Quadratic({"x1": 1.0, "x2": 0.1}, {"u1": 0.1}), Fixed({"x1": 1.0}))
    controller = LQR(task)
    runs = simulate(task, controller, np.array([[1.0, -0.5]]), np.zeros((1, 400, 0)))
    start = np.array([1.0, -0.5])
    assert runs.cost[0] == pytest.approx(start @ controller.P @ start, rel=1e-9)


def test_input_is_saturated_and_centred_at_the_reference() -> None:
    task = dataclasses.replace(pendulum(), reference=SetPoint({"angle": 0.1}, {"torque": -0.0734}))
    controller = LQR(task)
    rest = task.reading.free_steady_state  # the torque given is rounded: the regulator rests where the plant does
    assert rest is not None
    np.testing.assert_allclose([*rest.x, *rest.u], [0.1, 0.0, -0.0734], atol=1e-3)
    np.testing.assert_allclose(controller.step(rest.x, 0).input, rest.u)
    assert controller.step(np.array([5.0, 5.0]), 0).input == -0.75
    np.testing.assert_array_equal(controller.batch(np.array([[5.0, 5.0], [-5.0, -5.0]]), 3), [[-0.75], [0.75]])


def test_moving_reference_is_followed_by_sample() -> None:
    plant = LinearPlant([[1.0]], [[1.0]], dt=1.0)
    reference = Trajectory(np.array([[0.0], [1.0], [3.0]]), np.array([[1.0], [2.0], [0.0]]))
    cost = Quadratic({"x1": 1.0}, {"u1": 1.0})
    controller = LQR(Task("ramp", plant, 1.0, 2, cost, Fixed(), reference=reference))
    for k, (x, u) in enumerate(((0.0, 1.0), (1.0, 2.0), (3.0, 0.0), (3.0, 0.0))):
        assert controller.step(np.array([x]), k).input == pytest.approx(u)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_state_that_is_no_number_gets_a_finite_input_and_a_status(bad: float) -> None:
    decision = LQR(cartpole()).step(np.array([0.0, bad, 0.0, 0.0]), 0)
    assert decision.status is Status.NUMERICAL
    assert np.isfinite(decision.input).all()


def test_no_actuator_on_an_unstable_mode_is_named() -> None:
    plant = LinearPlant(np.diag([1.2, 0.5]), [[0.0], [1.0]], dt=0.1)
    with pytest.raises(NotStabilisable, match=r"no input reaches its unstable modes 1\.2"):
        lqr(plant, np.eye(2), np.eye(1))


def test_an_unstable_mode_that_costs_nothing_is_explained() -> None:
    plant = LinearPlant([[1.0]], [[1.0]], dt=0.1)
    with pytest.raises(NotStabilisable, match="must appear in the cost"):
        lqr(plant, np.zeros((1, 1)), np.eye(1))


def test_wrong_weights_are_refused() -> None:
    plant = LinearPlant(np.eye(2), np.eye(2), dt=0.1)
    with pytest.raises(DimensionMismatch, match=r"Q has shape \(3, 3\); expected \(2, 2\)"):
        lqr(plant, np.eye(3), np.eye(2))
    with pytest.raises(InvalidValue, match="R must be positive definite"):
        lqr(plant, np.eye(2), np.zeros((2, 2)))


def test_lqr_asks_for_a_linear_plant() -> None:
    with pytest.raises(InvalidValue, match=r"the plant of lqr = .*LinearPlant.*linearise it first"):
        lqr(cartpole().plant, np.eye(4), np.eye(1))


def test_the_regulator_asks_for_a_task() -> None:
    with pytest.raises(InvalidValue, match=r"the task of LQR = .*an instance of Task"):
        LQR(cartpole().plant)


@pytest.mark.parametrize("x", [np.zeros(3), np.zeros((2, 4)), 0.0, np.full(5, np.nan)])
def test_a_state_of_another_shape_is_refused(x) -> None:
    with pytest.raises(DimensionMismatch, match=r"state of shape .*; expected \(4,\): position"):
        LQR(cartpole()).step(x, 0)


def test_a_cost_without_curvature_has_no_regulator() -> None:
    task = dataclasses.replace(pendulum(), cost=Nonlinear(lambda x, u, xr, ur: -(x.angle**2) + u.torque**2))
    with pytest.raises(NotApplicable, match="not convex at the reference"):
        LQR(task)


def test_hessian_of_any_cost_serves_as_weights() -> None:
    """The swing-up cost has by design the curvature of the balancing cost."""
    balance, swing = local_model(cartpole()), local_model(cartpole_swing_up())
    np.testing.assert_allclose(swing.Q, balance.Q, atol=1e-12)
    np.testing.assert_allclose(swing.R, balance.R, atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_states_too_large_to_be_multiplied_get_a_finite_input() -> None:
    """Infinities of both signs may meet in K x, which is a NaN that no clipping removes; whether they do depends on the
    order in which a BLAS adds."""
    regulator = LQR(segway())
    largest = np.finfo(float).max
    for x in ([largest, -largest], [-largest, largest]):
        decision = regulator.step(np.array(x), 0)
        if decision.status is Status.NUMERICAL:
            assert decision.source is Source.BACKUP
            np.testing.assert_array_equal(decision.input, [0.0])
        else:
            assert abs(decision.input[0]) == 4.0
    regulator.K = np.array([[np.inf, 1.0]])
    decision = regulator.step(np.zeros(2), 0)
    assert (decision.status, decision.source) == (Status.NUMERICAL, Source.BACKUP)
    regulator = LQR(segway())
    for x in ([largest, largest], [largest, 0.0]):
        decision = regulator.step(np.array(x), 0)
        assert decision.status is Status.SOLVED
        np.testing.assert_array_equal(decision.input, [-4.0])
