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
        # References to the same tensors, because a look-up in a ParameterList takes as long as a small product.
        self._layers = list(zip(self.weights, self.biases, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        for weight, bias in self._layers[:-1]:
            x = F.gelu(F.linear(x, weight, bias))
        return F.linear(x, *self._layers[-1])


@final
class Ensemble(nn.Module):
    """`members` networks of the same shape, evaluated together: (b, sizes[0]) -> (members, sizes[-1], b).

    Twins take one batched product per layer instead of two, and the number of products determines the time of small
    networks. Units come before samples, because products with few columns are slow and each output is then one
    contiguous row.
    """

    def __init__(self, members: int, sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.members = members
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList(_uniform((members, o, i), i, generator) for i, o in pairs)
        self.biases = nn.ParameterList(_uniform((members, o, 1), i, generator) for i, o in pairs)
        self._layers = list(zip(self.weights, self.biases, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        x = x.t().expand(self.members, x.shape[1], x.shape[0])
        for weight, bias in self._layers[:-1]:
            x = F.gelu(torch.baddbmm(bias, weight, x))
        weight, bias = self._layers[-1]
        return torch.baddbmm(bias, weight, x)
