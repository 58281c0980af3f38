"""Residuals learned online: features, rules and the plant whose parameters the weights are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from systems import DimensionMismatch, InvalidValue, UnknownName, angle, signals
from systems.discretise import Discretisation
from systems.identification.online import (
    FourierFeatures,
    Learned,
    OnlineRule,
    ProjectedGradient,
    RecursiveLeastSquares,
    ResidualPlant,
)
from systems.library import DoubleIntegrator

STATE, INPUT = signals("position [m]", "speed [m/s]"), signals("force [N]")
FEATURES = FourierFeatures({"position": 0.5, "force": 2.0}, count=30)


def values(features: FourierFeatures, x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Features (samples, count)."""
    return np.array(features.function(STATE, INPUT)(x.T, u.T)).T


def test_features_approximate_a_gaussian_kernel() -> None:
    x, u = np.array([[0.0, 3.0], [0.3, -9.0]]), np.array([[0.0], [1.5]])
    phi = values(FourierFeatures({"position": 0.5, "force": 2.0}, count=10_000), x, u)
    assert phi[0] @ phi[1] == pytest.approx(np.exp(-0.5 * (0.6**2 + 0.75**2)), abs=0.03)
    assert (phi**2).sum(axis=1) == pytest.approx([1.0, 1.0], abs=0.03)


def test_a_periodic_signal_gives_periodic_features() -> None:
    state = signals(angle("heading [deg]"), "speed [m/s]")
    function = FourierFeatures({"heading": 10.0}, count=20).function(state, INPUT)
    x = np.array([20.0, 0.0])
    assert np.allclose(np.array(function(x, 0)), np.array(function(x + np.array([360.0, 0.0]), 0)), atol=1e-12)
    wide = FourierFeatures({"heading": 10.0}, count=10_000).function(state, INPUT)
    phi = [np.array(wide([at, 0.0], 0)).ravel() for at in (175.0, -178.0)]
    assert phi[0] @ phi[1] == pytest.approx(np.exp(-0.5 * 0.7**2), abs=0.03)


def test_recursive_least_squares_is_regression_with_a_kernel_in_time() -> None:
    """Against Gaussian process regression of all samples at once."""
    rule, rng = RecursiveLeastSquares(noise=0.1, prior=0.7, memory=15.0), np.random.default_rng(1)
    phi = values(FEATURES, rng.uniform(-1, 1, (60, 2)), rng.uniform(-3, 3, (60, 1)))
    y = np.clip(0.3 * rng.standard_normal((60, 2)), -1.0, 1.0)
    learned = rule.start(30, 2)
    for features, value in zip(phi[:-1], y[:-1], strict=True):
        learned = rule.update(learned, features, value)
    ages = np.arange(59)
    kernel = 0.49 * phi[:-1] @ phi[:-1].T * np.exp(-np.abs(ages[:, None] - ages) / 15.0)
    cross = 0.49 * phi[:-1] @ phi[-1] * np.exp(-(58 - ages) / 15.0)
    weights = np.linalg.solve(kernel + 0.01 * np.eye(59), cross)
    assert phi[-1] @ learned.estimate == pytest.approx(weights @ y[:-1], rel=1e-9)
    assert phi[-1] @ learned.covariance @ phi[-1] == pytest.approx(0.49 * phi[-1] @ phi[-1] - weights @ cross, rel=1e-9)
    assert learned.samples == 59


def test_standing_still_for_long_leaves_the_covariance_within_the_prior() -> None:
    rule, phi = RecursiveLeastSquares(memory=20.0), values(FEATURES, np.ones((1, 2)), np.ones((1, 1)))[0]
    learned = rule.start(30, 1)
    for _ in range(3000):
        learned = rule.update(learned, phi, np.array([0.4]))
    eigenvalues = np.linalg.eigvalsh(learned.covariance)
    assert eigenvalues[0] > -1e-12
    assert eigenvalues[-1] <= 0.25 * (1.0 + 1e-9)
    assert np.array_equal(learned.covariance, learned.covariance.T)
    assert phi @ learned.estimate == pytest.approx([0.4], abs=0.01)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1e6))
def test_a_residual_never_exceeds_its_size(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    estimate = scale * rng.standard_normal((30, 2))
    weights = Learned(estimate, np.zeros((0, 0))).weights
    phi = values(FEATURES, 3.0 * rng.standard_normal((20, 2)), rng.standard_normal((20, 1)))
    assert np.abs(phi @ weights).max() <= 1.0 + 1e-12
    norms = np.linalg.norm(estimate, axis=0)
    nearest = np.where(norms > np.sqrt(0.5), estimate * np.sqrt(0.5) / norms, estimate)
    assert np.allclose(weights, nearest, rtol=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1.0))
def test_a_gradient_step_never_increases_the_error_at_its_sample(seed: int, step: float) -> None:
    rng, rule = np.random.default_rng(seed), ProjectedGradient(step)
    phi = values(FEATURES, rng.standard_normal((1, 2)), rng.standard_normal((1, 1)))[0]
    before = Learned(rng.uniform(-0.1, 0.1, (30, 1)), np.zeros((0, 0)))
    y = np.array([rng.uniform(-0.2, 0.2)])
    after = rule.update(before, phi, y)
    error = y - phi @ before.estimate
    assert np.allclose(after.estimate - before.estimate, step * phi[:, None] * error, atol=1e-15)
    assert abs(y - phi @ after.estimate) <= abs(error) * (1.0 + 1e-12)


@pytest.mark.parametrize("rule", [ProjectedGradient(), RecursiveLeastSquares()])
def test_what_is_used_stays_in_the_ball(rule: OnlineRule) -> None:
    rng, learned = np.random.default_rng(2), rule.start(30, 1)
    for _ in range(100):
        phi = values(FEATURES, rng.standard_normal((1, 2)), rng.standard_normal((1, 1)))[0]
        learned = rule.update(learned, phi, np.array([np.sign(phi[0])]))
        assert np.linalg.norm(learned.weights) <= np.sqrt(0.5) * (1.0 + 1e-12)
    assert np.linalg.norm(learned.weights) == pytest.approx(np.sqrt(0.5))


def residual_plant(weights: tuple[float, ...] = ()) -> ResidualPlant:
    plant = DoubleIntegrator()
    features = FourierFeatures({"speed": 0.5, "acceleration": 1.0}, count=4)
    return ResidualPlant(Discretisation(plant, 0.1), features, ("speed", "position"), (0.2, 0.03), plant.state, weights)


def test_the_plant_adds_the_residual_to_a_nominal_sample() -> None:
    rng = np.random.default_rng(3)
    weights, x, u, w = rng.standard_normal(8), rng.standard_normal(2), rng.standard_normal(1), rng.standard_normal(1)
    plant = residual_plant(tuple(weights.tolist()))
    nominal = np.array(Discretisation(DoubleIntegrator(), 0.1).function()(x, u, w, [])).ravel()
    phi = np.array(plant.features.function(plant.state, plant.input)(x, u)).ravel()
    expected = nominal + np.array([0.03 * phi @ weights[4:], 0.2 * phi @ weights[:4]])
    assert np.allclose(np.array(plant.casadi()(x, u, w, [])).ravel(), expected, rtol=1e-12)
    names = plant.weight_names
    assert names[:2] == ("speed_weight_0", "speed_weight_1")
    parametric = residual_plant().casadi(names)
    assert np.allclose(np.array(parametric(x, u, w, weights)).ravel(), expected, rtol=1e-12)
    some = residual_plant().casadi(("position_weight_1", "max_acceleration", "speed_weight_0"))
    with_some = residual_plant().with_parameters(
        {"position_weight_1": 0.7, "speed_weight_0": -0.4, "max_acceleration": 2.0}
    )
    assert np.allclose(np.array(some(x, u, w, [0.7, 2.0, -0.4])), np.array(with_some.casadi()(x, u, w, [])), rtol=1e-12)
    assert with_some.bounds[1] == 2.0


def test_misuse_is_refused() -> None:
    with pytest.raises(UnknownName, match="height"):
        FourierFeatures({"height": 1.0}).function(STATE, INPUT)
    with pytest.raises(InvalidValue, match="length of position"):
        FourierFeatures({"position": 0.0})
    with pytest.raises(InvalidValue, match="lengths"):
        FourierFeatures({})
    with pytest.raises(DimensionMismatch, match="3 weights"):
        residual_plant((1.0, 2.0, 3.0))
    with pytest.raises(InvalidValue, match="step"):
        ProjectedGradient(1.5)
    with pytest.raises(InvalidValue, match="memory"):
        RecursiveLeastSquares(memory=0.0)
