"""Neural networks as control laws, from their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal, final

import casadi as ca
import numpy as np

from ctrl.laws.activations import derivative, function, relaxed
from ctrl.laws.law import Law
from systems import DimensionMismatch
from systems.arguments import expect_array
from systems.arithmetic.affine import Affine, Patch
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.exact import evaluate_exactly
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_matrices import reshape
from systems.errors import expect
from systems.lowering.program import read

__all__ = ["Activation", "Network"]

Activation = Literal["relu", "leaky_relu", "tanh", "gelu", "identity"]


@final
@dataclass(frozen=True, eq=False)
class Network(Law):
    """u = a_k(W_k ... a_1(W_1 x + b_1) ... + b_k).

    The relaxation is a zonotope's: every layer's error stays a variable of its own until the end, so that errors which
    cancel in later layers do cancel (Singh, Gehr, Mirman, Pueschel & Vechev 2018, "Fast and Effective Robustness
    Certification").

    Args:
        weights: matrices (m_i, m_i-1).
        biases: (m_i,).
        activations: one per layer.

    Raises:
        DimensionMismatch: layers that do not fit. InvalidValue: numbers that are not finite, an unknown activation.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    activations: tuple[Activation, ...]

    def __post_init__(self) -> None:
        for what in ("weights", "biases", "activations"):
            expect(getattr(self, what), (list, tuple), f"{what} of a Network", "one entry per layer")
        weights = tuple(expect_array(W, f"weights of layer {k}") for k, W in enumerate(self.weights))
        biases = tuple(expect_array(b, f"biases of layer {k}") for k, b in enumerate(self.biases))
        if not weights or not len(weights) == len(biases) == len(self.activations):
            raise DimensionMismatch(
                f"{len(weights)} weights, {len(biases)} biases, {len(self.activations)} activations; expected as many"
            )
        for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
            if W.ndim != 2 or b.shape != (len(W),) or (k and W.shape[1] != len(weights[k - 1])):
                raise DimensionMismatch(f"layer {k} has weights {W.shape} and biases {b.shape}, which do not fit")
        for name in self.activations:
            function(name)  # raises where unknown
        for array in (*weights, *biases):
            array.setflags(write=False)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "biases", biases)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        x, n = np.asarray(x, dtype=float), self.weights[0].shape[1]
        if x.shape[-1:] != (n,):
            raise DimensionMismatch(f"the input of the network has shape {x.shape}; expected (..., {n})")
        for W, b, name in self._layers:
            x = function(name).number(x @ W.T + b)
        return x

    def enclose(self, x: Interval) -> Interval:
        for W, b, name in self._layers:
            x = function(name).interval(_affine(W, b, x))
        return x

    def enclose_jacobian(self, x: Interval) -> Interval:
        n = x.shape[-1]
        slopes = Ball.of(np.broadcast_to(np.eye(n), (*x.shape, n)))
        for W, b, name in self._layers:
            before = _affine(W, b, x)
            slopes = Ball.of(np.broadcast_to(W, (*x.shape[:-1], *W.shape))) @ slopes
            rate = derivative(name, before)
            slopes = Ball.of(slopes.interval * reshape(rate, (*rate.shape, 1)))
            x = function(name).interval(before)
        return slopes.interval

    def relax(self, patch: Patch) -> Affine:
        """Each layer z = value + matrix d + sum of generators e_j, |e_j| <= 1, + radius; collapsed at the end."""
        half = patch.half
        batch, n = half.shape
        middle = patch.point.mid
        value = middle
        matrix = np.broadcast_to(patch.T, (batch, n, n))
        generators = np.zeros_like(middle, shape=(batch, n, 0))
        radius = patch.point.rad
        for W, b, name in self._layers:
            weight = Ball.of(W)
            linear = (weight @ Ball.of(np.copy(value.T, order="C"))).T + Ball.of(b)
            turned, thrown = weight @ Ball.of(matrix), weight @ Ball.of(generators)
            lost = (turned.rad @ half[..., None])[..., 0] + thrown.rad.sum(-1) + linear.rad
            radius = upward(radius @ np.abs(W).T + lost)
            value, matrix, generators = linear.mid, turned.mid, thrown.mid
            reach = upward((np.abs(matrix) @ half[..., None])[..., 0] + np.abs(generators).sum(-1) + radius)
            slope, offset, spread = relaxed(name, Ball(value, reach).interval)
            centre = Ball.of(value) * slope + Ball.of(offset)
            matrix = matrix * slope[..., None]
            generators = generators * slope[..., None]
            rounding = 2.0**-52 * reach * np.abs(slope) * 2.0 + centre.rad
            radius = upward(radius * np.abs(slope) + rounding)
            value = centre.mid
            fresh = np.zeros_like(value, shape=(batch, len(b), len(b)))
            fresh[:, np.arange(len(b)), np.arange(len(b))] = spread
            generators = np.concatenate([generators, fresh], axis=-1)
        return Affine(value, matrix, upward(radius + np.abs(generators).sum(-1)))

    def exact(self, x: Sequence[Fraction]) -> list[Fraction] | None:
        return evaluate_exactly(read(self.casadi), x)[0]

    @cached_property
    def casadi(self) -> ca.Function:
        """The network as a CasADi function of the state."""
        x = ca.SX.sym("x", self.weights[0].shape[1])
        z = x
        for W, b, name in self._layers:
            z = function(name).symbol(ca.DM(W) @ z + ca.DM(b))
        return ca.Function("network", [x], [z])

    @property
    def _layers(self) -> list[tuple[np.ndarray, np.ndarray, Activation]]:
        return list(zip(self.weights, self.biases, self.activations, strict=True))


def _affine(W: np.ndarray, b: np.ndarray, x: Interval) -> Interval:
    column = reshape(x, (*x.shape, 1))
    product = Ball.of(np.broadcast_to(W, (*x.shape[:-1], *W.shape))) @ Ball.of(column)
    return reshape(product.interval, (*x.shape[:-1], len(b))) + b
