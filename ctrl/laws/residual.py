"""The sum of a law and a correction, held to the input bounds: a residual policy on a regulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import final

import casadi as ca
import numpy as np

from ctrl.laws.law import Law, clip, clip_exactly
from systems import DimensionMismatch, InvalidValue
from systems.arguments import expect_array
from systems.arithmetic.affine import Affine, Patch, clipped
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.interval import Interval
from systems.errors import expect

__all__ = ["Residual"]


@final
@dataclass(frozen=True, eq=False)
class Residual(Law):
    """u = clip(base(x) + correction(x), lower, upper), as in residual reinforcement learning (Johannink et al., 2019).

    Args:
        base: such as the law of an LQR.
        correction: added to it, such as a network.
        lower, upper: (m,); may be infinite.

    Raises:
        DimensionMismatch: laws or bounds of different sizes. InvalidValue: no laws, or lower above upper.
    """

    base: Law
    correction: Law
    lower: np.ndarray
    upper: np.ndarray

    def __post_init__(self) -> None:
        for name in ("base", "correction"):
            expect(getattr(self, name), Law, f"{name} of a Residual", "such as the law of LQR(task)")
        sizes = [(f.size1_in(0), f.size1_out(0)) for f in (self.base.casadi, self.correction.casadi)]
        if sizes[0] != sizes[1]:
            raise DimensionMismatch(f"laws of {sizes[0]} and {sizes[1]} states and inputs cannot be added")
        for name in ("lower", "upper"):
            array = expect_array(getattr(self, name), name, (sizes[0][1],), infinite=True)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if not (self.lower <= self.upper).all():
            raise InvalidValue(f"input bounds from {self.lower} to {self.upper}; expected lower <= upper")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(self.base(x) + self.correction(x), self.lower), self.upper)

    def enclose(self, x: Interval) -> Interval:
        return self._clipped(x)[0]

    def enclose_jacobian(self, x: Interval) -> Interval:
        return self._clipped(x)[1]

    def _clipped(self, x: Interval) -> tuple[Interval, Interval]:
        slopes = self.base.enclose_jacobian(x) + self.correction.enclose_jacobian(x)
        return clip(self.base.enclose(x) + self.correction.enclose(x), slopes, self.lower, self.upper)

    def relax(self, patch: Patch) -> Affine:
        return clipped(self._sum(patch), patch.half, self.lower, self.upper)

    def enclose_slopes(self, patch: Patch) -> Interval:
        slopes = self.base.enclose_slopes(patch) + self.correction.enclose_slopes(patch)
        return clip(self._sum(patch).range(patch.half), slopes, self.lower, self.upper)[1]

    def _sum(self, patch: Patch) -> Affine:
        base, more = self.base.relax(patch), self.correction.relax(patch)
        value = Ball.of(base.value) + Ball.of(more.value)
        matrix = base.matrix + more.matrix
        with np.errstate(invalid="ignore", over="ignore"):
            lost = (np.abs(matrix) @ patch.half[..., None])[..., 0] * 2.0**-52  # the sum of matrices is rounded
            radius = upward(base.radius + more.radius + value.rad + lost)
        return Affine(value.mid, matrix, radius)

    @cached_property
    def casadi(self) -> ca.Function:
        """The sum as a CasADi function of the state."""
        base, more = self.base.casadi, self.correction.casadi
        x = ca.SX.sym("x", base.size1_in(0))
        u = base(x) + more(x)
        return ca.Function("u", [x], [ca.fmin(ca.fmax(u, ca.DM(self.lower)), ca.DM(self.upper))])

    def exact(self, x: Sequence[Fraction]) -> list[Fraction] | None:
        base, more = self.base.exact(x), self.correction.exact(x)
        if base is None or more is None:
            return None
        return clip_exactly([a + b for a, b in zip(base, more, strict=True)], self.lower, self.upper)
