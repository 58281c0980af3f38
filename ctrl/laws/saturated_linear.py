"""Linear feedback with saturation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import casadi as ca
import numpy as np

from ctrl.laws.law import Law, clip, clip_exactly
from systems import DimensionMismatch, InvalidValue
from systems.arguments import expect_array
from systems.arithmetic.affine import Affine, Patch, clipped, mean_value
from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_matrices import matvec

__all__ = ["SaturatedLinear", "saturated_linear"]


def saturated_linear(
    x: np.ndarray, K: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """clip(u_ref - K (x - x_ref), lower, upper) for states (..., n), inputs (..., m)."""
    return np.minimum(np.maximum(u_ref - (x - x_ref) @ K.T, lower), upper)


@final
@dataclass(frozen=True, eq=False)
class SaturatedLinear(Law):
    """u = clip(u_ref - K (x - x_ref), lower, upper).

    Args:
        K: (m, n).
        x_ref: (n,).
        u_ref, lower, upper: (m,); the bounds may be infinite.

    Raises:
        DimensionMismatch: shapes that do not fit. InvalidValue: NaN, infinite gains, or lower above upper.
    """

    K: np.ndarray
    x_ref: np.ndarray
    u_ref: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def __post_init__(self) -> None:
        fields = ("K", "x_ref", "u_ref", "lower", "upper")
        K, x_ref, u_ref = (expect_array(getattr(self, name), name) for name in fields[:3])
        lower, upper = (expect_array(getattr(self, name), name, infinite=True) for name in fields[3:])
        if K.ndim != 2:
            raise DimensionMismatch(f"K has shape {K.shape}; expected a matrix (m, n), one row per input")
        m, n = K.shape
        for name, array, size in zip(fields[1:], (x_ref, u_ref, lower, upper), (n, m, m, m), strict=True):
            if array.shape != (size,):
                raise DimensionMismatch(f"{name} has shape {array.shape}; expected ({size},) for K of shape {K.shape}")
        if not (lower <= upper).all():
            raise InvalidValue(f"input bounds from {lower} to {upper}; expected numbers, lower <= upper")
        for name, array in zip(fields, (K, x_ref, u_ref, lower, upper), strict=True):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return saturated_linear(x, self.K, self.x_ref, self.u_ref, self.lower, self.upper)

    def enclose(self, x: Interval) -> Interval:
        return clip(self._linear(x), self._slope(x), self.lower, self.upper)[0]

    def enclose_jacobian(self, x: Interval) -> Interval:
        return clip(self._linear(x), self._slope(x), self.lower, self.upper)[1]

    def relax(self, patch: Patch) -> Affine:
        return clipped(self._unclipped(patch), patch.half, self.lower, self.upper)

    def enclose_slopes(self, patch: Patch) -> Interval:
        return clip(self._unclipped(patch).range(patch.half), self._slope(patch.hull), self.lower, self.upper)[1]

    def affine_slope(self, patch: Patch) -> np.ndarray | None:
        reach = self._unclipped(patch).range(patch.half)
        return -self.K if ((reach.lo >= self.lower) & (reach.hi <= self.upper)).all() else None

    def _unclipped(self, patch: Patch) -> Affine:
        return mean_value(self._linear(patch.point), Ball.of(self._slope(patch.hull)) @ patch.turn, patch.half)

    @property
    def casadi(self) -> ca.Function:
        x = ca.SX.sym("x", len(self.x_ref))
        u = ca.DM(self.u_ref) - ca.DM(self.K) @ (x - ca.DM(self.x_ref))
        return ca.Function("u", [x], [ca.fmin(ca.fmax(u, ca.DM(self.lower)), ca.DM(self.upper))])

    def exact(self, x: Sequence[Fraction]) -> list[Fraction] | None:
        away = [a - Fraction(b) for a, b in zip(x, self.x_ref.tolist(), strict=True)]
        u = [
            Fraction(u_ref) - sum((Fraction(k) * d for k, d in zip(row, away, strict=True)), Fraction(0))
            for row, u_ref in zip(self.K.tolist(), self.u_ref.tolist(), strict=True)
        ]
        return clip_exactly(u, self.lower, self.upper)

    def _linear(self, x: Interval) -> Interval:
        return self.u_ref - matvec(self.K, x - self.x_ref)

    def _slope(self, x: Interval) -> Interval:
        slope = np.broadcast_to(-self.K, (*x.shape[:-1], *self.K.shape))
        return Interval.of(slope)
