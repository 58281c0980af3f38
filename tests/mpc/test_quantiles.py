"""Quantiles of sums of uniform numbers: against closed forms, and against samples."""

from __future__ import annotations

from math import comb, factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.stochastic.quantiles import uniform_sum_quantiles


def irwin_hall(s: float, count: int) -> float:
    """Distribution of the sum of ``count`` numbers uniform on [-1, 1] (Irwin, 1927; Hall, 1927)."""
    t = (s + count) / 2.0
    total = sum((-1) ** k * comb(count, k) * (t - k) ** count for k in range(int(np.floor(t)) + 1))
    return float(total / factorial(count))


@pytest.mark.parametrize("probability", [0.01, 0.3, 0.5, 0.8, 0.95, 0.999])
def test_equal_widths_follow_irwin_and_hall(probability: float) -> None:
    found = uniform_sum_quantiles(np.ones((8, 1)), probability)
    for count, quantile in enumerate(found, start=1):
        assert probability - 1e-9 <= irwin_hall(quantile, count) <= probability + 2e-5


def test_one_number_is_exact_and_two_form_a_triangle() -> None:
    assert uniform_sum_quantiles(np.array([[2.0]]), 0.8)[0] == pytest.approx(1.2, abs=1e-12)
    triangle = uniform_sum_quantiles(np.array([[1.0, 1.0]]), 0.8)[0]
    assert triangle == pytest.approx(2.0 - np.sqrt(8.0 * 0.2), abs=1e-6)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([0.2, 0.6, 0.9, 0.99]))
def test_widths_of_all_sizes_agree_with_samples(seed: int, probability: float) -> None:
    rng = np.random.default_rng(seed)
    widths = 10.0 ** rng.uniform(-3, 0, size=(5, 2))
    found = uniform_sum_quantiles(widths, probability)
    samples = np.cumsum((widths * rng.uniform(-1, 1, size=(40_000, 5, 2))).sum(axis=2), axis=1)
    below = (samples <= found).mean(axis=0)
    error = 5.0 * np.sqrt(probability * (1.0 - probability) / len(samples))
    assert (np.abs(below - probability) <= error + 1e-4).all()


def test_ends_of_the_range() -> None:
    widths = np.array([[0.5, 0.0], [0.0, 0.0], [0.25, 0.125]])
    support = np.array([0.5, 0.5, 0.875])
    np.testing.assert_allclose(uniform_sum_quantiles(widths, 1.0), support)
    assert (uniform_sum_quantiles(widths, 1.0 - 1e-12) <= support).all()
    np.testing.assert_allclose(uniform_sum_quantiles(widths, 0.5), 0.0, atol=1e-4)
    assert (uniform_sum_quantiles(np.zeros((3, 2)), 0.9) == 0.0).all()
    assert uniform_sum_quantiles(np.zeros((0, 2)), 0.9).shape == (0,)
