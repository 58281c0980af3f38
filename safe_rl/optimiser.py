"""Adam without ceremony (Kingma & Ba, 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor


@final
class Adam:
    """The fused kernel of `torch.optim.Adam`, called directly.

    For networks of this size the bookkeeping of `torch.optim` costs three times as much as the step, and its first
    step imports torch's compiler, which takes seconds. The numbers are the same to the last bit.

    Args:
        groups: parameters that share a step size, and that step size.
    """

    def __init__(self, groups: Sequence[tuple[Sequence[Tensor], float]]) -> None:
        self.parameters: list[Tensor] = []
        self._groups: list[tuple[slice, float]] = []
        for members, rate in groups:
            start = len(self.parameters)
            self.parameters += members
            self._groups.append((slice(start, len(self.parameters)), rate))
        self._values = [parameter.detach() for parameter in self.parameters]
        self._first = [torch.zeros_like(value) for value in self._values]
        self._second = [torch.zeros_like(value) for value in self._values]
        self._steps = [torch.zeros((), device=value.device) for value in self._values]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move every parameter against its gradient; gradients in the order of `parameters`."""
        torch._foreach_add_(self._steps, 1.0)
        for part, rate in self._groups:
            torch._fused_adam_(
                self._values[part],
                list(gradients[part]),
                self._first[part],
                self._second[part],
                [],
                self._steps[part],
                lr=rate,
                beta1=0.9,
                beta2=0.999,
                weight_decay=0.0,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )

    def state_dict(self) -> dict[str, list[Tensor]]:
        return {"first": self._first, "second": self._second, "steps": self._steps}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        for mine, stored in (
            (self._first, state["first"]),
            (self._second, state["second"]),
            (self._steps, state["steps"]),
        ):
            for tensor, value in zip(mine, stored, strict=True):
                tensor.copy_(value)
