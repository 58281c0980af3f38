"""CAL: conservative augmented Lagrangian (Wu, Tang, Lin et al., 2024, arXiv 2401.14758)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, final

from torch import Tensor

from ctrl.multipliers import MultiplierController
from safe_rl.handlers.base import ConstraintState, Handler, weighted
from safe_rl.handlers.gains import DualAdamGains
from safe_rl.settings import expect_numbers
from systems.errors import expect

__all__ = ["ConservativeAugmented"]


@final
@dataclass(frozen=True)
class ConservativeAugmented(Handler):
    """Cost = mean + k standard deviations of an ensemble, in the policy's loss and in the multiplier; and the weight

        [lam + convexity * violation]+

    of an augmented Lagrangian, which convexifies the problem around the present policy. Violation and multiplier are
    those of the critics on the replay memory, anew with every policy update. Without convexity, with k = 0 and one
    member, this is the Lagrangian method with the same multiplier controller.

    Args:
        convexity: c, weight per unit of violation.
        members: E.
        caution: k.
    """

    members: int = 4
    caution: float = 0.5
    source: Literal["episodes", "critics"] = "critics"
    period: int = 1
    margin: float = 0.03
    convexity: float = 10.0
    gains: DualAdamGains = field(default_factory=DualAdamGains)

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_numbers(self, ("convexity",), least=0.0)
        expect(self.gains, DualAdamGains, "ConservativeAugmented: gains", "such as DualAdamGains(rate=0.01)")

    def controller(self, constraints: int) -> MultiplierController:
        return self.gains.controller(constraints)

    def gradient(
        self, reward_loss: Tensor, costs: Tensor, state: ConstraintState, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        weight = (state.multipliers + self.convexity * state.violation).clamp(min=0.0)
        return weighted(reward_loss, self.estimate(costs), weight, parameters, normalised=False)
