"""The interface that a learner needs of a task and its simulator, satisfied by `systems.Task`, `VectorEnv` and
adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from systems.constraints import Requirement
from systems.envs.vector import Transition
from systems.errors import InvalidValue, shown

__all__ = [
    "LARGEST",
    "LearnableTask",
    "Limited",
    "Transition",
    "VectorEnvironment",
    "expect_action_bounds",
    "expect_learnable",
]

LARGEST = float(np.finfo(np.float32).max)
"""The largest number of 32 bits, in which learners compute."""


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
    """A constraint for a learner: a column of costs and its requirement."""

    @property
    def name(self) -> str: ...
    @property
    def requirement(self) -> Requirement: ...


class LearnableTask(Protocol):
    """The interface of a task for learners."""

    @property
    def name(self) -> str: ...
    @property
    def discount(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def constraints(self) -> Sequence[Limited]: ...
    def vector_env(self, n: int, *, device: torch.device | str, seed: int) -> VectorEnvironment: ...


def expect_learnable(task: Any, what: str) -> None:
    """Rejects objects on which a learner cannot be trained.

    Raises:
        InvalidValue: the object lacks a member of :class:`LearnableTask`.
    """
    missing = [n for n in ("name", "discount", "steps", "constraints", "vector_env") if not hasattr(task, n)]
    if missing or isinstance(task, type):
        raise InvalidValue(
            f"{what} = {shown(task)}; expected a Task or a GymnasiumTask"
            + (f": it has no {', '.join(missing)}" if missing else "")
        )


def expect_action_bounds(low: Any, high: Any, where: str) -> None:
    """Rejects bounds within which a learner cannot act: it computes in 32 bits, and costs contain squares of actions.

    Args:
        low, high: (m,).
        where: the owner of the bounds, for the message.

    Raises:
        InvalidValue: bounds that are infinite or NaN, lower not below upper, or so far apart that the square of the
            distance overflows 32 bits.
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite([low, high]).all() and bool((np.maximum(np.abs(low), np.abs(high)) <= LARGEST).all())
        moderate = finite and bool(((high - low) ** 2 <= LARGEST).all())
        ordered = moderate and bool((low.astype(np.float32) < high.astype(np.float32)).all())
    given = f"{where}: actions from {low.tolist()} to {high.tolist()}"
    if not finite:
        raise InvalidValue(f"{given}; a learner acts within finite bounds: bound every input of the task")
    if not moderate:
        raise InvalidValue(
            f"{given}; the square of such a range overflows 32 bits, in which learners compute; expected a range below "
            f"{LARGEST**0.5:.2g}: choose a larger unit"
        )
    if not ordered:
        raise InvalidValue(f"{given}; expected low < high for every action, also in 32 bits")
