"""PPO's surrogates against the published formula."""

from __future__ import annotations

import pytest
import torch

from safe_rl.base.ppo import surrogates


def test_reward_takes_the_smaller_product_and_costs_the_larger() -> None:
    """By hand: a ratio of 1.5 is clipped to 1.2 and one of 0.5 to 0.8, and either way the pessimist is believed."""
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1])
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0, 3.0])
    gain, costs = surrogates(ratio, torch.stack((advantage, advantage, 2.0 * advantage)), clip=0.2)
    torch.testing.assert_close(gain, torch.tensor([1.2, -1.5, 0.5, -0.8, 3.3]))
    expected = torch.tensor([1.5, -1.2, 0.8, -0.5, 3.3])
    torch.testing.assert_close(costs, torch.stack((expected, 2.0 * expected)))


def test_gradient_stops_where_a_move_would_only_pay_beyond_the_clip() -> None:
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5], requires_grad=True)
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0])
    gain, costs = surrogates(ratio, torch.stack((advantage, advantage)), clip=0.2)
    (of_gain,) = torch.autograd.grad(gain.sum(), ratio, retain_graph=True)
    (of_cost,) = torch.autograd.grad(costs.sum(), ratio)
    assert of_gain.tolist() == pytest.approx([0.0, -1.0, 1.0, 0.0])
    assert of_cost.tolist() == pytest.approx([1.0, 0.0, 0.0, -1.0])


def test_without_costs_there_is_no_cost_surrogate() -> None:
    _, costs = surrogates(torch.ones(3), torch.ones(1, 3), clip=0.2)
    assert costs.shape == (0, 3)
