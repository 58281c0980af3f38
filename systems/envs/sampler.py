"""Draws from a distribution in torch."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor

from systems.distributions import Distribution
from systems.envs.model import SampleModel
from systems.signals import Signals

__all__ = ["Sampler"]


@final
class Sampler:
    """Draws from a distribution, components contiguous.

    Args:
        distribution: from which is drawn.
        declared: its signals.
        model: with type and device of the numbers.
    """

    def __init__(self, distribution: Distribution, declared: Signals, model: SampleModel) -> None:
        affine = distribution.affine(declared)
        factor = affine.factor
        self._size = len(declared)
        self._draw = torch.rand if affine.base == "uniform" else torch.randn
        self._offset = model.array(affine.offset[:, None])
        self._is_fixed = not factor.any()
        self._scale = (
            model.array(np.diag(factor)[:, None]) if np.array_equal(factor, np.diag(np.diag(factor))) else None
        )
        self._factor = model.array(factor)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, signals)."""
        if self._is_fixed:
            return self._offset.expand(self._size, n).mT
        placed = {"dtype": self._offset.dtype, "device": self._offset.device}
        z = self._draw(self._size, n, generator=generator, **placed)
        if self._scale is None:
            return (self._offset + self._factor @ z).mT
        return torch.addcmul(self._offset, self._scale, z).mT
