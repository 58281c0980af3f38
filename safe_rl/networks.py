"""Multilayer perceptrons with GELU units, single and as a batched ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _uniform(shape: tuple[int, ...], fan_in: int, generator: torch.Generator) -> Tensor:
    """Uniform on +-1/sqrt(fan_in), torch's own rule for linear layers, but from an explicit generator."""
    bound = fan_in**-0.5
    return (2.0 * torch.rand(shape, generator=generator, device=generator.device) - 1.0) * bound


@final
class MLP(nn.Module):
    """Fully connected network, GELU between layers, linear output: (..., sizes[0]) -> (..., sizes[-1])."""

    def __init__(self, sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList(_uniform((o, i), i, generator) for i, o in pairs)
        self.biases = nn.ParameterList(_uniform((o,), i, generator) for i, o in pairs)

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = F.linear(x, weight, bias)
            if i < last:
                x = F.gelu(x)
        return x


@final
class Ensemble(nn.Module):
    """`members` networks of one shape, evaluated together: (b, sizes[0]) -> (members, sizes[-1], b).

    Twins cost one batched product per layer instead of two, which is what counts for small networks. Units
    come before samples, because products with few columns are slow and each output is then one contiguous
    row.
    """

    def __init__(self, members: int, sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.members = members
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList(_uniform((members, o, i), i, generator) for i, o in pairs)
        self.biases = nn.ParameterList(_uniform((members, o, 1), i, generator) for i, o in pairs)

    def forward(self, x: Tensor) -> Tensor:
        x = x.t().expand(self.members, x.shape[1], x.shape[0])
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, weight, x)
            if i < last:
                x = F.gelu(x)
        return x
