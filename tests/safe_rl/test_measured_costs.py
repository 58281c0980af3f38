"""What a learner says that a run costs, against environments whose runs cost a known number."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from safe_rl import DSACPID, DSACT, PPO, SAC, Learner, PPOLagrangian, assess, evaluate
from safe_rl.constraints import Constraints
from safe_rl.gymnasium_adapter import GymnasiumTask
from safe_rl.handlers import IntegralGains, Lagrangian
from systems import Box, Task
from tests.safe_rl.tasks import TINY, assert_same_run, swing_up, two_budgets


class Meter(gymnasium.Env[Any, Any]):
    """Costs a fixed amount per step, and more the larger the action; runs may end by themselves after random times."""

    def __init__(self, per_step: float, of_action: float = 0.0, length: list[int] | None = None) -> None:
        self.per_step, self.of_action, self.length = per_step, of_action, length
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), dtype=np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.k, self.end = 0, 10**9
        if self.length:
            self.end = int(self.np_random.integers(self.length[0] // 2, 3 * self.length[0] // 2 + 1))
        return np.zeros(2, np.float32), {}

    def step(self, action: np.ndarray) -> Any:
        self.k += 1
        cost = self.per_step + self.of_action * abs(float(action[0]))
        seen = self.np_random.normal(size=2).astype(np.float32)
        return seen, 0.0, self.k >= self.end, False, {"cost": cost}


def prepared(task: Any, make: Any = DSACPID) -> tuple[Learner, Constraints]:
    learner = make(task, settings=dataclasses.replace(TINY[make.base], environments=20, evaluation_environments=10))
    learner.prepare()
    learner.prepared = True
    assert learner.constraints is not None
    return learner, learner.constraints


def spends(learner: Learner, constraints: Constraints, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        learner.collector.collect()
        constraints.update_multipliers()
        found.append(float(constraints.spent[0]))
    return found


@pytest.mark.parametrize(("before", "after"), [(5, 20), (20, 5)])
def test_runs_that_end_early_are_measured_within_a_few_runs(before: int, after: int) -> None:
    length = [before]
    task = GymnasiumTask("meter", lambda: Meter(1.0, length=length), {"cost": 0.5 * (before + after)}, steps=1000)
    learner, constraints = prepared(task)
    assert spends(learner, constraints, 10 * before)[-1] == pytest.approx(before, rel=0.25)
    rested = float(constraints.state.multipliers)
    length[0] = after
    found = spends(learner, constraints, before + 6 * after)
    assert np.mean(found[-after:]) == pytest.approx(after, rel=0.25)
    assert (float(constraints.state.multipliers) > rested) == (after > before)


def test_runs_of_one_length_cost_the_same_throughout() -> None:
    """Neither the shortened first runs nor ends that come together move the measure."""
    learner, constraints = prepared(GymnasiumTask("meter", lambda: Meter(0.25), {"cost": 25}, steps=100))
    found = np.array(spends(learner, constraints, 250))
    known = found[np.isfinite(found)]
    assert len(known) > 140
    np.testing.assert_allclose(known, 25.0, rtol=1e-5)


@pytest.mark.parametrize(("per", "per_run"), [("episode", 30.0), ("discounted", sum(0.99**k for k in range(30)))])
def test_runs_of_a_task_cost_the_same_throughout(per: Any, per_run: float) -> None:
    """Every sample violates, so a run costs its length, or the discounted sum of ones."""
    broken = Box("broken", {"rate": (-1e-9, 1e-9)}).budget(5.0, per)
    task = dataclasses.replace(swing_up(steps=30), constraints=(broken,))
    found = np.array(spends(*prepared(task), 90))
    known = found[np.isfinite(found)]
    assert len(known) > 55
    # A late start ages from its own beginning, so its discounted share is exact for costs that do not vary.
    np.testing.assert_allclose(known, per_run, rtol=1e-4)


@pytest.mark.parametrize("costly", [0, 7, 19])
def test_runs_that_end_together_cost_the_same_throughout(costly: int) -> None:
    """A simulator of one's own, which cannot begin at different samples, and where one age alone costs."""
    constraints = Constraints(two_budgets(), Lagrangian(), 10, torch.device("cpu"))
    assert bool(constraints.spent.isnan().all())
    for k in range(100):
        age = torch.full((10,), float(k % 20))
        constraints.measure(torch.full((10, 3), 2.0 * (k % 20 == costly)), age, age == 19)
        if k >= 19:
            torch.testing.assert_close(constraints.spent, torch.tensor([2.0, 2.0 * 0.99**costly]))


def test_costs_count_when_they_are_paid_and_not_when_runs_end() -> None:
    """Runs that cost something at first alone, and more from one sample on: seen long before the first of them ends."""
    constraints = Constraints(two_budgets(), Lagrangian(), 10, torch.device("cpu"))
    for k in range(40):
        age = torch.full((10,), float(k % 20))
        constraints.measure(torch.full((10, 3), (1.0 + (k >= 20)) * (k % 20 == 0)), age, age == 19)
        if k == 20:
            assert 1.6 < float(constraints.spent[0]) < 2.0


@pytest.mark.parametrize("staggered", [False, True])
def test_the_measure_is_the_mean_of_runs_whose_cost_and_end_depend_on_each_other(staggered: bool) -> None:
    """Runs of two kinds: short ones that cost much late, long ones that cost little."""
    chance, n = np.random.default_rng(0), 200
    constraints = Constraints(swing_up(steps=60), Lagrangian(), n, torch.device("cpu"))
    is_short = chance.random(n) < 0.5
    age = chance.integers(0, 10, n) if staggered else np.zeros(n, int)
    found = []
    for k in range(600):
        cost = np.where(is_short, 0.3 * (age >= 5), 0.01)
        over = np.where(is_short, age >= 9, age >= 59) | (chance.random(n) < 0.01)
        constraints.measure(
            torch.tensor(cost, dtype=torch.float32).unsqueeze(1),
            torch.tensor(age, dtype=torch.float32),
            torch.tensor(over),
        )
        age = np.where(over, 0, age + 1)
        is_short = np.where(over, chance.random(n) < 0.5, is_short)
        if k >= 120:
            found.append(float(constraints.spent[0]))
    lives = 0.99 ** np.arange(60)  # to reach an age
    expected = 0.5 * 0.3 * lives[5:10].sum() + 0.5 * 0.01 * lives.sum()
    assert np.mean(found) == pytest.approx(expected, rel=0.03)


def test_runs_that_are_shortened_do_not_count_as_ended() -> None:
    constraints = Constraints(swing_up(steps=50), Lagrangian(), 10, torch.device("cpu"))
    for k in range(50):  # begun at samples 0, 5, ...: all but the first end before their time
        begun = torch.arange(10) * 5
        age = torch.where(k + begun < 50, k, k + begun - 50).float()
        over = (k + begun) % 50 == 49
        constraints.measure(torch.full((10, 1), 0.5), age, over, over & (age < 49))
    assert float(constraints.spent) == pytest.approx(25.0, rel=1e-5)


def test_actions_of_the_warm_up_are_not_the_policys() -> None:
    """Actions cost, and the policy makes none: what it spends is nothing, also in the runs that it took over."""
    learner, constraints = prepared(GymnasiumTask("meter", lambda: Meter(0.0, 1.0), {"cost": 1.0}, steps=60))
    with torch.no_grad():
        learner.policy.network.weights[-1].zero_()
        learner.policy.network.biases[-1].zero_()
    found = np.array(spends(learner, constraints, 80))
    assert np.isfinite(found).any()
    assert np.nanmax(found) == 0.0
    assert float(constraints.state.multipliers) == 0.0


def test_gains_do_not_depend_on_the_length_of_a_run() -> None:
    """Over the same number of runs the same excess raises a multiplier equally, for runs of 100 steps or more."""
    risen = []
    for length in (100, 400, 1000):
        broken = Box("fast", {"rate": (-1.0, 1.0)}).budget(0.4 * length)
        task = dataclasses.replace(swing_up(steps=length), constraints=(broken,))
        constraints = Constraints(task, Lagrangian(gains=IntegralGains(0.1)), 20, torch.device("cpu"))
        age = torch.arange(20) * (length // 20)
        reached = []
        for k in range(5 * length):
            constraints.measure(torch.full((20, 1), 0.6), age.float(), age == length - 1)
            constraints.update_multipliers()
            age = (age + 1) % length
            reached.append(float(constraints.state.multipliers) if (k + 1) % (2 * length) == 0 else 0.0)
        risen.append(reached[4 * length - 1] - reached[2 * length - 1])
    # Once in a tenth of a run, by an excess of half the limit and the reserve; the first runs began in their middle.
    np.testing.assert_allclose(risen, 0.1 * (0.5 + 0.03) * 20, rtol=0.15)
    np.testing.assert_allclose(risen, risen[0], rtol=0.05)


def test_ppo_integrates_each_measurement_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in ten steps, whatever the length of its rounds."""
    task = GymnasiumTask("meter", lambda: Meter(1.0, length=[4]), {"cost": 1e-6}, steps=1000)
    for horizon in (10, 40):
        settings = dataclasses.replace(TINY[PPO], horizon=horizon, environments=8, passes=1, batch_size=8 * horizon)
        learner = PPOLagrangian(task, settings=settings)
        learner.prepare()
        constraints = learner.constraints
        assert constraints is not None
        constraints._length.fill_(4.0)
        seen: list[float] = []
        update = constraints.controller.update

        def counted(violation: np.ndarray, seen: list[float] = seen, update: Any = update) -> Any:
            seen.append(float(violation[0]))
            return update(violation)

        monkeypatch.setattr(constraints.controller, "update", counted)
        while learner.collector.steps < 200 + 8 * 120:
            learner.iterate()
        assert 11 <= len(seen) <= 12
        assert len(set(seen)) == len(seen)


def test_first_runs_of_copies_are_staggered_and_resume_where_they_were() -> None:
    task = GymnasiumTask("meter", lambda: Meter(1.0), {"cost": 25}, steps=20)
    env = task.vector_env(12, seed=3)
    env.reset(staggered=True)
    first = env.samples.clone()
    assert len(first.unique()) > 4
    ends = torch.full((12,), -1)
    for k in range(20):
        over = env.step(torch.zeros(12, 1)).truncated
        ends[over] = k
    assert torch.equal(ends, 19 - first)
    env.reset()
    assert not env.samples.any()

    once = DSACPID(task, settings=TINY[DSACT]).learn(30, progress=False)
    half = DSACPID(task, settings=TINY[DSACT]).learn(12, progress=False)
    other = DSACPID(task, settings=TINY[DSACT])
    other.load_state_dict(half.state_dict())
    assert_same_run(once, other.learn(30, progress=False))


def test_an_environment_that_measures_its_time_itself_is_not_shortened() -> None:
    """Its own limit ends whole runs, which a time limit of ours beyond it would take for parts."""
    task = GymnasiumTask("timed", lambda: gymnasium.make("Pendulum-v1", max_episode_steps=10), {}, steps=50)
    env = task.vector_env(6)
    env.reset(staggered=True)
    assert not env.samples.any()


def free(kind: str) -> Any:
    if kind == "foreign":
        return GymnasiumTask("meter", lambda: Meter(0.0), {}, steps=8)
    soft = Box("priced", {"rate": (-9.0, 9.0)}).soft(1.0)
    task: Task = dataclasses.replace(swing_up(steps=8), constraints=(soft,) if kind == "soft" else ())
    return task


@pytest.mark.parametrize("base", [DSACT, SAC, PPO])
@pytest.mark.parametrize("kind", ["foreign", "soft", "unconstrained"])
@pytest.mark.every(3)
def test_policies_are_evaluated_without_a_budget(base: type[Learner], kind: str) -> None:
    task = free(kind)
    learner = base(task, settings=TINY[base]).learn(20, progress=False, evaluate_every=10)  # type: ignore[call-arg]
    last = learner.history[-1]
    # The curve of the policy that is saved, and that of the policy in training, each under its name.
    assert last.evaluation == evaluate(learner.result, task)
    assert last.evaluation_in_training == evaluate(learner.policy, task)
    assert assess(learner.result, task, episodes=3).spent.shape == (3, 0)
