"""Distributions: draws, moments and supports agree with each other."""

from __future__ import annotations

import numpy as np
import pytest

from systems import DimensionMismatch, Fixed, Gaussian, InvalidValue, Uniform, UnknownName, signals

ABC = signals("a", "b", "c")
COVARIANCE = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]])
DISTRIBUTIONS = {
    "fixed": Fixed({"b": 2.0}),
    "uniform": Uniform({"a": -1.0, "b": 2.0}, {"a": 3.0, "b": 2.0}),
    "deviations": Gaussian({"a": 0.5, "c": 2.0}, average={"b": 1.0}),
    "covariance": Gaussian(average=[1, 2, 3], covariance_matrix=COVARIANCE),
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_draws_have_the_moments_and_the_support(distribution) -> None:
    n = 40_000
    draws = distribution.sample(ABC, np.random.default_rng(0), (n // 2, 2))
    assert draws.shape == (n // 2, 2, 3)
    draws = draws.reshape(n, 3)
    mean, covariance = distribution.mean(ABC), distribution.covariance(ABC)
    deviation = np.sqrt(np.diag(covariance))
    assert (np.abs(draws.mean(axis=0) - mean) <= 5 * deviation / np.sqrt(n) + 1e-12).all()
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.08)
    lower, upper = distribution.support(ABC)
    assert ((draws >= lower) & (draws <= upper)).all()
    # A signal without spread is exactly its value in draws and support alike.
    for i in np.flatnonzero(deviation == 0):
        assert lower[i] == upper[i] == mean[i]


def test_moments_by_hand() -> None:
    np.testing.assert_allclose(DISTRIBUTIONS["uniform"].mean(ABC), [1, 2, 0])
    np.testing.assert_allclose(np.diag(DISTRIBUTIONS["uniform"].covariance(ABC)), [16 / 12, 0, 0])
    np.testing.assert_allclose(DISTRIBUTIONS["covariance"].covariance(ABC), COVARIANCE, atol=1e-12)
    np.testing.assert_allclose(np.diag(DISTRIBUTIONS["deviations"].covariance(ABC)), [0.25, 0, 4])


def test_the_same_seed_gives_the_same_draws() -> None:
    for distribution in DISTRIBUTIONS.values():
        first, second = (distribution.sample(ABC, np.random.default_rng(7), (5,)) for _ in range(2))
        np.testing.assert_array_equal(first, second)


def test_no_signals_at_all() -> None:
    assert Fixed().sample(signals(), np.random.default_rng(0), (4,)).shape == (4, 0)
    assert Uniform({}, {}).support(signals())[0].shape == (0,)
    assert Gaussian().covariance(signals()).shape == (0, 0)


@pytest.mark.parametrize(
    ("distribution", "error", "message"),
    [
        (
            lambda: Uniform({"a": 1.0}, {"a": 0.0}),
            InvalidValue,
            r"uniform distribution of a = \(1.0, 0.0\); expected two numbers, lower <= upper",
        ),
        (
            lambda: Uniform({"a": -np.inf}, {"a": 0.0}),
            InvalidValue,
            "lower bound of a uniform distribution: a = -inf; expected a finite number",
        ),
        (
            lambda: Uniform({"a": np.nan}, {"a": 0.0}),
            InvalidValue,
            "lower bound of a uniform distribution: a = nan; expected a finite number",
        ),
        (
            lambda: Uniform([0.0], [1.0]),
            DimensionMismatch,
            r"lower bound of a uniform distribution: given an array of shape \(1,\)",
        ),
        (lambda: Uniform({"d": 0.0}, {"d": 0.0}), UnknownName, "unknown signal 'd'; known: a, b, c"),
        (lambda: Fixed({"d": 0.0}), UnknownName, "unknown signal 'd'"),
        (lambda: Gaussian({"a": -1.0}), InvalidValue, "standard deviations .* at least 0"),
        (
            lambda: Gaussian(covariance_matrix=np.eye(2)),
            DimensionMismatch,
            r"covariance of shape \(2, 2\); expected \(3, 3\)",
        ),
        (lambda: Gaussian(covariance_matrix=-np.eye(3)), InvalidValue, "symmetric and positive semidefinite"),
        (
            lambda: Gaussian(covariance_matrix=np.triu(np.ones((3, 3)))),
            InvalidValue,
            "symmetric and positive semidefinite",
        ),
        (
            lambda: Gaussian(covariance_matrix=1e-10 * np.triu(np.ones((3, 3)))),
            InvalidValue,
            "symmetric and positive semidefinite",
        ),
        (
            lambda: Gaussian(covariance_matrix=-1e-13 * np.eye(3)),
            InvalidValue,
            "symmetric and positive semidefinite",
        ),
        (
            lambda: Gaussian(covariance_matrix=np.full((3, 3), np.nan)),
            InvalidValue,
            "covariance of a Gaussian = .* contains NaN",
        ),
        (lambda: Uniform([0.0, 2.0, 0.0], [1.0, 1.0, 1.0]), InvalidValue, r"from \[0. 2. 0.\] to .*lower <= upper"),
        (
            lambda: Uniform([-1e308] * 3, [1e308] * 3),
            InvalidValue,
            "uniform distribution from .*expected finite bounds",
        ),
        (lambda: Gaussian({"a": 1.0}, covariance_matrix=np.eye(3)), InvalidValue, "give one of the two"),
        (lambda: Gaussian(covariance_matrix=np.ones((2, 3))), DimensionMismatch, r"expected \(n, n\)"),
    ],
)
def test_bad_distributions(distribution, error, message) -> None:
    with pytest.raises(error, match=message):
        distribution().support(ABC)


@pytest.mark.parametrize(("lower", "upper"), [({"a": -1.0}, {}), ({}, {"a": 1.0}), ({"a": -1.0}, {"b": 1.0})])
def test_a_uniform_law_has_two_bounds_for_every_name(lower, upper) -> None:
    with pytest.raises(InvalidValue, match=r"only one has a.*name the same signals in both"):
        Uniform(lower, upper)
