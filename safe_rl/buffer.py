"""Replay buffer: one table on the learner's device, one row per transition."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor

from systems.arguments import expect_whole
from systems.errors import DimensionMismatch, InvalidValue


class Batch(NamedTuple):
    """Transitions, batch in front."""

    observation: Tensor  # (b, o)
    next_observation: Tensor  # (b, o), before any automatic reset
    action: Tensor  # (b, m), normalised to [-1, 1]
    reward: Tensor  # (b,), as returned by the environment
    cost: Tensor  # (b, c), one column per named constraint
    terminated: Tensor  # (b,), 1 where the run terminates; 0 at a time limit


@final
class ReplayBuffer:
    """Ring buffer of the last `capacity` transitions.

    All quantities of a transition are stored side by side in one row, so that storing takes one copy and sampling
    one gather.

    Args:
        capacity: rows kept; memory is used only as rows are filled.
        observation_size, action_size, constraints: widths o, m and c.
    """

    def __init__(
        self,
        capacity: int,
        observation_size: int,
        action_size: int,
        constraints: int,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.capacity = expect_whole(capacity, "capacity", least=1, unit="rows")
        self.widths = [observation_size, observation_size, action_size, 1, constraints, 1]
        self._table = torch.empty(capacity, sum(self.widths), dtype=torch.float32, device=device)
        self.size = 0
        self.position = 0

    def add(self, rows: Batch) -> None:
        """Appends rows, which replace the oldest."""
        block = torch.cat(
            (
                rows.observation,
                rows.next_observation,
                rows.action,
                rows.reward.unsqueeze(1),
                rows.cost,
                rows.terminated.unsqueeze(1),
            ),
            dim=1,
        )
        n = block.shape[0]
        if n > self.capacity:
            raise InvalidValue(f"{n} rows do not fit into a buffer of {self.capacity}; increase its capacity")
        first = min(n, self.capacity - self.position)
        self._table[self.position : self.position + first] = block[:first]
        if first < n:
            self._table[: n - first] = block[first:]
        self.position = (self.position + n) % self.capacity
        self.size = min(self.size + n, self.capacity)

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """Rows drawn uniformly, with replacement."""
        index = torch.randint(self.size, (batch_size,), generator=generator, device=self._table.device)
        return self._split(self._table.index_select(0, index))

    def contents(self) -> Batch:
        """All rows held, as views, in the order of the table."""
        return self._split(self._table[: self.size])

    def _split(self, rows: Tensor) -> Batch:
        observation, successor, action, reward, cost, terminated = rows.split(self.widths, dim=1)
        return Batch(observation, successor, action, reward.squeeze(1), cost, terminated.squeeze(1))

    def state_dict(self) -> dict[str, Tensor | int]:
        """A copy of the filled part, which later steps do not change."""
        return {"rows": self._table[: self.size].clone(), "position": self.position}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        rows = state["rows"]
        assert isinstance(rows, Tensor)
        if rows.shape[0] > self.capacity or rows.shape[1] != sum(self.widths):
            raise DimensionMismatch(
                f"stored rows {tuple(rows.shape)} do not fit a buffer of {self.capacity} rows of {sum(self.widths)}"
            )
        if not 0 <= int(state["position"]) < self.capacity:
            raise ValueError(f"stored position {state['position']}; expected an index below {self.capacity}")
        self.size = rows.shape[0]
        self._table[: self.size] = rows.to(self._table)
        self.position = int(state["position"])
