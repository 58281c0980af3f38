"""Interface of constraint handlers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ctrl.multipliers import MultiplierController
from safe_rl.settings import expect_counts, expect_numbers
from systems.arguments import expect_choice
from systems.errors import InvalidValue

__all__ = ["ConstraintState", "Handler", "weighted"]


@dataclass(frozen=True)
class ConstraintState:
    """Multipliers and violations of all constraints, each (c,), dimensionless.

    Args:
        multipliers: weight of each constraint's scaled cost against the scaled reward.
        violation: excess of the cost over its budget, in units (see `Constraints`); negative below it.
    """

    multipliers: Tensor
    violation: Tensor


@dataclass(frozen=True)
class Handler(ABC):
    """A frozen rule without memory; the only memory is that of the multiplier controller, which belongs to the learner.

    The base learner learns `members` cost critics per constraint, each on its own target, in one batched network with
    its reward critics. A handler estimates the cost by their mean plus `caution` standard deviations.

    Args:
        members: cost critics per constraint.
        caution: k; with two members, 0.7071 gives the larger of both.
        source: what updates the multipliers: the measured cost of the runs, or the critics' estimate of it
            on the replay memory.
        margin: added to every violation, so that a policy settles below the budget by this share of its unit instead of
            oscillating about it (`Constraints.threshold`).
        critics: what cost critics learn: the expected cost accumulated from a state on, or the discounted worst margin
            of the trajectory (`safe_rl.worst_margin`), of which the policy is charged what is above zero.
        period: hundredths of a run between two updates, and at least as many steps of all environments (with the
            critics as source, policy updates).
    """

    members: int = 1
    caution: float = 0.0
    source: Literal["episodes", "critics"] = "episodes"
    period: int = 10
    critics: Literal["accumulated cost", "worst margin"] = "accumulated cost"
    margin: float = 0.03

    def __post_init__(self) -> None:
        expect_counts(self, ("members", "period"))
        expect_numbers(self, ("caution",))
        expect_numbers(self, ("margin",), least=0.0)
        expect_choice(self.source, f"{type(self).__name__}: source", ("episodes", "critics"))
        expect_choice(self.critics, f"{type(self).__name__}: critics", ("accumulated cost", "worst margin"))
        if self.critics == "worst margin" and self.source == "critics":
            raise InvalidValue(
                "critics of the worst margin do not estimate a cost that can be compared with a budget; give "
                "source='episodes'"
            )
        if self.members == 1 and self.caution != 0.0:
            raise InvalidValue(f"caution = {self.caution} with one critic, which has no spread; give members=2 or more")

    @abstractmethod
    def controller(self, constraints: int) -> MultiplierController:
        """A new multiplier controller."""

    @abstractmethod
    def gradient(
        self, reward_loss: Tensor, costs: Tensor, state: ConstraintState, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """The gradient that the policy descends: a pure function of its arguments.

        Args:
            reward_loss: scalar that the base learner minimises.
            costs: (members, c, b), differentiable in the parameters.
            state: the multipliers and violations.
            parameters: of the policy.

        Returns:
            One tensor per parameter.
        """

    def estimate(self, costs: Tensor) -> Tensor:
        """Cautious costs (c, b) from those of the ensemble (members, c, b)."""
        if self.caution == 0.0:
            return costs.mean(dim=0)
        std, mean = torch.std_mean(costs, dim=0)
        return mean + self.caution * std


def weighted(
    reward_loss: Tensor, costs: Tensor, weights: Tensor, parameters: Sequence[Tensor], normalised: bool
) -> tuple[Tensor, ...]:
    """Gradient of reward_loss + weights . mean cost, divided by 1 + sum of the weights if requested."""
    loss = reward_loss + weights @ costs.mean(dim=-1)
    if normalised:
        loss = loss / (1.0 + weights.sum())
    return torch.autograd.grad(loss, list(parameters))
