"""DSAC-T: its update against the equations, its fixed point, what it does to scales, and what it learns."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sysconfig
from pathlib import Path
from typing import Literal

import pytest
import torch

from safe_rl.arithmetic import quick_arithmetic
from safe_rl.base.dsact import DSACT, DSACTSettings, gradients_form_2, value_distribution
from safe_rl.buffer import Batch
from safe_rl.evaluation import evaluate
from tests.safe_rl.tasks import swing_up

SETTLES = {1: 0.997, 2: 0.681}
"""Deviation of the critics over that of normal targets. Without clipping at three deviations: 1 and 1 / sqrt(2)."""
TINY = DSACTSettings(hidden=(16, 16), batch_size=32, warmup=200, environments=4, capacity=1_000)


def one_place(rewards: torch.Tensor) -> Batch:
    """A fixed observation and action with the given rewards and no future."""
    n = rewards.shape[0]
    observation = torch.tensor([[1.0, 0.0, 0.5]]).expand(n, 3)
    return Batch(observation, observation, torch.full((n, 1), 0.3), rewards, torch.zeros(n, 1), torch.ones(n))


@pytest.mark.parametrize("form", [1, 2])
@pytest.mark.parametrize(("mean", "deviation"), [(1.0, 0.5), (-3.0, 2.0)])
@pytest.mark.every(4)
def test_fixed_target_gives_its_mean_and_deviation(form: Literal[1, 2], mean: float, deviation: float) -> None:
    critics_only = dataclasses.replace(TINY, critic_rate=3e-3, delay=1_000_000, form=form)
    learner = DSACT(swing_up(), settings=critics_only)
    generator = torch.Generator().manual_seed(1)
    means, deviations = [], []
    with quick_arithmetic(1):
        for k in range(1000):
            batch = one_place(mean + deviation * torch.randn(128, generator=generator))
            learner.update(batch)
            if k >= 600:
                observation = learner.policy.scale(batch.observation[:1])
                q, sigma = value_distribution(learner.critics, observation, batch.action[:1])
                means.append(q.detach().flatten())
                deviations.append(sigma.detach().flatten())
    torch.testing.assert_close(torch.stack(means).mean(0), torch.full((2,), mean), atol=0.03 * deviation, rtol=0.0)
    settled = SETTLES[form] * deviation
    torch.testing.assert_close(
        torch.stack(deviations).mean(0), torch.full((2,), settled), atol=0.03 * deviation, rtol=0.0
    )


def test_deviations_that_the_forms_settle_at() -> None:
    """SETTLES: where sigma^2 equals the mean (form 1) or half the mean (form 2) of min(z^2, 9 sigma^2), z normal."""
    z = torch.linspace(-8, 8, 160_001, dtype=torch.float64)
    density = torch.exp(-0.5 * z**2) / (2 * torch.pi) ** 0.5
    for form, sigma in SETTLES.items():
        clipped = torch.trapezoid(torch.minimum(z**2, torch.tensor(9 * sigma**2)) * density, z)
        assert float(clipped) / form == pytest.approx(sigma**2, rel=5e-3)


def test_form_2_is_the_gradient_of_its_published_loss() -> None:
    generator = torch.Generator().manual_seed(2)
    q, y, y_z = (20.0 * torch.randn(2, 64, generator=generator, dtype=torch.float64) for _ in range(3))
    y_z[0, :8] += 500.0  # beyond both thresholds
    sigma = 0.1 + 10.0 * torch.rand(2, 64, generator=generator, dtype=torch.float64)
    mean_std = sigma.mean(1, keepdim=True)
    q, sigma = q.requires_grad_(), sigma.requires_grad_()
    frozen, deviation = q.detach(), sigma.detach()
    y_b = frozen + torch.maximum(torch.minimum(y_z - frozen, 3 * mean_std), -3 * mean_std)
    ratio = (mean_std**2 / (deviation**2 + 0.1)).clamp(0.1, 10.0)
    huber = torch.nn.functional.huber_loss
    spread = huber(frozen, y_b, reduction="none", delta=50.0)
    inner = huber(q, y, reduction="none", delta=50.0) + sigma * (deviation**2 - spread) / (deviation + 0.1)
    expected = torch.autograd.grad((ratio * inner).mean(1).sum(), (q, sigma))
    for found, wanted in zip(gradients_form_2(frozen, deviation, y, y_z, mean_std), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_update_follows_the_published_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """One critic step against the surrogate loss, written out as published and differentiated by torch."""
    settings = dataclasses.replace(TINY, averaging=0.005, delay=1_000)
    learner = DSACT(swing_up(), seed=3, settings=settings)
    learner.prepare()
    learner.update(learner.buffer.sample(32, learner.generator))  # makes the moving averages non-trivial
    batch = learner.buffer.sample(32, learner.generator)
    batch = batch._replace(terminated=(torch.arange(32) % 4 == 0).float())
    state = learner.generator.get_state()
    noise, noise_z = (torch.randn(shape, generator=learner.generator) for shape in ((32, 1), (32,)))
    learner.generator.set_state(state)

    observation, successor = (
        learner.policy.scale(batch.observation),
        learner.policy.scale(batch.next_observation),
    )
    with torch.no_grad():
        action, log_density = learner.target_policy.sample(successor, noise)
        (q1, q2), (s1, s2) = value_distribution(learner.target_critics, successor, action)
        alive = 0.99 * (1 - batch.terminated)
        entropy = -learner.log_alpha.exp() * log_density
        q_next = torch.where(q1 < q2, q1, q2)
        z_next = q_next + torch.where(q1 < q2, s1, s2) * noise_z.clamp(-3, 3)
        y = learner.reward_scale * batch.reward + alive * (q_next + entropy)
        y_z = learner.reward_scale * batch.reward + alive * (z_next + entropy)
    q, sigma = value_distribution(learner.critics, observation, batch.action)
    loss = torch.zeros(())
    for i in range(2):
        qi, si = q[i], sigma[i]
        c, d = qi.detach(), si.detach()
        s = 0.995 * learner.mean_std[i] + 0.005 * d.mean()
        y_b = c + torch.clamp(y_z - c, -3 * s.item(), 3 * s.item())
        inner = (y - c) / (d**2 + 0.1) * qi + ((c - y_b) ** 2 - d**2) / (d**3 + 0.1) * si
        loss = loss - (s**2 + 0.1) * inner.mean()
    parameters = list(learner.critics.parameters())
    expected = torch.autograd.grad(loss, parameters)
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(learner.critic_optimiser, "step", lambda gradients, _: seen.extend(gradients))
    learner.update(batch)
    assert len(seen) == len(parameters)
    for gradient, reference in zip(seen, expected, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-6, rtol=1e-4)


def test_actor_and_targets_move_every_second_update() -> None:
    learner = DSACT(swing_up(), settings=TINY)
    learner.prepare()
    watched = [learner.policy.network.weights[0], learner.target_critics.weights[0], learner.log_alpha]
    for expected in (False, True, False, True):
        before = [tensor.detach().clone() for tensor in watched]
        learner.iterate()
        assert [not torch.equal(a, b) for a, b in zip(before, watched, strict=True)] == [expected] * 3


def test_temperature_moves_towards_the_target_entropy() -> None:
    """Where the policy is far more random than the target alpha falls, and the reverse."""
    for log_std, falls in ((0.0, True), (-6.0, False)):
        learner = DSACT(swing_up(), settings=dataclasses.replace(TINY, delay=1))
        with torch.no_grad():
            learner.policy.network.weights[-1].zero_()
            learner.policy.network.biases[-1].copy_(torch.tensor([0.0, log_std]))
        before = learner.log_alpha.item()
        learner.update(one_place(torch.zeros(32)))
        assert (learner.log_alpha.item() < before) is falls


def test_reward_scale_makes_learning_indifferent_to_units() -> None:
    """A power of two changes no digit, so the policies are equal to the last bit; ten only rounds."""
    policies = []
    for factor in (1.0, 16.0, 10.0):
        learner = DSACT(swing_up(reward_factor=factor), settings=TINY)
        learner.learn(60, progress=False)
        policies.append(torch.cat([p.detach().flatten() for p in learner.policy.parameters()]))
    assert torch.equal(policies[0], policies[1])
    torch.testing.assert_close(policies[0], policies[2], atol=1e-3, rtol=0.0)


def test_time_limit_bootstraps_and_termination_does_not() -> None:
    """In the buffer a time limit is not an end; every episode of the pendulum ends by one."""
    learner = DSACT(swing_up(steps=5), settings=TINY)
    learner.prepare()
    rows = learner.buffer.contents()
    assert rows.terminated.sum() == 0
    # The true successor obeys the dynamics even where the episode ended and the next row starts elsewhere.
    angle = torch.atan2(rows.observation[:, 1], rows.observation[:, 0])
    moved = torch.atan2(rows.next_observation[:, 1], rows.next_observation[:, 0])
    mean_rate = 0.5 * (rows.observation[:, 2] + rows.next_observation[:, 2])
    step = torch.remainder(moved - angle - 0.05 * mean_rate + 3.0, 6.283185307) - 3.0
    assert step.abs().max() < 1e-2  # the trapezoidal rule; another start would be off by radians


def test_settings_and_seed_decide_everything() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.rand(3)  # the global generator must not matter
        learner = DSACT(swing_up(), seed=seed, settings=TINY).learn(30, progress=False)
        return torch.cat([p.detach().flatten() for p in learner.policy.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    DSACT(swing_up(), settings=TINY).learn(10, progress=False)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("discount", [1.0, -0.1])
def test_discount_outside_its_range_is_refused(discount: float) -> None:
    with pytest.raises(ValueError, match="discount"):
        DSACT(swing_up(discount=discount), settings=TINY)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pendulum_swings_up(seed: int) -> None:
    learner = DSACT(swing_up(), seed=seed).learn(8_000, progress=False)
    assert evaluate(learner.policy, swing_up(), episodes=100, seed=1234) > -200.0


def _can_compile() -> bool:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return shutil.which(os.environ.get("CXX", "g++")) is not None and header.exists()


@pytest.mark.slow
@pytest.mark.skipif(not _can_compile(), reason="torch.compile needs a C++ compiler and Python's headers")
def test_compiled_updates_agree_with_eager_ones() -> None:
    """A few updates only: rounding is amplified by every one. The compiler's own counters say that it was at work."""
    from torch._dynamo.utils import counters

    def weights(compiled: bool) -> tuple[torch.Tensor, int]:
        torch.compiler.reset()
        counters.clear()
        learner = DSACT(swing_up(), seed=0, settings=TINY)
        if compiled:
            learner.compile()
        learner.learn(6, progress=False)
        assert learner.updates == 6
        parameters = (*learner.policy.parameters(), *learner.critics.parameters())
        return torch.cat([p.detach().flatten() for p in parameters]), counters["stats"]["calls_captured"]

    (eager, none), (compiled, captured) = weights(compiled=False), weights(compiled=True)
    torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-5)
    assert none == 0
    assert captured > 100  # operations in kernels: an update has some 350
