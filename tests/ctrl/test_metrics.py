"""Metrics, against scipy and against numbers worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ctrl import LQR, simulate
from ctrl.comparison.metrics import measure, settling_times
from ctrl.comparison.verdicts import Verdict, verdicts
from ctrl.trajectories import Trajectories
from systems import Box, Constraint
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum, pendulum_swing_up
from systems.statistics import Estimate, Rate, mean

TASK = cartpole()
TRACK = Box("track", {"position": (-1.0, 1.0)})


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
    assert np.isfinite(pendulum_swing_up().reading.state.periods).tolist() == [True, False]
    assert pendulum().reading.state.is_euclidean  # a quadratic cost tells 0 from a full turn
    swing = pendulum_swing_up()
    states = np.zeros((2, swing.steps + 1, 2))
    states[0, :, 0], states[1, :, 0] = 2 * np.pi + 0.05, np.pi
    assert np.isfinite(settling_times(swing, runs_of(states))).tolist() == [True, False]
    fenced = dataclasses.replace(swing, constraints=(Box("fence", {"angle": (-7.0, 7.0)}),))
    assert fenced.reading.state.is_euclidean


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


def judged(constraint: Constraint, violated: np.ndarray, discount: float = 0.99) -> Verdict:
    """The verdict on runs that violate where told, (b, steps) of bool."""
    task = dataclasses.replace(TASK, constraints=(constraint,), discount=discount)
    return verdicts(task, np.where(violated, 0.5, -0.5)[..., None])[0]


def test_a_chance_constraint_is_judged_at_its_worst_sample() -> None:
    violated = np.zeros((100, 120), dtype=bool)
    violated[np.arange(100), np.arange(100)] = True  # every run once, never two at the same sample
    scattered = judged(TRACK.chance(0.9), violated)
    assert (scattered.kept, scattered.measured, scattered.counts) == (True, Rate(1, 100), True)
    violated[:20, 70] = True
    worse = judged(TRACK.chance(0.9), violated)
    # 21 of 100 (run 70 is one of them): Wilson's lower end 0.142 > 0.1.
    assert (worse.kept, worse.measured, worse.sample) == (False, Rate(21, 100), 70)
    assert judged(TRACK.chance(0.8), violated).kept, "21 % of 100 runs is no evidence against 20 %"
    assert not judged(TRACK, violated).kept
    assert not judged(TRACK.soft(2.0), violated).counts


def test_a_budget_is_judged_by_its_mean() -> None:
    violated = np.zeros((4, 120), dtype=bool)
    violated[:2, :3] = True  # 3, 3, 0, 0 samples: 1.5 on average
    expected = mean(np.array([3.0, 3.0, 0.0, 0.0]))
    assert judged(TRACK.budget(1.0), violated).measured == expected
    assert judged(TRACK.budget(1.0), violated).kept, "four runs that vary so much prove nothing"
    assert not judged(TRACK.budget(0.0), violated).kept, "of nothing allowed, one is too many"
    many = np.tile(violated, (50, 1))
    assert (judged(TRACK.budget(1.0), many).kept, judged(TRACK.budget(1.5), many).kept) == (False, True)
    discounted = judged(TRACK.budget(0.9, per="discounted"), violated[:2], discount=0.5)
    assert discounted.measured == Estimate(1.75, 1.75, 1.75)  # 1 + 1/2 + 1/4
    assert not discounted.kept
    assert not judged(TRACK.budget(2.0), violated[:1]).kept, "of one run there is the number alone"


def test_a_budget_of_excess_is_judged_by_how_much_was_violated() -> None:
    task = dataclasses.replace(TASK, constraints=(TRACK.budget(0.9, of="excess"),))
    margins = np.full((40, 120, 1), -2.0)
    margins[:, 3:5, 0] = 0.5
    verdict = verdicts(task, margins)[0]
    assert (verdict.measured, verdict.kept) == (Estimate(1.0, 1.0, 1.0), False)


def test_an_undefined_margin_counts_as_violated() -> None:
    task = dataclasses.replace(TASK, constraints=(TRACK, Box("rate", {"rate": (-1.0, 1.0)}).budget(0.0)))
    margins = np.full((3, 120, 2), -0.5)
    margins[1, 5, 0] = margins[2, 7, 1] = np.nan
    metrics = measure(task, runs_of(np.zeros((3, 121, 4)), margins=margins))
    assert metrics.violations == {"track": Rate(1, 3), "rate": Rate(1, 3)}
    assert metrics.violated == Rate(2, 3)
    assert metrics.broke_hard == Rate(1, 3), "the other one is a budget"
    assert np.isnan(metrics.worst_margin["track"])
    assert [verdict.kept for verdict in metrics.verdicts] == [False, False]


def test_unsafe_runs_broke_something_hard_or_left() -> None:
    task = dataclasses.replace(TASK, constraints=(TRACK, Box("rate", {"rate": (-1.0, 1.0)}).soft(1.0)))
    margins = np.full((4, 120, 2), -0.5)
    margins[0, 3, 0] = margins[1, :, 1] = 0.5
    metrics = measure(task, runs_of(np.zeros((4, 121, 4)), margins=margins, left=np.array([-1, -1, 5, -1])))
    assert (metrics.broke_hard, metrics.unsafe, metrics.violated) == (Rate(1, 4), Rate(2, 4), Rate(2, 4))


def test_an_excess_within_rounding_uses_no_budget() -> None:
    """A solver that stands on a bound to its tolerance has not exceeded a budget of nothing."""
    task = dataclasses.replace(TASK, constraints=(dataclasses.replace(TRACK).budget(0.0, of="excess"),))
    margins = np.full((4, task.steps, 1), -1.0)
    margins[:, 3] = 1e-9
    (verdict,) = verdicts(task, margins)
    assert verdict.kept
    assert verdict.measured.value == 0.0
    margins[0, 3] = 1e-3
    (verdict,) = verdicts(task, margins)
    assert not verdict.kept
    assert verdict.measured.value == pytest.approx(2.5e-4)
