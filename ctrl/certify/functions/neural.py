"""Neural Lyapunov functions: a network's features and a quadratic form, with dedicated enclosures."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import casadi as ca
import numpy as np

from ctrl.certify.functions.lyapunov import Lyapunov, QuadraticLyapunov, SymbolicLyapunov
from ctrl.certify.functions.tanh_features import Features, features_over
from systems import DimensionMismatch, InvalidValue
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_matrices import reshape

__all__ = ["NeuralLyapunov"]


@final
@dataclass(frozen=True, eq=False)
class NeuralLyapunov(Lyapunov):
    """V(x) = |A (h(x) - h(c))|^2 + (x - c)'P(x - c), h(x) = tanh(W_k ... tanh(W_1 x + b_1) ... + b_k).

    V(c) = 0 < V(x) elsewhere, by construction, as in Gaby, Zhang & Ye (2022, "Lyapunov-Net"); squares in place of
    norms make V smooth, and P makes its second derivatives at c regular.

    Args:
        weights: matrices (m_i, m_i-1).
        biases: (m_i,).
        output: A (r, m_k).
        P: (n, n), symmetric and positive definite, which is verified with outward rounding.
        centre: (n,), numbers or a box that holds it.

    Raises:
        DimensionMismatch: layers that do not fit. InvalidValue: numbers that are not finite; a P as above.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    output: np.ndarray
    P: np.ndarray
    centre: Interval
    quadratic: QuadraticLyapunov = field(init=False, repr=False)  # the quadratic part

    def __post_init__(self) -> None:
        quadratic = QuadraticLyapunov(self.P, self.centre)
        weights = tuple(np.array(W, dtype=float) for W in self.weights)
        biases = tuple(np.array(b, dtype=float) for b in self.biases)
        output = np.array(self.output, dtype=float)
        if not weights or len(weights) != len(biases):
            raise DimensionMismatch(
                f"{len(weights)} weights and {len(biases)} biases; expected the same number, at least one"
            )
        sizes = [len(quadratic.P), *map(len, weights)]
        for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
            if W.shape != (sizes[k + 1], sizes[k]) or b.shape != (sizes[k + 1],):
                raise DimensionMismatch(
                    f"layer {k} has weights {W.shape} and biases {b.shape}; expected {(sizes[k + 1], sizes[k])} and "
                    f"{(sizes[k + 1],)}"
                )
        if output.ndim != 2 or output.shape[1] != sizes[-1]:
            raise DimensionMismatch(f"output of shape {output.shape}; expected (r, {sizes[-1]})")
        for array in (*weights, *biases, output):
            if not np.isfinite(array).all():
                raise InvalidValue("weights, biases and output must be finite")
            array.setflags(write=False)
        values = {"weights": weights, "biases": biases, "output": output, "P": quadratic.P, "centre": quadratic.centre}
        for name, value in (values | {"quadratic": quadratic}).items():
            object.__setattr__(self, name, value)

    # ---- numbers ----

    def __call__(self, x: np.ndarray) -> np.ndarray:
        r = self._residual_at(x)
        return np.asarray((r * r).sum(-1) + self.quadratic(x))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        sensitivity = 2.0 * self._residual_at(x) @ self.output
        states = [np.asarray(x, dtype=float)]
        for W, b in zip(self.weights, self.biases, strict=True):
            states.append(np.tanh(states[-1] @ W.T + b))
        for W, h in zip(reversed(self.weights), reversed(states), strict=False):
            sensitivity = (sensitivity * (1.0 - h * h)) @ W
        return np.asarray(sensitivity + self.quadratic.gradient(x))

    def _residual_at(self, x: np.ndarray) -> np.ndarray:
        """A (h(x) - h(c))."""
        h, c = np.asarray(x, dtype=float), self.middle
        for W, b in zip(self.weights, self.biases, strict=True):
            h, c = np.tanh(h @ W.T + b), np.tanh(c @ W.T + b)
        return np.asarray((h - c) @ self.output.T)

    # ---- enclosures ----

    def enclose(self, x: Interval) -> Interval:
        """An enclosure of V from the squares, or from the slopes over the box where these are sharper."""
        x, batch = _rows(x)
        r = self._residual(x, 1)
        middle = self._residual(Interval.of(x.mid), 0).value
        assert r.slope is not None
        slope = r.slope.dot(r.value[:, None]) * 2.0
        sum_of_squares = _squared(r.value)
        mean_value = _squared(middle).widened(upward((slope.size * x.rad).sum(-1)))
        low, high = np.maximum(sum_of_squares.lo, mean_value.lo), np.minimum(sum_of_squares.hi, mean_value.hi)
        value = Interval(np.maximum(np.minimum(low, high), 0.0), np.maximum(high, 0.0)) + self.quadratic.enclose(x)
        return reshape(value, batch)

    def enclose_gradient(self, x: Interval) -> Interval:
        x, batch = _rows(x)
        r = self._residual(x, 2 if (x.hi - x.lo).any() else 1)
        assert r.slope is not None
        slope = r.slope.dot(r.value[:, None]) * 2.0
        return reshape((slope + Ball.of(self.quadratic.enclose_gradient(x))).interval, (*batch, x.shape[-1]))

    def enclose_hessian(self, x: Interval) -> Interval:
        x, batch = _rows(x)
        n = x.shape[-1]
        r = self._residual(x, 2)
        assert r.slope is not None
        assert r.second is not None
        i, j = np.triu_indices(n)
        place = np.zeros((n, n), dtype=int)
        place[i, j] = place[j, i] = np.arange(len(i))
        pairs = (r.slope[:, i].dot(r.slope[:, j]) + r.second.dot(r.value[:, None])) * 2.0
        return reshape((pairs[:, place] + Ball.of(2.0 * self.P)).interval, (*batch, n, n))

    def bounding_box(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        return self.quadratic.bounding_box(level)  # V is at least its quadratic part

    def reach(self, level: float, T: np.ndarray) -> np.ndarray:
        return self.quadratic.reach(level, T)

    def centred_at(self, centre: Interval) -> NeuralLyapunov:
        return NeuralLyapunov(self.weights, self.biases, self.output, self.P, centre)

    @cached_property
    def symbolic(self) -> SymbolicLyapunov:
        """V as a CasADi expression, centred at the middle of the centre's box."""
        x = ca.SX.sym("x", len(self.P))

        def features(z: ca.SX) -> ca.SX:
            for W, b in zip(self.weights, self.biases, strict=True):
                z = ca.tanh(ca.DM(W) @ z + ca.DM(b))
            return z

        d = x - ca.DM(self.middle)
        r = ca.DM(self.output) @ (features(x) - features(ca.SX(self.middle)))
        V = ca.Function("V", [x], [ca.sumsqr(r) + d.T @ ca.DM(self.P) @ d])
        return SymbolicLyapunov(V, Interval.of(self.middle))

    def _residual(self, x: Interval, order: int) -> Features:
        """A (h(x) - h(c)) over boxes (b, n)."""
        residual = features_over(x, self.weights, self.biases, self.output, order)
        return Features(residual.value - self._offset, residual.slope, residual.second)

    @cached_property
    def _offset(self) -> Ball:
        """A h(c)."""
        centre = Interval(self.centre.lo[None], self.centre.hi[None])
        return features_over(centre, self.weights, self.biases, self.output, 0).value


def _rows(x: Interval) -> tuple[Interval, tuple[int, ...]]:
    """Boxes as (b, n), and the batch they came in."""
    return reshape(x, (-1, x.shape[-1])), x.shape[:-1]


def _squared(r: Ball) -> Ball:
    """|r|^2 for vectors (b, k)."""
    squares = Ball.of(r.interval.sq())
    return squares.dot(Ball.of(np.ones(r.shape)))
