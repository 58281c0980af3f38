"""The law of the error: against samples, enumerated vertices and closed forms."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.stats import chi2

from ctrl.controller import NotApplicable
from ctrl.regulator import local_model
from mpc.stochastic.reachable import AdditiveNoise, ErrorDynamics, additive_noise
from systems import Fixed, Gaussian, InvalidValue, LinearPlant, Quadratic, Task, Uniform
from systems.library.pendulum import pendulum
from systems.library.segway import segway

A = np.array([[0.8, 0.3], [-0.2, 0.6]])
FACTOR = np.array([[0.5, 0.1, 0.0], [0.0, 0.3, 0.7]])
D = np.array([[1.0, 0.0], [0.3, -1.0]])
STEPS = 4


def error(base: str) -> ErrorDynamics:
    return ErrorDynamics(A, AdditiveNoise(np.zeros(2), FACTOR, base))  # type: ignore[arg-type]


def samples(base: str, count: int = 100_000) -> np.ndarray:
    """D e(j), j = 1 .. STEPS, simulated: (count, STEPS, 2)."""
    rng = np.random.default_rng(1)
    e, found = np.zeros((count, 2)), []
    for _ in range(STEPS):
        z = rng.uniform(-1, 1, (count, 3)) if base == "uniform" else rng.normal(size=(count, 3))
        e = e @ A.T + z @ FACTOR.T
        found.append(e @ D.T)
    return np.stack(found, axis=1)


@pytest.mark.parametrize("base", ["uniform", "normal"])
def test_quantiles_and_deviations_agree_with_a_simulation(base: str) -> None:
    seen, p = samples(base), np.array([0.8, 0.3])
    quantile = error(base).quantile(D, p, STEPS)
    assert (quantile[0] == 0).all()
    assert (np.abs((seen <= quantile[1:]).mean(axis=0) - p) < 5 * np.sqrt(p * (1 - p) / len(seen))).all()
    np.testing.assert_allclose(seen.std(axis=0), error(base).deviation(D, STEPS)[1:], rtol=0.01)


def test_the_worst_case_is_that_of_the_vertices() -> None:
    worst = error("uniform").worst_case(D, 2)
    corners = [FACTOR @ np.array(z) for z in itertools.product((-1.0, 1.0), repeat=3)]
    for j, e in ((1, corners), (2, [A @ a + b for a in corners for b in corners])):
        np.testing.assert_allclose(worst[j], (np.array(e) @ D.T).max(axis=0), atol=1e-12)
    assert np.isinf(error("normal").worst_case(D, 1)[1]).all()


def test_bounds_that_know_less_are_larger_and_hold() -> None:
    p, seen = np.array([0.9, 0.9]), samples("uniform")
    law = error("uniform")
    exact, free, scaled = (f(D, p, STEPS) for f in (law.quantile, law.distribution_free, law.scaled_support))
    worst = law.worst_case(D, STEPS)
    assert (exact[1:] < free[1:]).all()
    assert (exact[1:] < scaled[1:]).all()
    assert (free <= worst).all()
    assert (scaled <= worst).all()
    # All rows at once: what a scaled support promises, and quantiles do not.
    assert (seen <= scaled[1:]).all(axis=2).mean(axis=0).min() >= 0.9


@pytest.mark.parametrize("base", ["uniform", "normal"])
def test_ellipsoids_hold_their_probability(base: str) -> None:
    law, rng, e = error(base), np.random.default_rng(0), np.zeros((20_000, 2))
    for _ in range(3):
        z = rng.uniform(-1, 1, (len(e), 3)) if base == "uniform" else rng.normal(size=(len(e), 3))
        e = e @ A.T + z @ FACTOR.T
    inside = (np.einsum("bi,ij,bj->b", e, np.linalg.inv(law.ellipsoid(0.9, steps=3)), e) <= 1.0).mean()
    assert abs(inside - 0.9) < 0.01 if base == "normal" else inside >= 0.9
    limit = law.stationary_covariance()
    np.testing.assert_allclose(A @ limit @ A.T + law.noise.covariance, limit, atol=1e-12)
    np.testing.assert_allclose(law.ellipsoid(0.9, gaussian=True), chi2.ppf(0.9, 2) * limit)


def test_noise_of_a_task() -> None:
    posed = segway()
    noise = additive_noise(posed, local_model(posed).plant)
    np.testing.assert_allclose(np.rad2deg(noise.factor), np.diag([2.0, 2.2]))
    assert noise.base == "uniform"
    plant = LinearPlant(np.diag([0.5, 0.5]), np.ones((2, 1)), E=np.array([[1.0, 0.0], [1.0, 1.0]]), dt=0.1)
    skew = Task("skew", plant, 0.1, 5, Quadratic(Q=np.eye(2), R=np.eye(1)), Fixed())
    lopsided = dataclasses.replace(skew, disturbance=Uniform([-1.0, 0.0], [3.0, 0.0]))
    noise = additive_noise(lopsided, plant)
    np.testing.assert_allclose(noise.mean, [1.0, 1.0])
    np.testing.assert_allclose(noise.covariance, 16.0 / 12.0 * np.ones((2, 2)))
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    noise = additive_noise(dataclasses.replace(skew, disturbance=Gaussian(covariance_matrix=covariance)), plant)
    np.testing.assert_allclose(noise.covariance, plant.E @ covariance @ plant.E.T)
    assert additive_noise(skew, plant).is_bounded
    with pytest.raises(NotApplicable, match="not affine in angle"):
        additive_noise(pendulum(), local_model(pendulum()).plant)


def test_an_error_that_grows_is_refused() -> None:
    with pytest.raises(InvalidValue, match="does not die out"):
        ErrorDynamics(1.1 * np.eye(2), AdditiveNoise(np.zeros(2), FACTOR, "uniform"))
