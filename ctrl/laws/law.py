"""Control laws: controllers in closed form, which can be certified."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction

import casadi as ca
import numpy as np

from systems.arithmetic.affine import Affine, Patch, mean_value
from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_functions import clipped

__all__ = ["Law", "clip", "clip_exactly"]


class Law(ABC):
    """u(x), continuous and without memory, with enclosures over boxes of states.

    The enclosures are outward rounded: they hold for the law in real arithmetic, its numbers the doubles given.
    """

    @abstractmethod
    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Inputs (..., m) for states (..., n), in floating point: what a controller would apply."""

    @abstractmethod
    def enclose(self, x: Interval) -> Interval:
        """Every value over the boxes (..., n), as boxes (..., m)."""

    @abstractmethod
    def enclose_jacobian(self, x: Interval) -> Interval:
        """Every slope over the boxes (..., n), as (..., m, n).

        At kinks this is Clarke's generalised Jacobian (1983), for which the mean value theorem still holds: between any
        two points of a box, u(y) - u(x) = J (y - x) with a J in the enclosure.
        """

    def relax(self, patch: Patch) -> Affine:
        """An affine form of u over parallelepipeds: by the mean value theorem, unless a law knows better."""
        slopes = Ball.of(self.enclose_slopes(patch)) @ patch.turn
        return mean_value(self.enclose(patch.point), slopes, patch.half)

    def enclose_slopes(self, patch: Patch) -> Interval:
        """As :meth:`enclose_jacobian`, over parallelepipeds, which may tell more than over their hulls."""
        return self.enclose_jacobian(patch.hull)

    def affine_slope(self, patch: Patch) -> np.ndarray | None:
        """The slope (m, n), exact numbers, of a law that is affine on one parallelepiped; None if that is not known."""
        return None

    @property
    @abstractmethod
    def casadi(self) -> ca.Function:
        """The law as a CasADi function of the state (n, 1), one output (m, 1)."""

    @abstractmethod
    def exact(self, x: Sequence[Fraction]) -> list[Fraction] | None:
        """The value at one rational point in exact arithmetic, None where it is not known to be rational."""


def clip(value: Interval, jacobian: Interval, lower: np.ndarray, upper: np.ndarray) -> tuple[Interval, Interval]:
    """Value (..., m) and Jacobian (..., m, n) after saturation to [lower, upper], each (m,).

    The slope of the saturation is 1 where the box stays within the bounds, 0 where it stays beyond, else in [0, 1].
    Where the law is undefined, so are the results. Where its Jacobian is unbounded, so is what is left of it, though a
    slope of 0 would hide that.
    """
    inside = (value.lo >= lower) & (value.hi <= upper)
    beyond = (value.hi <= lower) | (value.lo >= upper)
    slope = Interval(np.where(inside, 1.0, 0.0), np.where(beyond & ~inside, 0.0, 1.0))
    unbounded = ~(np.isfinite(jacobian.lo) & np.isfinite(jacobian.hi))
    slopes = (jacobian * slope[..., None]).without_value(unbounded)
    if value.undefined is not None:
        slopes.without_value(value.undefined[..., None])
    return clipped(value, lower, upper), slopes


def clip_exactly(u: Sequence[Fraction], lower: np.ndarray, upper: np.ndarray) -> list[Fraction]:
    """The same saturation of one input in rational arithmetic; the bounds may be infinite."""
    clipped = []
    for value, low, high in zip(u, lower.tolist(), upper.tolist(), strict=True):
        if value < low:  # exact: Python compares rationals and doubles without rounding
            value = Fraction(low)
        elif value > high:
            value = Fraction(high)
        clipped.append(value)
    return clipped
