"""Sparse Gaussian processes: against dense formulas by scipy, and where they are exact."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial.distance import cdist

from systems import DimensionMismatch, InvalidValue, Vector
from systems.identification import GaussianProcess, Kernel, RandomFeatures, SparseGaussianProcess, fit_residual
from systems.identification.sparse_gaussian_process import _FittedSparseProcess, inducing_points
from systems.library import CartPole
from tests.systems.identification.plants import TRUE, excited


def samples(count: int = 300, noise: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = rng.uniform(-2.0, 2.0, (count, 2)) * [1.0, 10.0]
    return z, 3.0 + np.sin(2.0 * z[:, 0]) + 0.02 * z[:, 1] + noise * rng.standard_normal(count)


def covariance(kernel: Kernel, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return kernel.signal**2 * np.exp(-0.5 * cdist(a / kernel.lengths, b / kernel.lengths, "sqeuclidean"))


@pytest.fixture(scope="module")
def fitted() -> _FittedSparseProcess:
    (z, y), kernel = samples(), Kernel(np.array([0.8, 20.0]), 1.1, 0.1)
    return _FittedSparseProcess(kernel, z[inducing_points(kernel, z, 12)], z, y, float(y.mean()))


def dense(fitted: _FittedSparseProcess, z: np.ndarray, y: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From the conditional normal distribution of the process with the covariance Q = K Kmm^-1 K, of all samples, and
    the variance that the inducing points leave."""
    kernel, points = fitted.kernel, fitted.points
    factor = linalg.cho_factor(covariance(kernel, points, points))
    cross, here = covariance(kernel, points, z), covariance(kernel, points, at)
    q_zz, q_az = cross.T @ linalg.cho_solve(factor, cross), here.T @ linalg.cho_solve(factor, cross)
    whole = linalg.cho_factor(q_zz + kernel.noise**2 * np.eye(len(z)))
    mean = y.mean() + q_az @ linalg.cho_solve(whole, y - y.mean())
    variance = kernel.signal**2 - np.einsum("ij,ji->i", q_az, linalg.cho_solve(whole, q_az.T))
    return mean, np.sqrt(np.maximum(variance, 0.0))


def test_mean_deviation_and_bound_agree_with_dense_formulas(fitted: _FittedSparseProcess) -> None:
    z, y = samples()
    at = np.random.default_rng(1).uniform(-3.0, 3.0, (40, 2)) * [1.0, 10.0]
    expected = dense(fitted, z, y, at)
    symbol = ca.SX.sym("z", 2)
    f = ca.Function("f", [symbol], [fitted.mean(symbol), fitted.deviation(symbol)])
    for value, number in zip((*f(at.T), *fitted.predict(at)), (*expected, *expected), strict=True):
        np.testing.assert_allclose(np.array(value).ravel(), number, atol=1e-8)
    kernel, cross = fitted.kernel, covariance(fitted.kernel, fitted.points, z)
    q = cross.T @ linalg.solve(covariance(kernel, fitted.points, fitted.points), cross, assume_a="pos")
    evidence = stats.multivariate_normal(np.zeros(len(z)), q + kernel.noise**2 * np.eye(len(z))).logpdf(y - y.mean())
    left = len(z) * kernel.signal**2 - np.trace(q)
    assert fitted.bound == pytest.approx(float(evidence) - left / (2.0 * kernel.noise**2), rel=1e-9)
    whole = covariance(kernel, z, z) + kernel.noise**2 * np.eye(len(z))
    assert fitted.bound < float(stats.multivariate_normal(np.zeros(len(z)), whole).logpdf(y - y.mean()))


def test_with_every_sample_as_a_point_it_is_the_exact_process() -> None:
    z, y = samples(40)
    exact, sparse = GaussianProcess(40).fit(z, y), SparseGaussianProcess(1000).fit(z, y)
    at = np.random.default_rng(1).uniform(-2.5, 2.5, (30, 2)) * [1.0, 10.0]
    for a, b in zip(exact.predict(at), sparse.predict(at), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)
    assert sparse.remarks == ()


def test_points_have_the_largest_variance_given_those_before() -> None:
    z, kernel = samples(60)[0], Kernel(np.array([0.7, 9.0]), 1.3, 0.05)
    chosen = inducing_points(kernel, z, 15)
    for n in (1, 4, 14):
        own = covariance(kernel, z[chosen[:n]], z[chosen[:n]])
        cross = covariance(kernel, z[chosen[:n]], z)
        left = kernel.signal**2 - np.einsum("ij,ij->j", cross, np.linalg.solve(own, cross))
        assert left[chosen[n]] == pytest.approx(left.max(), abs=1e-9)


def test_repeated_samples_are_one_point_and_count_all(fitted: _FittedSparseProcess) -> None:
    z = np.repeat(np.array([[0.0], [1.0], [2.5]]), 30, axis=0)
    y, kernel = z[:, 0] ** 2 + 0.1 * np.random.default_rng(0).standard_normal(90), Kernel(np.ones(1), 5.0, 0.1)
    chosen = inducing_points(kernel, z, 40)
    assert sorted(z[chosen, 0].tolist()) == [0.0, 1.0, 2.5]
    process = _FittedSparseProcess(kernel, z[chosen], z, y, float(y.mean()))
    mean, deviation = process.predict(np.array([[0.0], [1.0], [2.5]]))
    np.testing.assert_allclose(mean, [y[:30].mean(), y[30:60].mean(), y[60:].mean()], atol=0.03)
    assert (deviation < 0.05).all()
    assert process.remarks == ()
    z, y = samples()
    assert "give more of them" in _FittedSparseProcess(fitted.kernel, z[:1], z, y, 3.0).remarks[0]


def test_a_fit_without_samples_is_that_of_the_others(fitted: _FittedSparseProcess) -> None:
    z, y = samples()
    left = np.arange(len(z)) % 5 == 2
    at = np.random.default_rng(1).uniform(-2.0, 2.0, (9, 2))
    again = _FittedSparseProcess(fitted.kernel, fitted.points, z[~left], y[~left], fitted.centre)
    np.testing.assert_array_equal(fitted.without(left).predict(at), again.predict(at))


def features(x: Vector, u: Vector) -> Any:
    return ca.sin(x.angle), ca.cos(x.angle), x.velocity, x.rate, u.force


def test_nominal_plus_a_sparse_residual_is_a_plant() -> None:
    data = excited(TRUE, runs=6, samples=15)
    fit = fit_residual(CartPole(), data, SparseGaussianProcess(25), ("velocity",), features)
    x, u, after = excited(TRUE, runs=2, samples=30, seed=9).transitions()
    nominal = np.array(fit.nominal.function()(x.T, u.T, np.zeros((1, 1)), [])).T - after
    learned = np.array(fit.sampling.function()(x.T, u.T, np.zeros((5, 1)), [])).T - after
    assert np.abs(learned[:, 2]).mean() < 0.1 * np.abs(nominal[:, 2]).mean()
    assert fit.bounded_disturbance.support(fit.plant.disturbance)[1][3] == np.abs(fit.errors[:, 2]).max()


@pytest.mark.parametrize("regression", [GaussianProcess(), RandomFeatures(20), SparseGaussianProcess()], ids=repr)
def test_data_without_a_function_are_refused(
    regression: GaussianProcess | RandomFeatures | SparseGaussianProcess,
) -> None:
    z, y = samples(30)
    for where, value in (((3, 0), np.nan), ((3, 1), np.inf)):
        bad = z.copy()
        bad[where] = value
        with pytest.raises(InvalidValue, match="not finite in 1 of 30 samples, the first at row 3"):
            regression.fit(bad, y)
    with pytest.raises(InvalidValue, match="values that are not finite"):
        regression.fit(z, np.where(np.arange(30) == 4, np.nan, y))
    with pytest.raises(InvalidValue, match="feature 1 is constant"):
        regression.fit(z * [1.0, 0.0], y)
    with pytest.raises(DimensionMismatch, match="expected"):
        regression.fit(z, y[:-1])
    with pytest.raises(InvalidValue, match="at least 2"):
        regression.fit(z[:1], y[:1])
