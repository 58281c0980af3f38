"""The little a learner asks of a task and its simulator: what `systems.Task` and `VectorEnv` give, and adapters too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from systems.constraints import Requirement
from systems.envs.vector import Transition

__all__ = ["LearnableTask", "Limited", "Transition", "VectorEnvironment"]


class VectorEnvironment(Protocol):
    """Batched simulator with automatic reset, actions in physical units; see `systems.envs.vector.VectorEnv`."""

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


class Limited(Protocol):
    """A constraint as a learner sees it: a column of costs and what is required of it."""

    @property
    def name(self) -> str: ...
    @property
    def requirement(self) -> Requirement: ...


class LearnableTask(Protocol):
    """A task as a learner sees it."""

    @property
    def name(self) -> str: ...
    @property
    def discount(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def constraints(self) -> Sequence[Limited]: ...
    def vector_env(self, n: int, *, device: torch.device | str, seed: int) -> VectorEnvironment: ...
