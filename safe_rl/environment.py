"""What a learner needs from a task: a batched simulator on torch tensors, and nothing else."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Transition(Protocol):
    """One step of every environment. Rows that ended were reset, which only `observation` shows."""

    @property
    def observation(self) -> Tensor: ...  # (n, o), after the automatic reset
    @property
    def next_observation(self) -> Tensor: ...  # (n, o), the true successor
    @property
    def reward(self) -> Tensor: ...  # (n,)
    @property
    def cost(self) -> Tensor: ...  # (n, c), one column per named constraint
    @property
    def terminated(self) -> Tensor: ...  # (n,) bool, no future: the value stops here
    @property
    def truncated(self) -> Tensor: ...  # (n,) bool, time limit: the value goes on


class VectorEnvironment(Protocol):
    """Batched simulator with automatic reset; actions in physical units."""

    @property
    def n(self) -> int: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def observation_size(self) -> int: ...
    @property
    def action_size(self) -> int: ...
    @property
    def action_low(self) -> Tensor: ...  # (m,)
    @property
    def action_high(self) -> Tensor: ...  # (m,)
    @property
    def constraint_names(self) -> tuple[str, ...]: ...

    def reset(self) -> Tensor: ...
    def step(self, action: Tensor) -> Transition: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class LearnableTask(Protocol):
    """A task as a learner sees it."""

    @property
    def name(self) -> str: ...
    @property
    def discount(self) -> float: ...
    def vector_env(self, n: int, *, device: torch.device | str, seed: int) -> VectorEnvironment: ...
