"""The fixed penalty: a constant weight per unit of cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from torch import Tensor

from ctrl.multipliers import Integral, MultiplierController
from safe_rl.handlers.base import ConstraintState, Handler, weighted
from safe_rl.settings import expect_numbers

__all__ = ["FixedPenalty"]


@final
@dataclass(frozen=True)
class FixedPenalty(Handler):
    """min L + weight sum_i cost_i; the budget has no influence; a baseline.

    Args:
        weight: of scaled costs against the scaled reward, the same for all constraints.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_numbers(self, ("weight",), least=0.0)

    def controller(self, constraints: int) -> MultiplierController:
        standing = Integral(0.0, constraints)  # no gain: it stays where it starts
        standing.start(np.full(constraints, self.weight))
        return standing

    def gradient(
        self, reward_loss: Tensor, costs: Tensor, state: ConstraintState, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        return weighted(reward_loss, self.estimate(costs), state.multipliers, parameters, normalised=True)
