"""Harmonic gradients: steps that oppose neither objective (Zhang, Zhan, Shuai et al., 2025, arXiv 2505.13532)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from ctrl.multipliers import Integral, MultiplierController, Proportional
from safe_rl.handlers.base import ConstraintState, Handler
from safe_rl.settings import expect_numbers
from systems.arguments import expect_choice, expect_flag

__all__ = ["Harmonic", "equal_angle", "minimum_norm", "mutual_projection"]

_TINY = 1e-30  # of squared lengths; below it a gradient has no direction


def mutual_projection(g1: Tensor, g2: Tensor) -> Tensor:
    """H1: each gradient (n,) without the part that opposes the other, then their sum.

    With c = <g1, g2> < 0: g = g1 - c g2/|g2|^2 + g2 - c g1/|g1|^2, so <g, g1> = |g1|^2 - c^2/|g2|^2 >= 0.
    """
    opposed = (g1 @ g2).clamp(max=0.0)
    return g1 * (1.0 - opposed / (g1 @ g1).clamp(min=_TINY)) + g2 * (1.0 - opposed / (g2 @ g2).clamp(min=_TINY))


def minimum_norm(g1: Tensor, g2: Tensor) -> Tensor:
    """H2: the shortest vector between the two (Desideri, 2012); <g, gi> >= |g|^2."""
    difference = g1 - g2
    share = (-(difference @ g2) / (difference @ difference).clamp(min=_TINY)).clamp(0.0, 1.0)
    return share * g1 + (1.0 - share) * g2


def equal_angle(g1: Tensor, g2: Tensor) -> Tensor:
    """H3: the bisector, as long as the harmonic mean of the two lengths."""
    n1, n2 = g1.norm().clamp(min=_TINY**0.5), g2.norm().clamp(min=_TINY**0.5)
    return (g1 / n1 + g2 / n2) * (2.0 * n1 * n2 / (n1 + n2))


_RULES = {"mutual projection": mutual_projection, "minimum norm": minimum_norm, "equal angle": equal_angle}


@final
@dataclass(frozen=True)
class Harmonic(Handler):
    """g1 descends the reward's loss, g2 the costs; the policy follows their harmonic gradient.

    The published formula is not public. Three candidates are offered that meet its stated purpose, to minimise the
    conflict between both; all work on the flattened gradient of the whole policy, before the optimiser.

    g2 is the gradient of sum_i w_i cost_i with gates w_i = clip(1 + e_i / margin, 0, 2) that follow the violations e_i:
    zero while the cost stays below the budget by more than the margin, so that no return is lost to safety then, and
    w = 1 at the budget.

    If g1 and g2 are opposite, no direction serves both, and the harmonic gradient vanishes whether or not the budget is
    met. Beyond w = 1 the policy therefore follows the harmonic gradient + (w - 1) g2, which never opposes safety.

    g2 keeps its length, `weight` times that of the scaled costs, and g1 is never left out. It holds the entropy: the
    temperature rises until the policy explores enough, which it can only bring about if g1 gains on g2 by it.

    Args:
        rule: H1, H2 or H3.
        weight: of scaled costs against the scaled reward at an open gate.
        margin: width of a gate, in units of violation.
        gated: whether there are gates; without them w = 1 throughout, whatever the budget is.
    """

    members: int = 2
    caution: float = 0.7071
    rule: Literal["mutual projection", "minimum norm", "equal angle"] = "mutual projection"
    weight: float = 3.0
    margin: float = 0.1
    gated: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_choice(self.rule, "Harmonic: rule", tuple(_RULES))
        expect_numbers(self, ("weight",), least=0.0)
        expect_numbers(self, ("margin",), above=0.0)
        expect_flag(self.gated, "Harmonic: gated")

    def controller(self, constraints: int) -> MultiplierController:
        if not self.gated:
            standing = Integral(0.0, constraints)  # no gain: it stays where it starts
            standing.start(np.ones(constraints))
            return standing
        # The violation that it is given includes the margin, so this is the gate.
        return Proportional(1.0 / self.margin, constraints, np.full(constraints, 2.0))

    def gradient(
        self, reward_loss: Tensor, costs: Tensor, state: ConstraintState, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        given = list(parameters)
        g1 = _flat(torch.autograd.grad(reward_loss, given, retain_graph=True))
        gates = state.multipliers.clamp(max=1.0)
        g2 = _flat(torch.autograd.grad(self.weight * gates @ self.estimate(costs).mean(dim=-1), given))
        together = _RULES[self.rule](g1, g2) if bool(gates.any()) else g1
        together = together + state.multipliers.amax().sub(1.0).clamp(min=0.0) * g2
        return tuple(
            part.view_as(parameter)
            for part, parameter in zip(together.split([p.numel() for p in given]), given, strict=True)
        )


def _flat(gradients: Sequence[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])
