"""Linear plants from data: least squares and subspace."""

from __future__ import annotations

import numpy as np
import pytest

from ctrl.estimation import SteadyKalmanFilter
from systems import Gaussian, InvalidValue, LinearPlant, Quadratic, Task, signals
from systems.identification import Runs, fit_linear, fit_subspace

A = np.array([[0.9, 0.3, 0.0], [-0.3, 0.9, 0.1], [0.0, 0.0, 0.6]])
B = np.array([[0.0], [0.2], [1.0]])
C0 = np.array([0.1, 0.0, -0.2])
PLANT = LinearPlant(A, B, c=C0, dt=0.1)


def state_runs(seed: int = 0, samples: int = 80, runs: int = 5, feedback: bool = False) -> Runs:
    rng, root = np.random.default_rng(seed), np.array([[0.05, 0.0, 0.0], [0.02, 0.04, 0.0], [0.0, 0.0, 0.1]])
    states, inputs = [], []
    for _ in range(runs):
        x, u = [rng.normal(size=3)], []
        for _ in range(samples):
            u.append([-0.5 * x[-1][0]] if feedback else rng.normal(size=1))
            x.append(A @ x[-1] + B @ u[-1] + C0 + root @ rng.normal(size=3))
        states.append(np.array(x))
        inputs.append(np.array(u))
    return Runs(tuple(states), tuple(inputs), 0.1, PLANT.state, PLANT.input)


def output_runs(seed: int = 0, samples: int = 400, runs: int = 3) -> Runs:
    """Runs of which the first state alone is measured, with noise."""
    rng = np.random.default_rng(seed)
    y, u = [], []
    for _ in range(runs):
        x, inputs, outputs = np.zeros(3), rng.normal(size=(samples, 1)), []
        for k in range(samples + 1):
            outputs.append([x[0] + 0.1 * rng.normal()])
            if k < samples:
                x = A @ x + B @ inputs[k] + C0 + 0.05 * rng.normal(size=3)
        y.append(np.array(outputs))
        u.append(inputs)
    return Runs(tuple(y), tuple(u), 0.1, signals("level [m]"), PLANT.input)


def test_least_squares_recovers_matrices_poles_and_noise() -> None:
    fit = fit_linear(state_runs())
    estimate = np.hstack([fit.plant.A, fit.plant.B, fit.plant.c[:, None]])
    errors = np.abs(estimate - np.hstack([A, B, C0[:, None]]))
    assert (errors <= 2.0 * fit.half_widths).all()
    assert (errors <= fit.half_widths).mean() >= 0.8
    assert fit.poles.hold(np.linalg.eigvals(A)).all()
    root = np.array([[0.05, 0.0, 0.0], [0.02, 0.04, 0.0], [0.0, 0.0, 0.1]])
    np.testing.assert_allclose(fit.covariance, root @ root.T, atol=1.5e-3)
    assert "pole 0.9" in str(fit)


def test_intervals_of_matrices_and_poles_cover_as_they_say() -> None:
    inside, poles = [], []
    for seed in range(60):
        fit = fit_linear(state_runs(seed, samples=40, runs=3))
        inside.append(np.abs(fit.plant.A - A) <= fit.half_widths[:, :3])
        poles.append(fit.poles.hold(np.linalg.eigvals(A)))
    assert 0.92 <= np.mean(inside) <= 0.98
    assert 0.85 <= np.mean(poles) <= 1.0  # both parts at once: 0.9 at least


def test_intervals_are_those_of_the_textbook() -> None:
    """Of matrices by the formula of each row, of poles by differences of the eigenvalues."""
    from scipy.stats import t

    runs = state_runs(samples=30, runs=2)
    fit = fit_linear(runs)
    x, u, after = runs.transitions()
    regressors = np.hstack([x, u, np.ones((len(x), 1))])
    inverse, freedom = np.linalg.inv(regressors.T @ regressors), len(x) - 5
    errors = after - regressors @ np.hstack([fit.plant.A, fit.plant.B, fit.plant.c[:, None]]).T
    for i in range(3):
        deviation = np.sqrt(errors[:, i] @ errors[:, i] / freedom * np.diag(inverse))
        np.testing.assert_allclose(fit.half_widths[i], t.ppf(0.975, freedom) * deviation)
    np.testing.assert_allclose(fit.largest, np.abs(errors).max(axis=0))
    slopes = np.zeros((3, 3, 3), complex)
    for r in range(3):
        for s in range(3):
            changed = fit.plant.A.copy()
            changed[r, s] += 1e-6
            new = np.linalg.eigvals(changed)
            slopes[r, s] = [new[np.abs(new - pole).argmin()] - pole for pole in fit.poles.values]
    slopes /= 1e-6
    for k, pole in enumerate(fit.poles.values):
        variance = sum(
            slopes[r, s, k].real * slopes[q, v, k].real * fit.covariance[r, q] * inverse[s, v]
            for r in range(3) for s in range(3) for q in range(3) for v in range(3)
        )  # fmt: skip
        half = (fit.poles.high[k] - pole).real
        assert half == pytest.approx(t.ppf(0.975, freedom) * np.sqrt(variance), rel=1e-3)


def test_a_fitted_linear_plant_is_a_task_s_plant() -> None:
    fit = fit_linear(state_runs())
    task = Task(
        "fitted", fit.plant, 0.1, 10, Quadratic([1.0] * 3, [1.0]), Gaussian([1.0] * 3), disturbance=fit.disturbance
    )
    np.testing.assert_allclose(task.disturbance.covariance(fit.plant.disturbance), fit.covariance, atol=1e-12)
    x, u, w = np.arange(3.0), np.ones(1), np.array([1.0, 2.0, 3.0])
    expected = fit.plant.A @ x + fit.plant.B @ u + fit.plant.c + w
    np.testing.assert_allclose(np.array(task.dynamics.function()(x, u, w, []))[:, 0], expected)


def test_data_that_do_not_excite_are_refused() -> None:
    with pytest.raises(InvalidValue, match="do not tell x1, u1 apart"):
        fit_linear(state_runs(feedback=True))
    runs = state_runs()
    still = Runs(runs.states, tuple(np.zeros_like(u) for u in runs.inputs), 0.1, runs.state, runs.input)
    with pytest.raises(InvalidValue, match="u1 is zero at all samples"):
        fit_linear(still)
    with pytest.raises(InvalidValue, match="more than twice as many"):
        fit_linear(state_runs(samples=3, runs=1))
    with pytest.raises(InvalidValue, match="longer runs"):
        fit_subspace(output_runs(samples=30, runs=1), 2)
    with pytest.raises(InvalidValue, match="order"):
        fit_subspace(output_runs(), 9)


def test_subspace_poles_of_a_known_plant_lie_in_their_intervals() -> None:
    fit = fit_subspace(output_runs(), 3, draws=40)
    assert fit.poles.hold(np.linalg.eigvals(A)).all(), str(fit)
    assert (fit.poles.high.real - fit.poles.low.real < 0.5).all()

    # Gain and steady state do not depend on the coordinates of the state.
    def gain(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return np.array([c @ np.linalg.matrix_power(a, k) @ b for k in range(15)]).ravel()

    np.testing.assert_allclose(gain(fit.plant.A, fit.plant.B, fit.C), gain(A, B, np.eye(3)[:1]), atol=0.05)
    rest = fit.C @ np.linalg.solve(np.eye(3) - fit.plant.A, fit.plant.c) + fit.d
    assert rest[0] == pytest.approx(np.linalg.solve(np.eye(3) - A, C0)[0], abs=0.1)


def test_without_noise_subspace_is_exact_and_shows_the_order() -> None:
    rng = np.random.default_rng(0)
    u = rng.normal(size=(300, 1))
    x = [np.zeros(3)]
    for k in range(300):
        x.append(A @ x[-1] + B @ u[k])
    outputs = np.array(x)[:, :1] + 1e-7 * rng.normal(size=(301, 1))
    runs = Runs((outputs,), (u,), 0.1, signals("level [m]"), PLANT.input)
    fit = fit_subspace(runs, 3, draws=20)
    np.testing.assert_allclose(np.sort_complex(fit.poles.values), np.sort_complex(np.linalg.eigvals(A)), atol=1e-4)
    assert fit.singular_values[2] > 50.0 * fit.singular_values[3]


def test_the_noise_of_a_subspace_fit_serves_the_kalman_filter() -> None:
    """The estimator of the package, from the fitted task alone, predicts as well as the innovations form."""
    fit = fit_subspace(output_runs(), 3, draws=20)
    task = Task(
        "fitted", fit.plant, 0.1, 10, Quadratic([1.0] * 3, [1.0]), Gaussian([1.0] * 3),
        disturbance=fit.disturbance, measurement=fit.measurement,
    )  # fmt: skip
    observer = SteadyKalmanFilter(task)
    held = output_runs(seed=9)

    def error(gain: np.ndarray) -> float:
        squares = []
        for y, u in zip(held.states, held.inputs, strict=True):
            x = np.zeros(3)
            for k in range(len(u)):
                e = y[k] - fit.C @ x - fit.d
                x = fit.plant.A @ x + fit.plant.B @ u[k] + fit.plant.c + gain @ e
                squares.append(e**2 if k > 20 else 0.0 * e)
        return float(np.sqrt(np.mean(squares)))

    assert error(fit.plant.A @ observer.L) < 1.01 * error(fit.K)
    np.testing.assert_allclose(fit.C @ observer.P @ fit.C.T + fit.output, fit.innovations, rtol=0.05)
    # The true filter predicts the output with the same error.
    from scipy.linalg import solve_discrete_are

    c = np.eye(3)[:1]
    prior = solve_discrete_are(A.T, c.T, 0.05**2 * np.eye(3), np.array([[0.01]]))
    assert fit.innovations[0, 0] == pytest.approx((c @ prior @ c.T)[0, 0] + 0.01, rel=0.1)
