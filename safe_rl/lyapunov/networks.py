"""The two networks that are trained, and their exported forms: a Lyapunov function and a control law."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from ctrl.certify import NeuralLyapunov
from ctrl.laws import Network
from ctrl.laws.network import Activation
from systems import InvalidValue, Task
from systems.arithmetic.interval import Interval

__all__ = ["Control", "Scale", "Value"]

_LEAST = 1e-3  # of the quadratic part's eigenvalues, in scaled coordinates


@final
class Scale:
    """z = (x - centre) / half, so that the box is about [-1, 1]^n.

    Args:
        centre: (n,), where z = 0.
        lower, upper: (n,), of the box.
    """

    def __init__(self, centre: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        self.centre, self.lower, self.upper = centre, lower, upper
        self.half = 0.5 * (upper - lower)
        self._centre, self._half = torch.tensor(centre), torch.tensor(self.half)

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self._centre) / self._half

    def rate(self, v: Tensor) -> Tensor:
        """z' where x' = v."""
        return v / self._half


def _normal(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(scale * torch.randn(shape, generator=generator, dtype=torch.float64))


@final
class Value(nn.Module):
    """V(x) = |A (h(z) - h(0))|^2 + |R z|^2 + least |z|^2, h a tanh network: positive but at the centre, where it is 0.

    Args:
        hidden: units of each layer.
        features: rows of A.
        P: (n, n), what R'R begins as.
    """

    def __init__(
        self, scale: Scale, hidden: Sequence[int], features: int, P: np.ndarray, generator: torch.Generator
    ) -> None:
        super().__init__()
        sizes = [len(P), *hidden]
        steep = [2.0] + [1.0] * len(hidden)  # units of the first layer bend within the box
        self.weights = nn.ParameterList(
            _normal((b, a), s * a**-0.5, generator) for (a, b), s in zip(pairwise(sizes), steep, strict=False)
        )
        self.biases = nn.ParameterList(_normal((b,), 0.5, generator) for b in hidden)
        self.A = _normal((features, sizes[-1]), 0.2 * sizes[-1] ** -0.5, generator)
        self.R = nn.Parameter(torch.tensor(np.linalg.cholesky(P).T.copy()))
        self.scale = scale
        self._origin = torch.zeros(1, len(P), dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        """V (...,) at states (..., n)."""
        z = self.scale(x)
        r, q = (self._hidden(z) - self._hidden(self._origin)) @ self.A.T, z @ self.R.T
        return (r * r).sum(-1) + (q * q).sum(-1) + _LEAST * (z * z).sum(-1)

    def rate(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """V and V'(x) v (...,), by the chain rule forward: its gradient by the parameters costs no second graph."""
        z, d = self.scale(x), self.scale.rate(v)
        h, dh = z, d
        for W, b in zip(self.weights, self.biases, strict=True):
            h = torch.tanh(h @ W.T + b)
            dh = (1.0 - h * h) * (dh @ W.T)
        r, dr = (h - self._hidden(self._origin)) @ self.A.T, dh @ self.A.T
        q, dq = z @ self.R.T, d @ self.R.T
        value = (r * r).sum(-1) + (q * q).sum(-1) + _LEAST * (z * z).sum(-1)
        return value, 2.0 * ((r * dr).sum(-1) + (q * dq).sum(-1) + _LEAST * (z * d).sum(-1))

    def _hidden(self, z: Tensor) -> Tensor:
        for W, b in zip(self.weights, self.biases, strict=True):
            z = torch.tanh(z @ W.T + b)
        return z

    def lyapunov(self) -> NeuralLyapunov:
        """The same function of the state in numbers."""
        half = self.scale.half
        first, *others = (W.detach().numpy().copy() for W in self.weights)
        first = first / half
        biases = [b.detach().numpy().copy() for b in self.biases]
        biases[0] = biases[0] - first @ self.scale.centre
        R = self.R.detach().numpy() / half
        P = R.T @ R + np.diag(_LEAST / half**2)
        output = self.A.detach().numpy().copy()
        return NeuralLyapunov((first, *others), tuple(biases), output, 0.5 * (P + P.T), Interval.of(self.scale.centre))


@final
class Control(nn.Module):
    """u = middle + range tanh(W_k tanh(... tanh(W_1 z)) + shift): within bounds, the reference at z = 0.

    Raises:
        InvalidValue: an input without bounds, or a reference input that is not strictly within them.
    """

    def __init__(self, task: Task, scale: Scale, hidden: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        lower, upper = task.applied_bounds
        reference = task.reference.at(task.plant, 0)[1]
        if not (np.isfinite([lower, upper]).all() and ((lower < reference) & (reference < upper)).all()):
            raise InvalidValue(
                f"task '{task.name}' has the reference input {reference} within {lower} to {upper}; a network needs "
                "finite bounds with the reference input strictly between them: tighten the bounds or give a law"
            )
        sizes = [len(scale.centre), *hidden, len(lower)]
        self.weights = nn.ParameterList(_normal((b, a), a**-0.5, generator) for a, b in pairwise(sizes))
        self.scale, self.middle, self.range = scale, 0.5 * (lower + upper), 0.5 * (upper - lower)
        self.shift = np.arctanh((reference - self.middle) / self.range)
        self._middle, self._range, self._shift = map(torch.tensor, (self.middle, self.range, self.shift))

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (..., m) at states (..., n)."""
        z = self.scale(x)
        for W in self.weights[:-1]:
            z = torch.tanh(z @ W.T)
        return self._middle + self._range * torch.tanh(z @ self.weights[-1].T + self._shift)

    def law(self) -> Network:
        """The same in numbers."""
        first, *others = (W.detach().numpy().copy() for W in self.weights)
        first = first / self.scale.half
        matrices = [first, *others, np.diag(self.range)]
        biases = [np.zeros(len(W)) for W in matrices]
        biases[0] = -first @ self.scale.centre
        biases[-2] = biases[-2] + self.shift
        biases[-1] = self.middle
        names: list[Activation] = ["tanh"] * (len(matrices) - 1)
        names.append("identity")
        return Network(tuple(matrices), tuple(biases), tuple(names))
