"""Adam against torch's own and its state, the decay of step sizes, and operations on lists of tensors."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import pytest
import torch

from safe_rl import DSACT, PPO, SAC
from safe_rl.optimiser import Adam, clip_norm_, decayed, lerp_, mean_weight
from tests.safe_rl.tasks import TINY, swing_up


def test_steps_equal_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    mine = [torch.randn(5, 3, generator=generator), torch.randn(7, generator=generator)]
    theirs = [torch.nn.Parameter(tensor.clone()) for tensor in mine]
    reference = torch.optim.Adam([{"params": [theirs[0]], "lr": 1e-2}, {"params": [theirs[1]], "lr": 3e-3}], fused=True)
    optimiser = Adam([([mine[0]], 1e-2), ([mine[1]], 3e-3)])
    for k in range(20):
        gradients = [torch.randn(tensor.shape, generator=generator) for tensor in mine]
        if k == 10:  # a copy through its state goes on as if nothing had happened
            state = copy.deepcopy(optimiser.state_dict())
            optimiser = Adam([([mine[0]], 1e-2), ([mine[1]], 3e-3)])
            optimiser.load_state_dict(state)
        optimiser.step(gradients)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        reference.step()
        for a, b in zip(mine, theirs, strict=True):
            assert torch.equal(a, b.detach())


def test_plain_operations_agree_with_torchs_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels are private functions of torch: without them the numbers agree to rounding."""

    def run() -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        tensors = [torch.randn(5, 3, generator=generator), torch.randn(7, generator=generator)]
        means = [torch.zeros_like(tensor) for tensor in tensors]
        optimiser = Adam([([tensors[0]], 1e-2), ([tensors[1]], 3e-3)])
        for k in range(20):
            gradients = [torch.randn(tensor.shape, generator=generator) for tensor in tensors]
            clip_norm_(gradients, 2.0)
            assert float(torch.cat([g.flatten() for g in gradients]).norm()) == pytest.approx(2.0, rel=1e-5)
            optimiser.step(gradients, decayed(k, 15))
            lerp_(means, tensors, mean_weight(k, 5))
        return [*tensors, *means, *optimiser.state_dict()["steps"]]

    kernels = run()
    for name in ("_fused_adam_", "_foreach_add_", "_foreach_lerp_", "_foreach_mul_", "_foreach_norm"):
        monkeypatch.delattr(torch, name)
    for plain, kernel in zip(run(), kernels, strict=True):
        torch.testing.assert_close(plain, kernel, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("base", [DSACT, SAC, PPO])
def test_learners_learn_without_torchs_kernels(base: type, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_fused_adam_", "_foreach_add_", "_foreach_lerp_", "_foreach_mul_", "_foreach_norm"):
        monkeypatch.delattr(torch, name)
    learner = base(swing_up(), settings=TINY[base])
    before = [weight.detach().clone() for weight in learner.policy.parameters()]
    learner.learn(4, progress=False)
    assert not any(torch.equal(a, b.detach()) for a, b in zip(before, learner.policy.parameters(), strict=True))


def test_a_small_gradient_is_not_clipped() -> None:
    gradients = [torch.tensor([0.3]), torch.tensor([0.4])]
    clip_norm_(gradients, 1.0)
    assert [float(gradient) for gradient in gradients] == pytest.approx([0.3, 0.4])


def test_step_sizes_fall_to_a_tenth() -> None:
    assert [decayed(k, 100) for k in (0, 50, 100, 101, 10_000)] == pytest.approx([1.0, 0.55, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("base", [DSACT, SAC, PPO])
def test_every_optimiser_of_a_learner_steps_by_the_decayed_rate(base: type, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = base(swing_up(), settings=dataclasses.replace(TINY[base], decay=8))
    factors: dict[int, list[float]] = {}
    step = Adam.step

    def noted(self: Adam, gradients: Sequence[torch.Tensor], scale: float = 1.0) -> None:
        factors.setdefault(learner.updates, []).append(scale)
        step(self, gradients, scale)

    monkeypatch.setattr(Adam, "step", noted)
    learner.learn(12, progress=False)
    assert sorted(factors) == list(range(12))
    assert sum(len(seen) for seen in factors.values()) == (24 if base is PPO else 18)
    for updates, seen in factors.items():
        assert seen == pytest.approx([max(0.1, 1.0 - 0.9 * updates / 8)] * len(seen))


def test_a_mean_begins_with_all_and_then_forgets() -> None:
    assert [mean_weight(k, 4) for k in range(6)] == [1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 4, 1 / 4]
    assert [mean_weight(k, 4, every=2) for k in (1, 3, 5)] == [1.0, 0.5, 0.5]
    assert mean_weight(1, 1, every=2) == 1.0
