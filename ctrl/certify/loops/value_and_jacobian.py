"""Values with their Jacobians, as far as an integrator needs them: sums, and multiples by numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval

__all__ = ["Jet"]


@final
@dataclass(frozen=True, slots=True)
class Jet:
    """Enclosures of a value (..., n) and of its Jacobian (..., n, k) over boxes.

    The integrators of :mod:`systems.discretise` run on jets as they run on numbers, so the derivative of a step follows
    the chain rule through the very text of the step.
    """

    value: Interval
    jacobian: Ball

    __array_ufunc__ = None  # numpy scalars on the left leave the operation to us

    def __add__(self, other: Jet) -> Jet:
        return Jet(self.value + other.value, self.jacobian + other.jacobian)

    def __mul__(self, scale: Any) -> Jet:
        return Jet(self.value * scale, self.jacobian * scale)

    __rmul__ = __mul__
