"""Metrics, against scipy and against numbers worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ctrl import LQR, simulate
from ctrl.comparison.metrics import Rate, cost_ratios, mean, measure, settling_times, turning, wilson
from ctrl.trajectories import Trajectories
from systems import Box
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum, pendulum_swing_up

TASK = cartpole()


def runs_of(states: np.ndarray, **changes: np.ndarray) -> Trajectories:
    b, steps = states.shape[0], states.shape[1] - 1
    nothing = Trajectories(
        states=states,
        inputs=np.zeros((b, steps, 1)),
        costs=np.zeros((b, steps)),
        terminal=np.zeros(b),
        margins=np.full((b, steps, 1), -1.0),
        seconds=np.full((b, steps), 1e-3),
        statuses=np.zeros((b, steps), np.int8),
        sources=np.zeros((b, steps), np.int8),
        left=np.full(b, -1),
    )
    return dataclasses.replace(nothing, **changes)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_scipys(pair: tuple[int, int]) -> None:
    k, n = pair
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_interval_by_hand() -> None:
    # z^2 / (n + z^2) above 0 of n: 3.8415 / 203.8415.
    assert Rate(0, 200).interval == pytest.approx((0.0, 0.018845), abs=1e-6)
    assert Rate(0, 0).interval == (0.0, 1.0)


def test_mean_has_students_interval() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=37)
    low, high = stats.t.interval(0.95, 36, values.mean(), stats.sem(values))
    found = mean(values)
    assert (found.low, found.value, found.high) == pytest.approx((low, values.mean(), high))
    assert np.isnan(mean(values[:1]).low)
    assert mean(np.array([1.0, np.inf])).value == np.inf


def test_cost_ratio_sees_through_what_the_runs_share() -> None:
    rng = np.random.default_rng(1)
    base = rng.gamma(1.0, size=200) * 100
    found = cost_ratios({"b": base * 1.02 + rng.normal(0, 0.1, 200), "a": base})
    assert found["a"].low == found["a"].high == 1.0
    assert 1.0 < found["b"].low < 1.02 < found["b"].high < 1.03
    assert mean(base).high > mean(base * 1.02).low, "unpaired intervals would overlap"


def test_the_interval_of_a_cost_ratio_covers() -> None:
    rng, hits = np.random.default_rng(2), 0
    for _ in range(300):
        base = rng.gamma(3.0, size=60)
        hits += (r := cost_ratios({"a": base, "b": 1.5 * base + rng.normal(0, 0.5, 60)})["b"]).low < 1.5 < r.high
    assert 0.90 < hits / 300 < 0.99


def test_settling_by_hand() -> None:
    states = np.zeros((5, 121, 4))
    states[1, :40, 0] = 1.0  # arrives at sample 40 and stays
    states[2, 60, 1] = 0.5  # arrives at once, is out again at sample 60
    states[3, :, 0] = 0.3  # never
    states[4, :115, 0] = 1.0  # arrives too late to tell whether it stays
    runs = runs_of(states)
    np.testing.assert_allclose(settling_times(TASK, runs), [0.0, 2.0, 3.05, np.inf, np.inf])
    metrics = measure(TASK, runs)
    assert (metrics.settled.k, metrics.settled.n) == (3, 5)
    assert metrics.settling == pytest.approx(2.0)
    assert np.isinf(settling_times(TASK, dataclasses.replace(runs, left=np.full(5, 7)))).all()


def test_angles_come_round_only_where_task_and_plant_agree() -> None:
    assert turning(pendulum_swing_up()).tolist() == [True, False]
    assert turning(pendulum()).tolist() == [False, False]  # a quadratic cost tells 0 from a full turn
    swing = pendulum_swing_up()
    states = np.zeros((2, swing.steps + 1, 2))
    states[0, :, 0], states[1, :, 0] = 2 * np.pi + 0.05, np.pi
    assert np.isfinite(settling_times(swing, runs_of(states))).tolist() == [True, False]
    fenced = dataclasses.replace(swing, constraints=(Box("fence", {"angle": (-7.0, 7.0)}),))
    assert turning(fenced).tolist() == [False, False]


def test_violations_margins_deadlines_by_hand() -> None:
    task = dataclasses.replace(
        TASK, constraints=(Box("track", {"position": (-1.0, 1.0)}), Box("rate", {"rate": (-1.0, 1.0)}))
    )
    margins = np.full((4, 120, 2), -0.5)
    margins[0, 3, 0], margins[1, 7, 1], margins[0, 9, 1], margins[2, 0, 0] = 0.25, 0.1, 0.2, 1e-9
    seconds = np.full((4, 120), np.nan)
    seconds[0] = np.linspace(0.001, 0.120, 120)
    metrics = measure(
        task, runs_of(np.zeros((4, 121, 4)), margins=margins, seconds=seconds, left=np.array([-1, -1, 5, 9]))
    )
    assert metrics.violated == Rate(2, 4)
    assert metrics.violations == {"track": Rate(1, 4), "rate": Rate(2, 4)}
    assert metrics.worst_margin == {"track": 0.25, "rate": 0.2}
    assert metrics.missed == Rate(70, 120)  # 51 ms to 120 ms against dt = 50 ms
    assert metrics.step_p50 == pytest.approx(0.0605)
    assert metrics.left == Rate(2, 4)


def test_a_good_regulator_settles_and_a_loose_cart_does_not() -> None:
    rng = np.random.default_rng(0)
    x0 = TASK.initial.sample(TASK.plant.state, rng, (16,)) * 0.2
    w = TASK.disturbance.sample(TASK.plant.disturbance, rng, (16, TASK.steps))

    class Limp(LQR):
        def batch(self, x: np.ndarray, k: int) -> np.ndarray:
            return 0.0 * super().batch(x, k)

    good, bad = (measure(TASK, simulate(TASK, law(TASK), x0, w)) for law in (LQR, Limp))
    assert good.settled == Rate(16, 16)
    assert bad.settled.k == 0
    assert bad.left == Rate(16, 16)
    assert bad.cost.low > good.cost.high
