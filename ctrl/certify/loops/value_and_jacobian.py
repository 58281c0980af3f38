"""Values with their Jacobians, as far as an integrator needs them: sums, and multiples by numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval

__all__ = ["ValueAndJacobian"]


@final
@dataclass(frozen=True, slots=True)
class ValueAndJacobian:
    """Enclosures of a value (..., n) and of its Jacobian (..., n, k) over boxes.

    The integrators of :mod:`systems.discretise` run on these as they run on numbers, so the derivative of a step
    follows the chain rule through the text of the step itself (automatic differentiation in forward mode).
    """

    value: Interval
    jacobian: Ball

    __array_ufunc__ = None  # numpy scalars on the left leave the operation to us

    def __add__(self, other: ValueAndJacobian) -> ValueAndJacobian:
        return ValueAndJacobian(self.value + other.value, self.jacobian + other.jacobian)

    def __mul__(self, scale: Any) -> ValueAndJacobian:
        return ValueAndJacobian(self.value * scale, self.jacobian * scale)

    __rmul__ = __mul__
