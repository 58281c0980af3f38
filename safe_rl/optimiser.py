"""Adam (Kingma & Ba, 2015), the decay of step sizes, and operations on lists of tensors in place.

torch's kernels for lists of tensors are private functions. Each is used where the installed torch has it, and written
out as a loop over public operations otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, final

import torch
from torch import Tensor

__all__ = ["Adam", "clip_norm_", "decayed", "lerp_", "mean_weight"]

Tensors: TypeAlias = list[Tensor] | tuple[Tensor, ...]

_BETA, _EPSILON = (0.9, 0.999), 1e-8


def decayed(updates: int, decay: int) -> float:
    """Factor on a step size after some updates: decreases linearly to a tenth over `decay` updates and stays there."""
    return max(0.1, 1.0 - 0.9 * updates / decay)


def mean_weight(updates: int, window: int, every: int = 1) -> float:
    """Weight of new parameters in a mean over about the last `window` updates that is updated once in `every` updates.

    Args:
        updates: made before this one.
        window: updates over which the mean is taken; a shorter history is averaged entirely.
        every: updates between two changes of the mean; default: 1.
    """
    return every / min(updates + 1, max(window, every))


def lerp_(tensors: Tensors, ends: Tensors, weight: float) -> None:
    """Moves each tensor towards its end by a share `weight` of the way, in place."""
    if hasattr(torch, "_foreach_lerp_"):
        torch._foreach_lerp_(tensors, ends, weight)
    else:
        for tensor, end in zip(tensors, ends, strict=True):
            tensor.lerp_(end, weight)


def clip_norm_(gradients: Tensors, largest: float) -> None:
    """Scales all gradients by one factor, in place, so that their common norm is at most `largest`."""
    if hasattr(torch, "_foreach_norm") and hasattr(torch, "_foreach_mul_"):
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp(max=1.0))
    else:
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        for gradient in gradients:
            gradient.mul_((largest / (norm + 1e-6)).clamp(max=1.0))


@final
class Adam:
    """Adam by the fused kernel of `torch.optim.Adam`, called directly.

    For networks of this size, the bookkeeping of `torch.optim` takes twice as long as the step, and its first step
    imports torch's compiler, which takes seconds. The results are equal to the last bit; without the kernel they
    agree up to rounding.

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
    def step(self, gradients: Sequence[Tensor], scale: float = 1.0) -> None:
        """Moves every parameter against its gradient.

        Args:
            gradients: one for each of `parameters`, in that order.
            scale: factor on all step sizes; default: 1.
        """
        if not (hasattr(torch, "_fused_adam_") and hasattr(torch, "_foreach_add_")):
            self._plain_step(gradients, scale)
            return
        torch._foreach_add_(self._steps, 1.0)
        for part, rate in self._groups:
            torch._fused_adam_(
                self._values[part],
                list(gradients[part]),
                self._first[part],
                self._second[part],
                [],
                self._steps[part],
                lr=scale * rate,
                beta1=_BETA[0],
                beta2=_BETA[1],
                weight_decay=0.0,
                eps=_EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def _plain_step(self, gradients: Sequence[Tensor], scale: float) -> None:
        """The same step, one parameter at a time."""
        rates = [rate for part, rate in self._groups for _ in self._values[part]]
        moments = zip(self._values, gradients, self._first, self._second, self._steps, rates, strict=True)
        for value, gradient, first, second, step, rate in moments:
            step += 1.0
            first.lerp_(gradient, 1.0 - _BETA[0])
            second.mul_(_BETA[1]).addcmul_(gradient, gradient, value=1.0 - _BETA[1])
            deviation = (second / (1.0 - _BETA[1] ** step)).sqrt_().add_(_EPSILON)
            value.sub_(scale * rate / (1.0 - _BETA[0] ** step) * first / deviation)

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
