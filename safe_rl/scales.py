"""Scales of observations, rewards and costs, fixed from transitions under uniform actions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from safe_rl.buffer import Batch
from safe_rl.constraints import Constraints
from safe_rl.policy import Policy
from systems.errors import InvalidValue

__all__ = ["fix_scales"]


def fix_scales(
    rows: Batch,
    policies: Sequence[Policy],
    constraints: Constraints | None,
    discount: float,
    return_scale: float,
    where: str,
) -> tuple[float, Tensor]:
    """Sets the scales of policies and constraints and computes that of the reward.

    Args:
        rows: transitions under uniform actions.
        policies: whose scaling of observations is set.
        constraints: whose scaling of costs is set; None for none.
        discount: of the task.
        return_scale: size of a scaled return under uniform actions.
        where: the task, for messages.

    Returns:
        The discounted share of steps that have a successor (a return looks over 1 / (1 - share) steps), and the scale
        of the reward, a scalar.

    Raises:
        InvalidValue: the data are finite but too large to be scaled; a learner would receive zeros and learn nothing.
    """
    std, mean = torch.std_mean(rows.observation, dim=0)
    for policy in policies:
        policy.observation_mean.copy_(mean)
        policy.observation_std.copy_(torch.where(std > 1e-6 * (1.0 + mean.abs()), std, 1.0))
    survival = discount * (1.0 - float(rows.terminated.mean()))
    size = rows.reward.abs().mean() / (1.0 - survival)
    scales = {"the observations": std, "the rewards": size}
    if constraints is not None:
        constraints.fix_scales(rows.cost, return_scale, survival)
        scales["the costs"] = 1.0 / constraints.scale
    for name, scale in scales.items():
        if not bool(torch.isfinite(scale).all()):
            raise InvalidValue(
                f"{where}: {name} under uniform actions are so large that their spread overflows 32 bits; expected "
                "moderate numbers: give the task a domain, so that runs which diverge end, or larger units"
            )
    return survival, torch.where(size > 0, return_scale / size, 1.0)
