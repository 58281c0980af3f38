"""Checks that transitions and weights are finite, before a policy of NaN is saved or returned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from safe_rl.buffer import Batch
from safe_rl.policy import Policy
from systems.errors import InvalidValue, TriviumError

__all__ = ["LastFinite", "TrainingDiverged", "expect_finite_rows"]


class TrainingDiverged(TriviumError, RuntimeError):
    """Weights of a learner are no longer finite; its policies are those of the last update that passed the check."""


@final
class LastFinite:
    """The weights of a learner's policies when all of its networks were last finite.

    Args:
        networks: all that are trained, by name; the policies among them are kept.
    """

    def __init__(self, networks: Mapping[str, nn.Module | Tensor]) -> None:
        self._networks = dict(networks)
        self._kept: dict[str, dict[str, Tensor]] = {}
        self._updates = 0

    def check(self, updates: int, learner: str, checkpoint: object = None) -> None:
        """Keeps the policies if all weights are finite, and otherwise restores those kept last.

        Args:
            updates: number made so far.
            learner: its name in the message.
            checkpoint: the file that training writes, or None.

        Raises:
            TrainingDiverged: a weight is not finite.
        """
        broken = [name for name, network in self._networks.items() if not _is_finite(network)]
        if not broken:
            for name, policy in self._policies():
                self._kept[name] = {key: value.detach().clone() for key, value in policy.state_dict().items()}
            self._updates = updates
            return
        for name, policy in self._policies():
            if name in self._kept:
                policy.load_state_dict(self._kept[name])
        after = f"between updates {self._updates} and {updates}" if self._kept else f"at update {updates}"
        left = f"policy and result are those of update {self._updates}" if self._kept else "it holds no usable policy"
        file = f", and nothing was written to {checkpoint} since then" if checkpoint is not None else ""
        raise TrainingDiverged(
            f"{learner}: weights of {', '.join(broken)} became NaN or infinite {after}; expected finite numbers. "
            f"Training stopped: {left}{file}. Lower the step sizes (such as policy_rate), or keep rewards and costs "
            "moderate: a domain ends runs that diverge, and smaller weights or larger units make costs smaller"
        )

    def _policies(self) -> list[tuple[str, Policy]]:
        return [(name, network) for name, network in self._networks.items() if isinstance(network, Policy)]


def _is_finite(network: nn.Module | Tensor) -> bool:
    tensors = [network] if isinstance(network, Tensor) else list(network.state_dict().values())
    with torch.no_grad():
        return bool(torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all())


def expect_finite_rows(rows: Batch, observation: Tensor, ages: Tensor, task: str, costs: Sequence[str]) -> None:
    """Rejects transitions that contain NaN or infinity; waits for the device.

    Args:
        rows: of one step of all environments.
        observation: (n, o), after automatic resets.
        ages: (n,), steps of the runs before this one.
        task: its name.
        costs: names of its constraints.

    Raises:
        InvalidValue: names the environment, the step and the value.
    """
    total = rows.next_observation.sum() + observation.sum() + rows.reward.sum() + rows.cost.sum()
    if math.isfinite(float(total)):  # a single number to read; a sum of large finite numbers may overflow
        return
    named = {"the observation": rows.next_observation, "the reward": rows.reward.unsqueeze(1)}
    named |= {f"the cost '{name}'": rows.cost[:, j : j + 1] for j, name in enumerate(costs)}
    named["the first observation of the next run"] = observation
    for what, values in named.items():
        wrong = (~torch.isfinite(values)).nonzero()
        if len(wrong):
            i, j = wrong[0].tolist()
            entry = f"entry {j} of " if values.shape[1] > 1 else ""
            raise InvalidValue(
                f"task '{task}', environment {i}, step {int(ages[i]) + 1} of its run: {entry}{what} is "
                f"{float(values[i, j])}; expected a finite number, also in 32 bits, in which learners compute: give "
                "the task a domain, which ends runs that diverge, or scale its costs and units"
            )
