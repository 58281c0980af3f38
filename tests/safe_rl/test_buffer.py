"""The replay memory: a ring, sampled uniformly, stored compactly."""

from __future__ import annotations

import pytest
import torch

from safe_rl.buffer import Batch, ReplayBuffer


def rows(first: int, n: int) -> Batch:
    """Rows that carry their number in every field."""
    k = torch.arange(first, first + n, dtype=torch.float32)
    wide = k.unsqueeze(1).repeat(1, 2)
    return Batch(wide, wide + 0.25, wide, k, wide, (k % 2))


def test_ring_keeps_the_newest_rows() -> None:
    buffer = ReplayBuffer(10, 2, 2, 2)
    for first in range(0, 24, 3):
        buffer.add(rows(first, 3))
    held = buffer.contents()
    assert sorted(held.reward.tolist()) == list(range(14, 24))
    assert torch.equal(held.next_observation, held.observation + 0.25)
    assert torch.equal(held.cost[:, 1], held.reward)
    assert torch.equal(held.terminated, held.reward % 2)


def test_sampling_is_uniform_over_what_is_held() -> None:
    buffer = ReplayBuffer(100, 2, 2, 2)
    buffer.add(rows(0, 8))
    drawn = buffer.sample(80_000, torch.Generator().manual_seed(0)).reward
    counts = torch.bincount(drawn.long(), minlength=8)
    assert counts.shape == (8,)
    assert ((counts - 10_000).abs() < 5 * 100).all()


def test_stored_part_is_the_filled_one_and_comes_back() -> None:
    buffer = ReplayBuffer(100, 2, 2, 2)
    buffer.add(rows(0, 8))
    state = buffer.state_dict()
    assert state["rows"].shape[0] == 8
    buffer.add(rows(8, 4))
    other = ReplayBuffer(100, 2, 2, 2)
    other.load_state_dict(state)
    other.add(rows(8, 4))
    assert torch.equal(other.contents().reward, buffer.contents().reward)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ReplayBuffer(0, 2, 2, 2)
    with pytest.raises(ValueError, match="do not fit"):
        ReplayBuffer(5, 2, 2, 2).add(rows(0, 6))
