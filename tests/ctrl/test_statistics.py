"""Intervals of rates, means, ratios and counts, against their definitions and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from systems.statistics import Estimate, Rate, cost_ratios, mean, poisson, wilson


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_solves_its_equation(pair: tuple[int, int]) -> None:
    """The ends are the probabilities from which the observed share is 1.96 standard deviations away."""
    k, n = pair
    z2, share = 1.959963984540054**2, k / n
    for end in wilson(k, n):
        assert (share - end) ** 2 == pytest.approx(z2 * end * (1.0 - end) / n, abs=1e-12)
    low, high = wilson(k, n)
    assert 0.0 <= low <= share <= high <= 1.0


def test_wilson_interval_by_hand() -> None:
    # z^2 / (n + z^2) above 0 of n: 3.8415 / 203.8415.
    assert Rate(0, 200).interval == pytest.approx((0.0, 0.018845), abs=1e-6)
    assert Rate(0, 0).interval == (0.0, 1.0)


def test_mean_has_students_interval() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=37)
    low, high = stats.t.interval(0.95, 36, values.mean(), stats.sem(values))
    estimate = mean(values)
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((low, values.mean(), high))
    assert np.isnan(mean(values[:1]).low)
    assert mean(np.array([1.0, np.inf])).value == np.inf


def test_cost_ratio_sees_through_what_the_runs_share() -> None:
    rng = np.random.default_rng(1)
    base = rng.gamma(1.0, size=200) * 100
    found = cost_ratios({"b": base * 1.02 + rng.normal(0, 0.1, 200), "a": base})
    assert found["a"].low == found["a"].high == 1.0
    assert 1.0 < found["b"].low < 1.02 < found["b"].high < 1.03
    assert mean(base).high > mean(base * 1.02).low, "unpaired intervals would overlap"


@pytest.mark.parametrize("base", [[-10.0, -11.0], [0.0, 0.0], [-1.0, 1.0]])
def test_there_are_no_ratios_to_a_cost_that_is_not_positive(base: list[float]) -> None:
    found = cost_ratios({"a": np.array(base), "b": np.array([2.0, 3.0])})
    assert all(np.isnan([ratio.value, ratio.low, ratio.high]).all() for ratio in found.values())


def test_the_interval_of_a_cost_ratio_covers() -> None:
    rng, hits = np.random.default_rng(2), 0
    for _ in range(300):
        base = rng.gamma(3.0, size=60)
        hits += (r := cost_ratios({"a": base, "b": 1.5 * base + rng.normal(0, 0.5, 60)})["b"]).low < 1.5 < r.high
    assert 0.90 < hits / 300 < 0.99


def test_the_cheapest_has_a_number() -> None:
    costs = {"undefined": np.array([np.nan, 1.0]), "b": np.array([4.0, 4.0]), "a": np.array([2.0, 2.0])}
    assert cost_ratios(costs)["b"].value == 2.0
    assert cost_ratios(costs)["a"] == Estimate(1.0, 1.0, 1.0)


@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_poisson_interval_leaves_a_fortieth_on_either_side(count: int) -> None:
    """Garwood: the mean above which so few, and the one below which so many, come up once in forty times."""
    low, high = poisson(count)
    assert stats.poisson.cdf(count, high) == pytest.approx(0.025)
    assert low == 0.0 if count == 0 else stats.poisson.sf(count - 1, low) == pytest.approx(0.025)
    assert poisson(0)[1] == pytest.approx(3.6889, abs=1e-4)
