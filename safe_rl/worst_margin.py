"""The discounted worst margin of a trajectory as a value, by which critics predict violations (Fisac et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from ctrl.controller import NotApplicable
from systems import Task
from systems.lowering import lower

__all__ = ["Margins", "worst_margin"]


def worst_margin(margin: Tensor, successor: Tensor, discount: float, terminated: Tensor) -> Tensor:
    """(1 - discount) g + discount max(g, V'), the safety Bellman equation, and g at the end of a run.

    Fisac, Lugovoy, Rubies-Royo, Ghosh & Tomlin (2019), here with g > 0 where violated. V > 0 means that the trajectory
    will violate the constraint; as the discount approaches 1, V becomes its largest g.

    Args:
        margin: g, of the sample.
        successor: V', of the next state.
        discount: per sample.
        terminated: 1 where the run terminates.
    """
    return torch.lerp(margin, torch.maximum(margin, successor), discount * (1.0 - terminated))


@final
class Margins:
    """The largest g(x, u) of constraints of a task, for batches of a policy's observations.

    Args:
        task: whose policy observes the state.
        columns: indices of the constraints.

    Raises:
        NotApplicable: an external environment, or a policy that does not observe the state.
    """

    def __init__(self, task: Any, columns: Sequence[int]) -> None:
        if not isinstance(task, Task):
            raise NotApplicable(
                f"environment '{task.name}' reports costs but not margins; critics of the worst margin need the "
                "constraints of a systems.Task, so use critics='accumulated cost'"
            )
        if task.observation is not None:
            raise NotApplicable(
                f"task '{task.name}': its policy observes something other than the state, from which margins are "
                "computed; omit the observation from the task, or use critics='accumulated cost'"
            )
        self._states = len(task.plant.state)
        self._functions = [lower(task.constraints[k].function(task.plant), to="torch") for k in columns]

    def __call__(self, observation: Tensor, input: Tensor) -> Tensor:
        """Margins (c, b) at observations (b, o) and inputs (b, m) in physical units."""
        x = observation[:, : self._states]
        return torch.stack([function(x, input).amax(dim=1) for function in self._functions])
