"""Matrices in midpoint-radius form: a product takes a few floating-point products instead of one per corner.

Rump (1999), "Fast and parallel interval arithmetic": with A = a -+ r and B = b -+ s, every product of members lies
within |a| s + r (|b| + s) of ab. Rounding is covered a priori: whatever the order of summation, and with or without
fused multiplication, the computed ab differs from the exact one by at most gamma_k |a||b|, gamma_k = k u / (1 - k u),
u = 2^-53 (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1). Twice that is charged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from systems.arithmetic.interval import Interval
from systems.arithmetic.rounding import array

__all__ = ["Ball", "upward"]

Array = NDArray[np.float64]

_UNIT = 2.0**-52
_UP = 1.0 + 2.0**-44  # covers the rounding of up to 500 sums and products of numbers that are not negative
_TINY = 1e-290  # more than all underflows of such an expression


def upward(x: Array) -> Array:
    """An upper bound on a sum of products of non-negative numbers whose floating-point result is x."""
    return x * _UP + _TINY


@final
@dataclass(frozen=True, slots=True)
class Ball:
    """Arrays whose entries are known up to a radius: mid - rad <= entry <= mid + rad; both (..., r, c) or (..., r).

    A NaN or an infinite radius means that nothing is known; no comparison with a bound derived from it succeeds. NaN
    also means that the value may be undefined, like ``Interval.undefined``; it propagates by the rules of IEEE 754.
    """

    mid: Array
    rad: Array

    __array_ufunc__ = None

    @staticmethod
    def of(x: Interval | ArrayLike) -> Ball:
        """Intervals, or numbers as points."""
        if isinstance(x, Interval):
            mid = x.mid
            return Ball(mid, x.rad)
        point = array(x)
        return Ball(point, np.zeros_like(point))

    @property
    def lo(self) -> Array:
        """Lower bounds of the entries, rounded downward."""
        return _known(self._low, -np.inf)

    @property
    def hi(self) -> Array:
        """Upper bounds of the entries, rounded upward."""
        return _known(self._high, np.inf)

    @property
    def interval(self) -> Interval:
        low, high = self._low, self._high
        unknown = np.isnan(low) | np.isnan(high)
        known = Interval(np.where(unknown, -np.inf, low), np.where(unknown, np.inf, high))
        return known.without_value(unknown)

    @property
    def _low(self) -> Array:
        with np.errstate(invalid="ignore", over="ignore"):
            low = self.mid - self.rad
            return low - (_UNIT * np.abs(low) + _TINY)

    @property
    def _high(self) -> Array:
        with np.errstate(invalid="ignore", over="ignore"):
            high = self.mid + self.rad
            return high + (_UNIT * np.abs(high) + _TINY)

    @property
    def size(self) -> Array:
        """Upper bounds of the absolute values."""
        return upward(np.abs(self.mid) + self.rad)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mid.shape

    @property
    def T(self) -> Ball:
        """The transposes, with the last two axes exchanged."""
        return Ball(self.mid.swapaxes(-1, -2), self.rad.swapaxes(-1, -2))

    def __getitem__(self, key: Any) -> Ball:
        return Ball(self.mid[key], self.rad[key])

    def __neg__(self) -> Ball:
        return Ball(-self.mid, self.rad)

    def __add__(self, other: Ball) -> Ball:
        mid = self.mid + other.mid
        return Ball(mid, upward(self.rad + other.rad + _UNIT * np.abs(mid)))

    def __sub__(self, other: Ball) -> Ball:
        return self + -other

    def __mul__(self, scale: float | Array) -> Ball:
        """Entrywise product with exact numbers."""
        with np.errstate(invalid="ignore", over="ignore"):
            mid = self.mid * scale
            return Ball(mid, upward(self.rad * np.abs(scale) + _UNIT * np.abs(mid)))

    __rmul__ = __mul__

    def times(self, other: Ball) -> Ball:
        """Entrywise product."""
        mid = self.mid * other.mid
        with np.errstate(invalid="ignore", over="ignore"):
            rad = np.abs(self.mid) * other.rad + self.rad * (np.abs(other.mid) + other.rad)
            return Ball(mid, upward(rad + _UNIT * np.abs(mid)))

    def widened(self, radius: Array) -> Ball:
        """The same midpoints with enlarged radii."""
        return Ball(self.mid, upward(self.rad + radius))

    def without_value(self, where: Array | None) -> Ball:
        """A copy in which the marked entries (booleans that broadcast) are unknown and may be undefined."""
        return self if where is None else Ball(self.mid, np.where(where, np.nan, self.rad))

    def __matmul__(self, other: Ball) -> Ball:
        """Matrix products; a vector (..., k) on the right gives vectors (..., r)."""
        if other.mid.ndim < self.mid.ndim or other.mid.ndim == 1:
            column = self @ Ball(other.mid[..., None], other.rad[..., None])
            return Ball(column.mid[..., 0], column.rad[..., 0])
        k = self.mid.shape[-1]
        size = np.abs(other.mid)
        own = np.abs(self.mid)
        with np.errstate(invalid="ignore", over="ignore"):
            rad = own @ (other.rad + (2 * k + 4) * _UNIT * size)
            if self.rad.any():
                rad = rad + self.rad @ (size + other.rad)
            return Ball(self.mid @ other.mid, upward(rad))

    def dot(self, other: Ball) -> Ball:
        """Inner products of vectors (..., k), as (...,)."""
        k = self.mid.shape[-1]
        a, b = np.abs(self.mid), np.abs(other.mid)
        with np.errstate(invalid="ignore", over="ignore"):
            rad = (a * (other.rad + (2 * k + 4) * _UNIT * b) + self.rad * (b + other.rad)).sum(axis=-1)
            return Ball((self.mid * other.mid).sum(axis=-1), upward(rad))


def _known(bound: Array, otherwise: float) -> Array:
    return np.where(np.isnan(bound), otherwise, bound)
