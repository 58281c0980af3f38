"""Jump start: who acts when, how the prior policy's part shrinks, learning from its steps, exact resumption."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ctrl import LQR, Decision, simulate
from safe_rl import DSACT, PPO, SAC, JumpStart, JumpStartSettings
from systems import Task
from systems.library import double_integrator, rocket_landing
from tests.safe_rl.tasks import TINY, assert_same_run

SETTINGS = JumpStartSettings(longest=12, threshold=0.5, step=0.1, memory=5)


def task() -> Task:
    return dataclasses.replace(double_integrator(), steps=30)


def test_prior_policy_acts_at_the_beginning_of_every_run_and_the_policy_the_rest() -> None:
    learner = SAC(task(), settings=TINY[SAC]).with_jump_start(JumpStart(task(), LQR, SETTINGS))
    learner.prepare()
    law, start = LQR(task()), learner.collector.jump_start
    assert start is not None
    lengths = []
    for _ in range(60):
        state = learner.collector.environment.state.clone()  # type: ignore[attr-defined]
        age, length = learner.collector._running[:, -1].clone(), start._length.clone()
        rows = learner.collector.collect()
        assert torch.equal(start.prior_acts, age < length)
        guided = torch.from_numpy(law.batch(state.double().numpy(), 0)).float()
        torch.testing.assert_close(
            learner.policy.physical(rows.action)[start.prior_acts], guided[start.prior_acts], atol=1e-5, rtol=0
        )
        assert not torch.allclose(
            learner.policy.physical(rows.action)[~start.prior_acts], guided[~start.prior_acts], atol=1e-3
        )
        lengths.append(length)
    assert float(torch.stack(lengths).min()) >= 0
    assert 5 <= float(torch.stack(lengths).max()) < 12


def test_prior_policy_gives_way_as_runs_succeed_and_stays_while_they_fail() -> None:
    start = JumpStart(task(), LQR, SETTINGS)
    generator = torch.Generator().manual_seed(0)
    environment = task().vector_env(4)
    start.begin(environment, generator)
    over, samples = torch.ones(4, dtype=torch.bool), torch.full((4,), 30)
    near = 0.99 * torch.from_numpy(task().arrival)
    for _ in range(5):
        environment._ends = (1.02 * near).expand(4, -1), samples
        start.count_runs(environment, over, generator)
    assert start.beta == 1.0
    environment._ends = near.expand(4, -1), samples
    start.count_runs(environment, ~over, generator)  # under way
    assert (start.beta, start.success) == (1.0, 0.0)
    # With a memory of 5, rates after 1, 2, 3, 4 successes are 0.2, 0.36, 0.488, 0.5904: the fourth reaches 0.5.
    start.count_runs(environment, over, generator)
    assert start.beta == pytest.approx(0.9)
    for _ in range(5):
        start.count_runs(environment, over, generator)
    assert start.beta == 0.0
    assert float(start._length.max()) == 0.0


@pytest.mark.parametrize(
    ("threshold", "distance", "rate", "beta"),
    [(0.0, 1.02, 0.0, 0.9), (0.2, 0.99, 0.2, 0.9), (0.201, 0.99, 0.2, 1.0)],
)
def test_a_success_rate_at_the_threshold_is_enough(threshold: float, distance: float, rate: float, beta: float) -> None:
    """A threshold of zero asks for no success at all; 0.2 is the rate after one success with a memory of five runs."""
    start = JumpStart(task(), LQR, dataclasses.replace(SETTINGS, threshold=threshold))
    generator, environment = torch.Generator().manual_seed(0), task().vector_env(1)
    start.begin(environment, generator)
    state = distance * torch.from_numpy(task().arrival)
    environment._ends = state.expand(1, -1), torch.full((1,), 30)
    start.count_runs(environment, torch.ones(1, dtype=torch.bool), generator)
    assert (start.success, start.beta) == (rate, pytest.approx(beta))


def test_a_run_succeeds_where_it_ends_be_it_on_the_ground() -> None:
    """The regulator's landings, whoever flies them, are counted as the task counts them, with the last sample."""
    rocket = rocket_landing()
    starts = rocket.initial.sample(rocket.plant.state, np.random.default_rng(0), (40,))
    runs = simulate(rocket, LQR(rocket), starts)
    assert rocket.arrived(runs.states[:, -1], rocket.steps).all()
    start, generator = JumpStart(rocket, LQR, JumpStartSettings(memory=10**9)), torch.Generator().manual_seed(0)
    environment = rocket.vector_env(3, dtype=torch.float64)
    start.begin(environment, generator)
    # Above the ground when the last action is taken; then the first lands, the second falls, the third lands outside.
    environment._x = torch.tensor(
        [[1.0, -0.45, 0.0, 0.0, -0.5, 0.0], [1.0, 1.0, 0.0, 0.0, -9.0, 0.0], [4.0, -0.45, 0.0, 0.0, -0.5, 0.0]],
        dtype=torch.float64,
    )
    hover = torch.tensor([rocket.plant.weight, 0.0], dtype=torch.float64).expand(3, -1)
    seen = environment.step(hover)
    assert seen.terminated.all()
    start.count_runs(environment, seen.terminated, generator)
    assert start.success == pytest.approx(1e-9)


class Nudge:
    """A prior policy with a memory, that acts on single states only: it counts its own steps."""

    def __init__(self, task: Task) -> None:
        self.count = 0

    def reset(self) -> None:
        self.count = 0

    def step(self, x: np.ndarray, k: int) -> Decision:
        self.count += 1
        return Decision(np.array([0.05 * self.count]))


def test_prior_policies_that_act_on_single_states_have_a_memory_for_each_run() -> None:
    learner = SAC(task(), settings=TINY[SAC]).with_jump_start(JumpStart(task(), Nudge, SETTINGS))
    for _ in range(70):
        age = learner.collector._running[:, -1].clone()
        rows = learner.collector.collect()
        acts = learner.collector.jump_start.prior_acts  # type: ignore[union-attr]
        expected = 0.05 * (age[acts] + 1.0)
        torch.testing.assert_close(learner.policy.physical(rows.action)[acts, 0], expected)


@pytest.mark.parametrize("base", [DSACT, PPO])
def test_a_run_resumes_exactly_and_asks_for_its_jump_start(base: type, tmp_path: Path) -> None:
    def fresh():  # type: ignore[no-untyped-def]
        return base(task(), settings=TINY[base]).with_jump_start(JumpStart(task(), LQR, SETTINGS))

    whole = fresh().learn(60, progress=False)
    fresh().learn(23, progress=False, checkpoint=tmp_path / "run")
    resumed = base.load(tmp_path / "run", task())
    with pytest.raises(ValueError, match="give it again"):
        resumed.learn(60, progress=False)
    resumed.with_jump_start(JumpStart(task(), LQR, SETTINGS)).learn(60, progress=False)
    assert_same_run(whole, resumed)


def test_ppo_learns_nothing_about_the_policy_from_steps_of_the_prior_policy() -> None:
    always = JumpStartSettings(longest=10_000, step=1e-9)
    settings = dataclasses.replace(TINY[PPO], entropy=0.0)
    learner = PPO(dataclasses.replace(task(), steps=10_000), settings=settings)
    start = JumpStart(task(), LQR, always)
    learner.with_jump_start(start)
    learner.prepare()
    start._length.fill_(1e9)
    before = [p.detach().clone() for p in learner.policy.parameters()]
    values = [p.detach().clone() for p in learner.values.parameters()]
    for _ in range(8):
        learner.iterate()
    for p, was in zip(learner.policy.parameters(), before, strict=True):
        assert torch.equal(p.detach(), was)
    assert not torch.equal(learner.values.weights[0].detach(), values[0])
