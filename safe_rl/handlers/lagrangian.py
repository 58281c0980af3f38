"""Lagrangian handlers: multipliers by feedback from the violation, with any multiplier controller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from ctrl.multipliers import MultiplierController
from safe_rl.handlers.base import ConstraintState, Handler, weighted
from safe_rl.handlers.gains import Gains, IntegralGains
from systems.arguments import expect_flag
from systems.errors import InvalidValue, shown

__all__ = ["Lagrangian"]


@final
@dataclass(frozen=True)
class Lagrangian(Handler):
    """min (L + sum_i lam_i cost_i) / (1 + sum_i lam_i), lam from a multiplier controller.

    With integral gains the Lagrangian method (dual ascent), with PID gains PID-Lagrangian (Stooke, Achiam & Abbeel,
    2020), with predictive ones predictive Lagrangian optimisation (Zhang, Yuan, Zhan et al., 2025, arXiv 2501.15217).

    Args:
        gains: of the multiplier controller.
        normalised: whether the loss is divided by 1 + sum lam.
    """

    gains: Gains = field(default_factory=IntegralGains)
    normalised: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_flag(self.normalised, "Lagrangian: normalised")
        if isinstance(self.gains, type) or not hasattr(self.gains, "controller"):
            raise InvalidValue(f"Lagrangian: gains = {shown(self.gains)}; expected gains, such as PIDGains(kp=2.0)")

    def controller(self, constraints: int) -> MultiplierController:
        return self.gains.controller(constraints)

    def gradient(
        self, reward_loss: Tensor, costs: Tensor, state: ConstraintState, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        return weighted(reward_loss, self.estimate(costs), state.multipliers, parameters, self.normalised)
