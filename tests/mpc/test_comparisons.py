"""Comparisons that belong to a task: every controller in them is made for the task and answers it."""

from __future__ import annotations

import pytest

from ctrl import compare
from mpc.comparisons import artificial_references, stochastic_schemes
from systems.library import ball_and_plate, segway


@pytest.mark.slow
def test_a_short_harmonic_reaches_what_tracking_needs_twice_the_horizon_for() -> None:
    comparison = compare(ball_and_plate(), artificial_references(), starts=4)
    cost = {name: metrics.cost.value for name, metrics in comparison.metrics.items()}
    settled = {name: metrics.settled.k for name, metrics in comparison.metrics.items()}
    assert not comparison.failed
    assert cost["harmonic, N = 5"] < 0.95 * cost["tracking, N = 10"] < 0.5 * cost["tracking, N = 5"]
    assert cost["harmonic, N = 5"] < 1.02 * cost["equality, N = 30"]
    assert settled["harmonic, N = 5"] == settled["equality, N = 30"] == 4
    assert settled["tracking, N = 5"] == 0


@pytest.mark.slow
def test_a_short_harmonic_settles_where_tracking_does_not() -> None:
    made = artificial_references()
    short = {name: made[name] for name in ("harmonic, N = 5", "tracking, N = 5")}
    comparison = compare(ball_and_plate(), short, starts=1)
    harmonic, tracking = comparison.metrics.values()
    assert not comparison.failed
    assert harmonic.cost.value < 0.5 * tracking.cost.value
    assert (harmonic.settled.k, tracking.settled.k) == (1, 0)


@pytest.mark.slow
def test_only_the_schemes_that_tighten_keep_the_chance() -> None:
    comparison = compare(segway(), stochastic_schemes(), starts=64)
    kept = {name: all(verdict.kept for verdict in metrics.verdicts) for name, metrics in comparison.metrics.items()}
    assert kept.pop("nominal") is False
    assert all(kept.values())


@pytest.mark.parametrize("make", [artificial_references, stochastic_schemes])
def test_comparisons_say_what_they_are(make: object) -> None:
    assert make.__doc__
