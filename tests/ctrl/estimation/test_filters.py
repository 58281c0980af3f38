"""Filters against scipy, conditioning of one joint Gaussian and independent code, and on their own noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import casadi as ca
import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from ctrl import NotApplicable, Status
from ctrl.estimation import (
    Estimator,
    ExtendedKalmanFilter,
    KalmanFilter,
    LuenbergerObserver,
    SteadyKalmanFilter,
    UnscentedKalmanFilter,
)
from mpc.estimation.moving_horizon import MovingHorizonEstimator
from systems import (
    DimensionMismatch,
    Gaussian,
    InvalidValue,
    LinearPlant,
    Measurement,
    Plant,
    Quadratic,
    Task,
    Uniform,
    angle,
    signals,
)
from systems.library import pendulum
from systems.measurement import Sensors

A = np.array([[1.0, 0.1, 0.0], [-0.05, 0.95, 0.1], [0.0, 0.0, 0.9]])
B, E, C = np.array([[0.0], [0.1], [0.2]]), np.array([[0.0, 0.0], [0.3, 0.0], [0.1, 0.5]]), np.array([[1.0, 0.0, 0.2]])
W, R, P0 = np.diag([0.04, 0.09]), np.array([[0.01]]), np.diag([0.5, 0.2, 0.1])
LINEAR = Task(
    "linear",
    LinearPlant(A, B, E, dt=0.1, input_limits=((-1.0, 1.0),)),
    0.1,
    50,
    Quadratic(Q=[1, 1, 1], R=[1]),
    Gaussian(average=[0.3, 0.0, -0.1], covariance_matrix=P0),
    disturbance=Gaussian(covariance_matrix=W, average=[0.1, -0.05]),
    measurement=Measurement(
        signals("y [-]"),
        lambda x, u: (x.x1 + 0.2 * x.x3 + 0.5 * u.u1,),
        noise=Gaussian(covariance_matrix=R, average=[0.2]),
    ),
)
PENDULUM = dataclasses.replace(
    pendulum(),
    initial=Gaussian({"angle": 0.3, "rate": 0.4}),
    disturbance=Gaussian({"push": 0.02}),
    measurement=Measurement(signals("angle [rad]"), noise=Gaussian({"angle": 0.03})),
)
FILTERS: dict[str, Callable[[Task], Estimator]] = {
    "kalman": KalmanFilter,
    "extended": ExtendedKalmanFilter,
    "unscented": UnscentedKalmanFilter,
    "steady": SteadyKalmanFilter,
    "luenberger": lambda task: LuenbergerObserver(task, np.linspace(0.3, 0.5, len(task.plant.state))),
}


def data(task: Task, samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States (samples, n) of one run under random inputs, those inputs before each sample, and the reports."""
    assert task.measurement is not None
    rng, plant = np.random.default_rng(seed), task.plant
    sensors, step = Sensors(task.measurement, plant), task.dynamics.function()
    x, u = task.initial.sample(plant.state, rng), task.reading.start[1]
    states, inputs, outputs = [], [], []
    for k in range(samples):
        states.append(x)
        inputs.append(u)
        outputs.append(sensors.read(x, u, k, task.measurement.sample(rng, rng, ())))
        u = rng.uniform(-0.5, 0.5, len(plant.input))
        x = np.array(step(x, u, task.disturbance.sample(plant.disturbance, rng), []))[:, 0]
    return np.array(states), np.array(inputs), np.array(outputs)


def test_the_kalman_filter_settles_at_the_riccati_solution_of_scipy() -> None:
    P = linalg.solve_discrete_are(A.T, C.T, E @ W @ E.T, R)
    gain = P @ C.T / (C @ P @ C.T + R)
    steady, varying = SteadyKalmanFilter(LINEAR), KalmanFilter(LINEAR)
    np.testing.assert_allclose(steady.L, gain, atol=1e-10)
    np.testing.assert_allclose(steady.P, P, atol=1e-10)
    for k in range(300):
        estimate = varying.update(np.zeros(1), np.zeros(1), k)
    np.testing.assert_allclose(estimate.covariance, P - gain @ C @ P, atol=1e-10)
    np.testing.assert_allclose(steady.covariance, P - gain @ C @ P, atol=1e-10)


def joint(task: Task, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and covariance of all states and noiseless outputs of a run, stacked, and where the outputs begin."""
    samples, n = len(inputs), len(A)
    mean, roots = np.array([0.3, 0.0, -0.1]), [np.linalg.cholesky(P0)]
    width = n + 2 * samples
    state = np.zeros((n, width))
    state[:, :n] = roots[0]
    means, maps, outs, offsets = [], [], [], []
    for k in range(samples):
        means.append(mean)
        maps.append(state)
        outs.append(C @ state)
        offsets.append(C @ mean + 0.5 * inputs[k] + 0.2)
        if k + 1 < samples:
            mean, state = A @ mean + B @ inputs[k + 1] + E @ np.array([0.1, -0.05]), A @ state
            state[:, n + 2 * k : n + 2 * k + 2] += E @ np.sqrt(W)
    return np.concatenate([*means, *offsets]), np.vstack([*maps, *outs]), np.array(samples * n)


@pytest.mark.parametrize("kind", ["kalman", "extended", "unscented"])
@pytest.mark.parametrize("changes", [{}, {"delay": 2}, {"delay": 1, "every": 3}, {"delay": 3, "dropout": 0.4}], ids=str)
def test_the_estimate_is_the_mean_given_all_that_was_reported(kind: str, changes: dict[str, float]) -> None:
    """An oracle without recursion: all states and outputs are one Gaussian, conditioned on the reports."""
    measurement = dataclasses.replace(LINEAR.measurement, **changes)  # type: ignore[type-var]
    task = dataclasses.replace(LINEAR, measurement=measurement)
    _, inputs, reports = data(task, 12)
    assert np.isnan(reports).any() == bool(changes)
    mean, root, start = joint(task, inputs)
    covariance, delay = root @ root.T, int(changes.get("delay", 0))
    estimator = FILTERS[kind](task)
    for k in range(12):
        estimate = estimator.update(reports[k], inputs[k], k)
        rows = np.array([start + j - delay for j in range(k + 1) if np.isfinite(reports[j, 0])], dtype=int)
        values = np.array([reports[j, 0] for j in range(k + 1) if np.isfinite(reports[j, 0])])
        at = slice(3 * k, 3 * k + 3)
        gain = covariance[at][:, rows] @ np.linalg.inv(covariance[np.ix_(rows, rows)] + R[0, 0] * np.eye(len(rows)))
        np.testing.assert_allclose(estimate.state, mean[at] + gain @ (values - mean[rows]), atol=1e-9)
        np.testing.assert_allclose(estimate.covariance, covariance[at, at] - gain @ covariance[rows, at], atol=1e-9)
        assert (estimate.status, estimate.used) == (Status.SOLVED, int(np.isfinite(reports[k, 0])))


def test_the_extended_filter_is_that_of_independent_code() -> None:
    states, inputs, reports = data(PENDULUM, 60, seed=3)
    x, P, dt, inertia = np.zeros(2), np.diag([0.09, 0.16]), 0.05, 0.15 * 0.25
    estimator, worst = ExtendedKalmanFilter(PENDULUM), 0.0
    for k in range(60):
        if k:
            rate = 9.81 / 0.5 * np.sin(x[0]) + (inputs[k, 0] - 0.1 * x[1]) / inertia
            F = np.array([[1.0, dt], [dt * 9.81 / 0.5 * np.cos(x[0]), 1.0 - dt * 0.1 / inertia]])
            G = np.array([0.0, dt / inertia])
            x = x + dt * np.array([x[1], rate])
            P = F @ P @ F.T + 0.02**2 * np.outer(G, G)
        K = P[:, 0] / (P[0, 0] + 0.03**2)
        x, P = x + K * (reports[k, 0] - x[0]), P - np.outer(K, P[0])
        estimate = estimator.update(reports[k], inputs[k], k)
        np.testing.assert_allclose(estimate.state, x, atol=1e-10)
        np.testing.assert_allclose(estimate.covariance, P, atol=1e-12)
        worst = max(worst, np.abs(x - states[k]).max())
    assert worst < 1.5


@pytest.mark.parametrize(("kind", "task"), [("kalman", LINEAR), ("extended", PENDULUM), ("unscented", PENDULUM)])
@pytest.mark.every(3)
def test_errors_are_as_large_as_the_filter_says(kind: str, task: Task) -> None:
    """The normalised squared error of the estimate, averaged over 200 runs, within its 95 % band (Bar-Shalom, Li &
    Kirubarajan, 2001, section 5.4), of which one sample in 20 may be outside by chance."""
    runs, samples = 200, 10
    n, total, estimator = len(task.plant.state), np.zeros(samples), FILTERS[kind](task)
    for seed in range(runs):
        states, inputs, reports = data(task, samples, seed)
        estimator.reset()
        for k in range(samples):
            estimate = estimator.update(reports[k], inputs[k], k)
            error = estimate.state - states[k]
            total[k] += error @ np.linalg.solve(estimate.covariance, error)
    low, high = stats.chi2(runs * n).ppf([0.025, 0.975])
    assert ((total < low) | (total > high)).sum() <= 2
    low, high = stats.chi2(runs * n).ppf([1e-4, 1 - 1e-4])
    assert ((total > low) & (total < high)).all()


def test_the_error_of_luenbergers_observer_has_its_poles() -> None:
    poles = np.array([0.5 + 0.2j, 0.5 - 0.2j, 0.3])
    task = dataclasses.replace(LINEAR, disturbance=Gaussian(), initial=Gaussian())
    observer = LuenbergerObserver(task, poles)
    error = (np.eye(3) - observer.L @ C) @ A
    np.testing.assert_allclose(np.sort_complex(np.linalg.eigvals(error)), np.sort_complex(poles), atol=1e-8)
    x, u, before = np.array([1.0, -1.0, 0.5]), np.zeros(1), None
    for k in range(25):
        estimate = observer.update(C @ x + 0.5 * u + 0.2, u, k)
        off = estimate.state - x
        if before is not None:
            np.testing.assert_allclose(off, error @ before, atol=1e-10)
        before, u = off, np.array([np.sin(k)])
        x = A @ x + B @ u
    assert np.abs(off).max() < 1e-3


def test_angles_are_compared_the_shortest_way_round() -> None:
    turning = dataclasses.replace(
        PENDULUM, measurement=Measurement(signals(angle("angle [rad]")), noise=Gaussian({"angle": 0.03}))
    )
    _, inputs, reports = data(turning, 10)
    for kind in ("extended", "unscented", "steady", "luenberger"):
        one, other = FILTERS[kind](turning), FILTERS[kind](turning)
        for k in range(10):
            near, far = (
                f.update(reports[k] + turn, inputs[k], k).state for f, turn in ((one, 0.0), (other, 6 * np.pi))
            )
            np.testing.assert_allclose(near, far, atol=1e-9)


@pytest.mark.parametrize("kind", ["extended", "unscented", "steady", "luenberger"])
def test_without_a_report_the_estimate_is_the_prediction(kind: str) -> None:
    estimator = FILTERS[kind](PENDULUM)
    first = estimator.update(np.array([0.2]), np.zeros(1), 0)
    second = estimator.update(np.array([np.nan]), np.array([0.3]), 1)
    predicted = np.array(PENDULUM.dynamics.function()(first.state, 0.3, 0, []))[:, 0]
    np.testing.assert_allclose(second.state, predicted, atol=2e-2 if kind == "unscented" else 1e-12)
    assert (second.used, second.status) == (0, Status.SOLVED)


NUMBERS = st.one_of(st.floats(), st.sampled_from([np.nan, np.inf, -np.inf, 1e308, -1e200, 0.0]))


@pytest.mark.parametrize("kind", ["extended", "unscented", "steady", "luenberger"])
@given(rows=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_no_number_raises_or_gives_nan(kind: str, rows: list[tuple[float, float]]) -> None:
    estimator = MADE[kind]
    estimator.reset()
    for k, (y, u) in enumerate(rows):
        estimate = estimator.update(np.array([y]), np.array([u]), k)
        assert np.isfinite(estimate.state).all()
        assert estimate.covariance is None or np.isfinite(estimate.covariance).all()


MADE = {kind: FILTERS[kind](PENDULUM) for kind in ("extended", "unscented", "steady", "luenberger")}


def test_a_number_that_overflows_is_omitted_and_reported() -> None:
    estimator = ExtendedKalmanFilter(PENDULUM)
    estimator.update(np.array([0.1]), np.zeros(1), 0)
    good = estimator.update(np.array([0.1]), np.zeros(1), 1).state
    estimator._P = np.full((2, 2), 1e308)
    bad = estimator.update(np.array([0.1]), np.zeros(1), 2)
    assert bad.status is Status.NUMERICAL
    assert np.isfinite(bad.state).all()
    assert np.abs(bad.state - good).max() < 1.0


def test_exact_outputs_are_believed() -> None:
    exact = dataclasses.replace(LINEAR, measurement=Measurement(signals("x1 [-]", "x2 [-]", "x3 [-]")))
    states, inputs, reports = data(exact, 5)
    estimator = KalmanFilter(exact)
    for k in range(5):
        np.testing.assert_allclose(estimator.update(reports[k], inputs[k], k).state, states[k], atol=1e-9)
    with pytest.raises(NotApplicable, match="without noise"):
        SteadyKalmanFilter(exact)


def test_what_cannot_be_estimated_is_refused_with_what_to_do() -> None:
    with pytest.raises(NotApplicable, match="has no measurement"):
        KalmanFilter(pendulum())
    with pytest.raises(NotApplicable, match="use ExtendedKalmanFilter"):
        KalmanFilter(PENDULUM)
    noise = Gaussian([0.1])
    rare = dataclasses.replace(LINEAR, measurement=Measurement(signals("x1 [-]"), noise=noise, every=2))
    with pytest.raises(NotApplicable, match="every few samples"):
        SteadyKalmanFilter(rare)
    late = dataclasses.replace(LINEAR, measurement=Measurement(signals("x1 [-]"), noise=noise, delay=2))
    assert SteadyKalmanFilter(late).L.shape == (5, 1)
    with pytest.raises(NotApplicable, match="delay"):
        LuenbergerObserver(late, [0.1, 0.2, 0.3])
    walk = LinearPlant(np.eye(2), [[0.1], [0.1]], [[1.0, 0.0], [0.0, 1.0]], dt=0.1)
    blind = Task(
        "blind", walk, 0.1, 5, Quadratic(Q=[1, 1], R=[1]), Gaussian([1.0, 1.0]),
        disturbance=Gaussian([0.1, 0.1]), measurement=Measurement(signals("x1 [-]"), noise=noise),
    )  # fmt: skip
    with pytest.raises(NotApplicable, match="no signal shows them"):
        SteadyKalmanFilter(blind)
    with pytest.raises(NotApplicable, match="no observer has the poles"):
        LuenbergerObserver(blind, [0.1, 0.2])
    for poles in ([0.1, 0.2], [0.1, 0.2, 1.0]):
        with pytest.raises(InvalidValue, match="within the unit circle"):
            LuenbergerObserver(LINEAR, poles)
    with pytest.raises(InvalidValue, match="at least 0"):
        KalmanFilter(LINEAR, model_error={"x1": -1.0})
    with pytest.raises(DimensionMismatch, match="measurement of shape"):
        KalmanFilter(LINEAR).update(np.zeros(2), np.zeros(1), 0)
    with pytest.raises(InvalidValue, match="real numbers"):
        KalmanFilter(LINEAR).update(np.array(["a"]), np.zeros(1), 0)


@pytest.mark.parametrize("kind", [KalmanFilter, SteadyKalmanFilter, MovingHorizonEstimator])
def test_an_input_of_another_shape_or_kind_is_refused(kind: type) -> None:
    estimator = kind(LINEAR)
    for wrong in (np.zeros(2), 0.0):
        with pytest.raises(DimensionMismatch, match=r"input of shape .* expected \(1,\)"):
            estimator.update(np.zeros(1), wrong, 0)
    for nothing in (None, "full", [True]):
        with pytest.raises(InvalidValue, match="real numbers"):
            estimator.update(np.zeros(1), nothing, 0)
    assert np.isfinite(estimator.update(np.zeros(1), np.array([np.inf]), 0).state).all()


def test_approximations_are_announced() -> None:
    assert KalmanFilter(LINEAR).approximations == ()
    uniform = dataclasses.replace(
        PENDULUM,
        disturbance=Uniform([-0.1], [0.1]),
        measurement=Measurement(signals("angle [rad]"), noise=Uniform([-0.1], [0.1]), quantum=0.01),
    )
    said = " ".join(ExtendedKalmanFilter(uniform).approximations)
    for what in ("disturbance and noise for Gaussian", "rounding", "linearisation at the estimate"):
        assert what in said
    assert "approximates" in repr(ExtendedKalmanFilter(uniform))


def test_a_model_error_keeps_the_filter_open() -> None:
    still = dataclasses.replace(LINEAR, disturbance=Gaussian())
    closed, open_ = KalmanFilter(still), KalmanFilter(still, model_error={"x3": 0.2})
    for k in range(200):
        one, other = (f.update(np.zeros(1), np.zeros(1), k).covariance for f in (closed, open_))
    P = linalg.solve_discrete_are(A.T, C.T, np.diag([0.0, 0.0, 0.04]), R)
    np.testing.assert_allclose(other, P - P @ C.T @ C @ P / (C @ P @ C.T + R), atol=1e-9)
    assert np.trace(one) < 0.1 * np.trace(other)


def test_points_carry_the_moments_of_a_square() -> None:
    """Of a Gaussian x with mean a and deviation s, x^2 has the mean a^2 + s^2 and the variance 4 a^2 s^2 + 2 s^4, which
    points with the fourth moment of a Gaussian give exactly."""

    @dataclasses.dataclass(frozen=True)
    class Square(Plant):
        dt: float = 1.0

        state, input = signals("x"), signals("u")

        def step(self, x: Any, u: Any, w: Any) -> Any:
            return (x.x**2 + u.u,)

    a, s = 0.7, 0.4
    measurement = Measurement(signals("y"), lambda x, u: (x.x**2,), noise=Gaussian([0.3]))
    task = Task("square", Square(), 1.0, 5, Quadratic(Q=[1], R=[1]), Gaussian([s], [a]), measurement=measurement)
    estimator = UnscentedKalmanFilter(task)
    estimator.update(np.array([np.nan]), np.zeros(1), 0)
    predicted = estimator.update(np.array([np.nan]), np.zeros(1), 1)
    variance = 4 * a**2 * s**2 + 2 * s**4
    assert predicted.state == pytest.approx([a**2 + s**2])
    assert predicted.covariance == pytest.approx(np.array([[variance]]))
    estimator.reset()
    corrected = estimator.update(np.array([1.2]), np.zeros(1), 0)
    gain = 2 * a * s**2 / (variance + 0.09)
    assert corrected.state == pytest.approx([a + gain * (1.2 - a**2 - s**2)])
    assert corrected.covariance == pytest.approx(np.array([[s**2 - gain**2 * (variance + 0.09)]]))


@pytest.mark.parametrize("kind", FILTERS)
def test_a_copy_knows_nothing_of_the_past(kind: str) -> None:
    estimator, fresh = FILTERS[kind](LINEAR), FILTERS[kind](LINEAR)
    for k in range(3):
        estimator.update(np.ones(1), np.zeros(1), k)
    sent = cloudpickle.loads(cloudpickle.dumps(estimator))
    estimator.reset()
    expected = fresh.update(np.ones(1), np.zeros(1), 0).state
    for other in (estimator, sent):
        np.testing.assert_array_equal(other.update(np.ones(1), np.zeros(1), 0).state, expected)


def test_a_measurement_that_jumps_is_not_affine() -> None:
    """Its slope is constant almost everywhere, and a Kalman filter would leave out the jump."""
    jumping = Measurement(signals("side"), lambda x, u: ca.sign(x.x1), noise=Gaussian([0.1]))
    KalmanFilter(LINEAR)
    with pytest.raises(NotApplicable, match="not affine"):
        KalmanFilter(dataclasses.replace(LINEAR, measurement=jumping))
