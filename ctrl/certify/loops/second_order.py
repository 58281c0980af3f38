"""Values with first and second derivatives, for use in integrators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval

__all__ = ["SecondOrder", "composed"]


@final
@dataclass(frozen=True, slots=True)
class SecondOrder:
    """Enclosures over a box of a value (n,), its Jacobian (n, k), and its second derivatives (n, k, k).

    The integrators of :mod:`systems.discretise` accept these in place of numbers: automatic differentiation in
    forward mode (Griewank & Walther 2008, "Evaluating Derivatives", chapter 13).
    """

    value: Interval
    jacobian: Ball
    hessian: Ball

    __array_ufunc__ = None  # so that numpy scalars on the left defer to __rmul__

    def __add__(self, other: SecondOrder) -> SecondOrder:
        return SecondOrder(self.value + other.value, self.jacobian + other.jacobian, self.hessian + other.hessian)

    def __mul__(self, scale: Any) -> SecondOrder:
        return SecondOrder(self.value * scale, self.jacobian * scale, self.hessian * scale)

    __rmul__ = __mul__

    def without_value(self, where: np.ndarray | None) -> SecondOrder:
        """A copy in which the derivatives of the marked entries (n,) are unknown and may not exist."""
        if where is None:
            return self
        jacobian, hessian = (
            self.jacobian.without_value(where[:, None]),
            self.hessian.without_value(where[:, None, None]),
        )
        return SecondOrder(self.value, jacobian, hessian)


def composed(value: Interval, slopes: Ball, curvature: Ball, x: SecondOrder, by_u: Ball) -> SecondOrder:
    """f(x, u) for an x that is known to second order and an affine u.

    Args:
        value: f.
        slopes: (n, n + m), of f in x and u.
        curvature: (n, n + m, n + m), of f in x and u.
        x: of k variables.
        by_u: (m, k), the Jacobian of u.
    """
    n, k = x.jacobian.shape
    inner = Ball(*(np.concatenate(pair) for pair in ((x.jacobian.mid, by_u.mid), (x.jacobian.rad, by_u.rad))))
    around = Ball(*(np.broadcast_to(a, (len(slopes.mid), *a.shape)) for a in (inner.mid, inner.rad)))
    flat = Ball(*(a.reshape(n, k * k) for a in (x.hessian.mid, x.hessian.rad)))
    carried = slopes[:, :n] @ flat
    carried = Ball(*(a.reshape(-1, k, k) for a in (carried.mid, carried.rad)))
    return SecondOrder(value, slopes @ inner, (around.T @ (curvature @ around)) + carried)
