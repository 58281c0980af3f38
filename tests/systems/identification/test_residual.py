"""Residuals on a nominal plant."""

from __future__ import annotations

import dataclasses
from typing import Any

import casadi as ca
import cloudpickle
import numpy as np
import pytest
from scipy import linalg, stats

from ctrl.comparison.draws import draw
from ctrl.loop import simulate
from mpc import NonlinearMPC
from systems import DimensionMismatch, Discretisation, Gaussian, InvalidValue, Uniform, UnknownName, Vector, signals
from systems.identification import GaussianProcess, RandomFeatures, ResidualFit, Runs, fit_residual
from systems.identification.gaussian_process import Kernel, _FittedProcess, fitted_kernel, spread_points
from systems.identification.learned_plant import LearnedPlant
from systems.library import CartPole, cartpole, double_integrator
from tests.systems.identification.plants import TRUE, RubbingCartPole, excited

REGRESSIONS = (GaussianProcess(80), RandomFeatures(120, seed=1))


def samples(count: int = 40, noise: float = 0.05, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = rng.uniform(-2.0, 2.0, (count, 2)) * [1.0, 10.0]
    return z, 3.0 + np.sin(2.0 * z[:, 0]) + 0.02 * z[:, 1] + noise * rng.standard_normal(count)


def reference(kernel: Kernel, z: np.ndarray, y: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of a Gaussian process by scipy alone, from the conditional normal distribution."""
    from scipy.spatial.distance import cdist

    def k(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return kernel.signal**2 * np.exp(-0.5 * cdist(a / kernel.lengths, b / kernel.lengths, "sqeuclidean"))

    factor = linalg.cho_factor(k(z, z) + kernel.noise**2 * np.eye(len(z)), lower=True)
    cross = k(at, z)
    variance = kernel.signal**2 - np.einsum("ij,ji->i", cross, linalg.cho_solve(factor, cross.T))
    return y.mean() + cross @ linalg.cho_solve(factor, y - y.mean()), np.sqrt(np.maximum(variance, 0.0))


def test_mean_and_deviation_of_a_gaussian_process_agree_with_scipy() -> None:
    z, y = samples()
    fitted = GaussianProcess().fit(z, y)
    assert isinstance(fitted, _FittedProcess)
    at = np.random.default_rng(1).uniform(-3.0, 3.0, (40, 2)) * [1.0, 10.0]
    mean, deviation = reference(fitted.kernel, z, y, at)
    symbol = ca.SX.sym("z", 2)
    f = ca.Function("f", [symbol], [fitted.mean(symbol), fitted.deviation(symbol)])
    for value, expected in zip(f(at.T), (mean, deviation), strict=True):
        np.testing.assert_allclose(np.array(value)[0], expected, atol=1e-8)
    for value, expected in zip(fitted.predict(at), (mean, deviation), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-8)


def test_the_kernel_has_the_largest_marginal_likelihood() -> None:
    z, y = samples()
    y = y - y.mean()
    kernel = fitted_kernel(z, y)

    def evidence(kernel: Kernel) -> float:
        covariance = kernel(z, z) + kernel.noise**2 * np.eye(len(z))
        return float(stats.multivariate_normal(np.zeros(len(z)), covariance).logpdf(y))

    best = evidence(kernel)
    for factor in (0.93, 1.07):
        for i in range(2):
            lengths = kernel.lengths.copy()
            lengths[i] *= factor
            assert evidence(dataclasses.replace(kernel, lengths=lengths)) < best
        for name in ("signal", "noise"):
            assert evidence(dataclasses.replace(kernel, **{name: factor * getattr(kernel, name)})) < best
    assert kernel.noise == pytest.approx(0.05, rel=0.3)


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda r: type(r).__name__)
def test_a_fit_without_samples_solves_for_the_others(regression: GaussianProcess | RandomFeatures) -> None:
    z, y = samples(40)
    fitted, centre, left = regression.fit(z, y), y.mean(), np.arange(40) % 7 == 2
    if isinstance(fitted, _FittedProcess):
        k = fitted.kernel
        weights = np.linalg.solve(k(z[~left], z[~left]) + k.noise**2 * np.eye(int((~left).sum())), y[~left] - centre)
        predicted = centre + k(z[left], z[~left]) @ weights
    else:
        phi = fitted._features(z[~left])  # type: ignore[attr-defined]
        matrix = phi.T @ phi + fitted.noise**2 * np.eye(phi.shape[1])  # type: ignore[attr-defined]
        weights = np.linalg.solve(matrix, phi.T @ (y[~left] - centre))
        predicted = centre + fitted._features(z[left]) @ weights  # type: ignore[attr-defined]
    np.testing.assert_allclose(fitted.without(left).predict(z[left])[0], predicted, atol=1e-6)


def test_errors_are_measured_on_runs_that_the_fit_did_not_see() -> None:
    data = excited(TRUE, runs=7, samples=30)
    fit = fit_residual(CartPole(), data, RandomFeatures(40), ("velocity",), ("velocity", "force"))
    function = fit.functions[2]
    assert function is not None
    x, u, after = data.transitions()
    numbers = np.repeat(np.arange(7), 30)
    held = np.isin(numbers, (1, 6))  # one of five folds
    predicted = np.array(fit.nominal.function()(x[held].T, u[held].T, np.zeros((1, 1)), [])).T
    predicted[:, 2] += function.without(held).predict(np.hstack([x[held, 2:3], u[held]]))[0]
    np.testing.assert_allclose(fit.errors[held], after[held] - predicted, atol=1e-10)


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda r: type(r).__name__)
def test_both_regressions_find_the_function_and_know_where_they_do_not(
    regression: GaussianProcess | RandomFeatures,
) -> None:
    z, y = samples(90, noise=0.02)
    fitted = regression.fit(z, y)
    at = np.random.default_rng(2).uniform(-1.8, 1.8, (50, 2)) * [1.0, 10.0]
    mean, deviation = fitted.predict(at)
    np.testing.assert_allclose(mean, 3.0 + np.sin(2.0 * at[:, 0]) + 0.02 * at[:, 1], atol=0.1)
    assert fitted.predict(np.array([[8.0, 0.0]]))[1][0] > 5.0 * deviation.mean()
    symbol = ca.SX.sym("z", 2)
    f = ca.Function("f", [symbol], [fitted.mean(symbol), fitted.deviation(symbol)])
    for value, expected in zip(f(at.T), (mean, deviation), strict=True):
        np.testing.assert_allclose(np.array(value)[0], expected, atol=1e-9)


def test_points_are_spread() -> None:
    z = np.concatenate([np.zeros((50, 1)), np.linspace(0.0, 1.0, 11)[:, None]])
    assert sorted(z[spread_points(z, 11), 0]) == pytest.approx(np.linspace(0.0, 1.0, 11).tolist())
    assert spread_points(z, 100).tolist() == list(range(61))


def runs(**noise: float) -> Runs:
    return excited(TRUE, runs=6, samples=50, **noise)


@pytest.fixture(scope="module")
def fit() -> ResidualFit:
    return fit_residual(CartPole(), runs(), GaussianProcess(60), ("velocity", "rate"), features)


def features(x: Vector, u: Vector) -> Any:
    return ca.sin(x.angle), ca.cos(x.angle), x.velocity, x.rate, u.force


def test_nominal_plus_residual_predicts_the_true_plant(fit: ResidualFit) -> None:
    held = excited(TRUE, runs=3, samples=50, seed=8)
    x, u, after = held.transitions()
    wrong, learned = (
        np.array(d.function()(x.T, u.T, np.zeros((len(d.plant.disturbance), 1)), [])).T - after
        for d in (Discretisation(CartPole(), 0.05), fit.sampling)
    )
    assert np.sqrt((learned[:, 2:] ** 2).mean()) < 0.01 * np.sqrt((wrong[:, 2:] ** 2).mean())
    inside = np.abs(learned[:, 2:]) <= 2.0 * np.sqrt(np.diag(fit.covariance)[2:])
    assert inside.mean() > 0.9
    assert fit.plant.state == CartPole().state
    assert fit.plant.bounds[1].tolist() == [10.0]
    mean, deviation = fit.mean_and_deviation()(x[0], u[0])
    step = fit.sampling.function()(x[0], u[0], np.zeros(5), []) - fit.nominal.function()(x[0], u[0], [0.0], [])
    np.testing.assert_allclose(mean, step, atol=1e-12)
    assert (np.array(deviation)[:2] == 0).all()
    assert (np.array(deviation)[2:] > 0).all()
    assert "at most" in str(fit)


def test_the_errors_are_the_disturbance_of_a_task_with_the_plant(fit: ResidualFit) -> None:
    task = dataclasses.replace(cartpole(), steps=10, truth=CartPole(cart_mass=1.4))
    learned = fit.task(task, bounded=True)
    low, high = learned.disturbance.support(learned.plant.disturbance)
    assert learned.plant.disturbance.names[:2] == ("push", "position_error")
    np.testing.assert_allclose(high, [0.5, *np.abs(fit.errors).max(axis=0)])
    np.testing.assert_allclose(low, -high)
    with pytest.raises(InvalidValue, match="bounded=True"):
        fit.task(task)
    normal = dataclasses.replace(task, disturbance=Gaussian({"push": 0.3}, {"push": 0.1}))
    gaussian = fit.task(normal).disturbance
    np.testing.assert_allclose(gaussian.covariance(fit.plant.disturbance)[1:, 1:], fit.covariance, atol=1e-12)
    assert gaussian.covariance(fit.plant.disturbance)[0, 0] == pytest.approx(0.09)
    assert gaussian.mean(fit.plant.disturbance)[0] == pytest.approx(0.1)
    with pytest.raises(InvalidValue, match="not bounded"):
        fit.task(normal, bounded=True)
    with pytest.raises(DimensionMismatch, match="give a task with these signals"):
        fit.task(double_integrator())
    # What runs is the true plant of the task, under the task's own disturbance.
    starts, w = draw(learned, 2, [0])
    controller = NonlinearMPC(learned, horizon=5)
    run = simulate(learned, controller, starts, w)
    step = Discretisation(CartPole(cart_mass=1.4), task.dt).function()
    for k in range(10):
        expected = step(run.states[0, k], run.inputs[0, k], w[0, k, :1], [])
        np.testing.assert_allclose(run.states[0, k + 1], np.array(expected)[:, 0], atol=1e-9)
    assert (run.statuses == 0).all()
    again = cloudpickle.loads(cloudpickle.dumps(learned))
    assert again == learned


def test_a_residual_of_periodic_features_is_a_plant_of_angles() -> None:
    """Sine and cosine of an angle as features keep what a whole turn must not change."""
    fit = fit_residual(CartPole(), runs(), RandomFeatures(30), ("rate",), features)
    f = fit.sampling.function()
    a, b = (np.array(f([0.0, angle, 0.0, 1.0], [1.0], np.zeros(5), []))[:, 0] for angle in (0.3, 0.3 + 2.0 * np.pi))
    np.testing.assert_allclose((b - a)[[0, 2, 3]], 0.0, atol=1e-9)


def test_misuse_is_refused() -> None:
    data = runs()
    with pytest.raises(UnknownName, match="speed"):
        fit_residual(CartPole(), data, GaussianProcess(), ("speed",), ("velocity",))
    with pytest.raises(UnknownName, match="speed"):
        fit_residual(CartPole(), data, GaussianProcess(), ("velocity",), ("speed",))
    with pytest.raises(InvalidValue, match="residual of no state"):
        fit_residual(CartPole(), data, GaussianProcess(), (), ("velocity",))
    with pytest.raises(InvalidValue, match="feature one is constant"):
        fit_residual(CartPole(), data, GaussianProcess(), ("rate",), lambda x, u: {"one": ca.SX(1), "v": x.velocity})
    few = excited(TRUE, runs=1, samples=10)
    with pytest.raises(InvalidValue, match="at least 20 samples"):
        fit_residual(CartPole(), few, GaussianProcess(), ("rate",), ("velocity", "force"))
    with pytest.raises(InvalidValue, match="GaussianProcess"):
        fit_residual(CartPole(), data, "gp", ("rate",), ("velocity",))  # type: ignore[arg-type]
    twenty = RandomFeatures(20)
    fit = fit_residual(RubbingCartPole(), data, twenty, ("rate",), ("velocity",))
    assert isinstance(fit.bounded_disturbance, Uniform)


def test_limits_of_another_number_of_inputs_are_refused() -> None:
    x, u, w = ca.SX.sym("x"), ca.SX.sym("u", 2), ca.SX.sym("w", 0)
    made = ca.Function("f", [x, u, w], [0.5 * x + u[0]]), signals("x"), signals("u", "v"), signals()
    assert LearnedPlant(*made, 1.0, ((-1.0, 1.0), (-2.0, 2.0))).limits() == {"u": (-1.0, 1.0), "v": (-2.0, 2.0)}
    assert LearnedPlant(*made, 1.0).limits() == {}
    with pytest.raises(DimensionMismatch, match="input_limits of 1 inputs"):
        LearnedPlant(*made, 1.0, ((-1.0, 1.0),))
