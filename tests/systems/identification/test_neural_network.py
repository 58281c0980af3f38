"""Ensembles of small networks as residuals."""

from __future__ import annotations

import dataclasses
from typing import Any

import casadi as ca
import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from systems import Discretisation, InvalidValue, Vector
from systems.identification import NeuralNetwork, ResidualFit, fit_residual, validate
from systems.identification.neural_network import _FittedEnsemble
from systems.library import CartPole, cartpole
from tests.systems.identification.plants import TRUE, excited

NOISE = 0.05


def function(z: np.ndarray) -> np.ndarray:
    return np.asarray(3.0 + np.sin(2.0 * z[:, 0]) + 0.02 * z[:, 1])


def samples(count: int = 100, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = rng.uniform(-2.0, 2.0, (count, 2)) * [1.0, 10.0]
    return z, function(z) + NOISE * rng.standard_normal(count)


@pytest.fixture(scope="module")
def fitted() -> _FittedEnsemble:
    made = NeuralNetwork().fit(*samples())
    assert isinstance(made, _FittedEnsemble)
    return made


def test_the_function_is_found_and_its_deviation_is_conservative() -> None:
    at = np.random.default_rng(2).uniform(-1.8, 1.8, (300, 2)) * [1.0, 10.0]
    inside, ratios = [], []
    for seed in range(4):
        mean, deviation = NeuralNetwork(seed=seed).fit(*samples(seed=seed)).predict(at)
        errors = mean - function(at)
        assert np.sqrt((errors**2).mean()) < NOISE
        inside.append(np.abs(errors) <= 2.0 * deviation)
        ratios.append((deviation**2).mean() / (errors**2).mean())
    assert np.mean(inside) > 0.9
    assert np.mean(ratios) > 1.0


def test_the_deviation_is_larger_away_from_the_data(fitted: _FittedEnsemble) -> None:
    near, far = (fitted.predict(np.array([[z, 0.0]]))[1][0] for z in (0.5, 8.0))
    assert far > 5.0 * near


def test_mean_and_deviation_are_those_of_the_jackknife(fitted: _FittedEnsemble) -> None:
    at = np.random.default_rng(3).uniform(-3.0, 3.0, (40, 2))
    values = np.array([network.predict(at) for network in fitted.networks])
    mean = values.sum(axis=0) / 5
    deviation = np.sqrt(4 / 5 * ((values - mean) ** 2).sum(axis=0))
    symbol = ca.SX.sym("z", 2)
    f = ca.Function("f", [symbol], [fitted.mean(symbol), fitted.deviation(symbol)])
    for value, predicted, expected in zip(f(at.T), fitted.predict(at), (mean, deviation), strict=True):
        np.testing.assert_allclose(np.array(value)[0], expected, atol=1e-12)
        np.testing.assert_allclose(predicted, expected, atol=1e-12)
    assert "jackknife" in fitted.remarks[0]


def test_jacobian_and_expression_belong_to_the_function(fitted: _FittedEnsemble) -> None:
    network, at = fitted.networks[0], np.array([[0.3, -2.0]])
    numeric = approx_fprime(
        network.weights, lambda v: network.at(v, 1.0, 1.0).predict(at)[0] / network.scale, epsilon=1e-7
    )
    np.testing.assert_allclose(network.jacobian(at)[0], numeric, atol=1e-6)


def test_training_ends_in_a_minimum_and_hyperparameters_fit_the_data(fitted: _FittedEnsemble) -> None:
    z, y = samples()
    for j, network in enumerate(fitted.networks):
        kept = np.arange(100) // 20 != j
        here = network.loss(z[kept], y[kept])
        loss = lambda v, n=network, kept=kept: n.at(v, n.decay, n.precision).loss(z[kept], y[kept])  # noqa: E731
        assert minimize(loss, network.weights, options={"maxiter": 20}).fun > here * (1 - 2e-3)
        assert network.scale / np.sqrt(network.precision) == pytest.approx(NOISE, rel=0.25)


def test_a_fit_without_samples_does_not_depend_on_them() -> None:
    z, y = samples(120)
    left = np.arange(120) % 3 == 0
    first = NeuralNetwork(10, 2).fit(z, y)
    assert isinstance(first, _FittedEnsemble)
    other = _FittedEnsemble(first.networks, first._data[0], first._data[1], z, np.where(left, 100.0, y))
    at = samples(20, seed=5)[0]
    np.testing.assert_array_equal(first.without(left).predict(at), other.without(left).predict(at))
    assert np.sqrt(np.mean((first.without(left).predict(at)[0] - function(at)) ** 2)) < 2.0 * NOISE
    right = first.without(np.arange(120) >= 60)  # all that one of the members has
    assert np.isfinite(right.predict(at)).all()


def features(x: Vector, u: Vector) -> Any:
    return ca.sin(x.angle), ca.cos(x.angle), x.velocity, x.rate, u.force


@pytest.fixture(scope="module")
def fit() -> ResidualFit:
    data = excited(TRUE, runs=6, samples=50)
    return fit_residual(CartPole(), data, NeuralNetwork(8, 2), ("velocity",), features)


def test_nominal_plus_network_predicts_the_true_plant(fit: ResidualFit) -> None:
    held = excited(TRUE, runs=3, samples=50, seed=8)
    x, u, after = held.transitions()
    wrong, learned = (
        (np.array(d.function()(x.T, u.T, np.zeros((len(d.plant.disturbance), 1)), [])).T - after)[:, 2]
        for d in (Discretisation(CartPole(), 0.05), fit.sampling)
    )
    assert np.sqrt((learned**2).mean()) < 0.05 * np.sqrt((wrong**2).mean())
    assert (np.abs(learned) <= 2.0 * fit.deviations[2]).mean() > 0.9
    assert validate(fit, held, horizon=5).errors.shape == (6, 4)
    low, high = fit.bounded_disturbance.support(fit.plant.disturbance)
    assert high[3] == np.abs(fit.errors[:, 2]).max() == -low[3]
    task = fit.task(dataclasses.replace(cartpole(), steps=10), bounded=True)
    assert task.plant is fit.plant
    assert "networks" in str(fit)


def test_misuse_is_refused() -> None:
    with pytest.raises(InvalidValue, match="at least 10 samples"):
        NeuralNetwork().fit(*samples(9))
    with pytest.raises(InvalidValue, match="members"):
        NeuralNetwork(members=1)
    with pytest.raises(InvalidValue, match="units"):
        NeuralNetwork(units=0)


def test_values_that_do_not_vary_are_a_constant() -> None:
    z, _ = samples(30)
    mean, deviation = NeuralNetwork(3, 2).fit(z, np.full(30, 7.0)).predict(z)
    np.testing.assert_allclose(mean, 7.0, atol=1e-3)
    assert deviation.max() < 1e-3
