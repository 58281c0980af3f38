"""Intervals of reals, batched, outward rounded: whatever the operands contain, the result contains.

Moore, Kearfott and Cloud, "Introduction to Interval Analysis" (2009), chapters 2 and 4. Where an expression
is not defined on part of an operand, the operand is cut to the domain; where it is defined nowhere, or is a
quotient by an interval with zero inside, the result is the whole line. No result is NaN. Rounding is
explained in `rounding.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from systems.errors import InvalidValue
from systems.lowering.rounding import MAX, TINY, ULP, above, array, below

Array = NDArray[np.float64]
_UP = 1 + 2 * ULP


@final
class Truth:
    """Truth of a statement over boxes: `sure` everywhere in the box, `possible` somewhere; boolean arrays."""

    __array_ufunc__ = None
    __slots__ = ("possible", "sure")

    def __init__(self, sure: Any, possible: Any) -> None:
        self.sure, self.possible = sure, possible

    def __invert__(self) -> Truth:
        return Truth(np.logical_not(self.possible), np.logical_not(self.sure))

    def __and__(self, other: Truth) -> Truth:
        return Truth(self.sure & other.sure, self.possible & other.possible)

    def __or__(self, other: Truth) -> Truth:
        return Truth(self.sure | other.sure, self.possible | other.possible)

    def __bool__(self) -> bool:
        raise InvalidValue("a statement about boxes may be true, false or undecided: use .sure or .possible")

    def __repr__(self) -> str:
        return f"Truth(sure={self.sure}, possible={self.possible})"


@final
class Interval:
    """Boxes [lo, hi]: two float64 arrays of equal shape, the batch in front and the signal last, `(..., n)`.

    Operators take intervals, numbers and arrays (as points) on either side; numbers are taken as exact
    doubles.

    Raises:
        InvalidValue: a bound is NaN, or a lower bound above its upper bound.
    """

    __array_ufunc__ = None  # numpy scalars and arrays on the left leave the operation to us
    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("hi", "lo")

    lo: Array
    hi: Array

    def __init__(self, lo: ArrayLike, hi: ArrayLike) -> None:
        low, high = np.broadcast_arrays(array(lo), array(hi))
        if not np.all(low <= high):
            k = tuple(int(i[0]) for i in np.nonzero(np.atleast_1d(~(low <= high))))
            raise InvalidValue(
                f"interval [{np.atleast_1d(low)[k]}, {np.atleast_1d(high)[k]}] at {k}: "
                "bounds must be numbers, the lower one first"
            )
        self.lo, self.hi = np.minimum(low, MAX), np.maximum(high, -MAX)

    @staticmethod
    def of(x: Interval | ArrayLike) -> Interval:
        """x itself if it is an interval, else its entries as points; NaN becomes the whole line."""
        if isinstance(x, Interval):
            return x
        point = array(x)
        if np.isfinite(point).all():
            return _raw(point, point)
        lost = np.isnan(point)
        return _raw(np.where(lost, -np.inf, np.minimum(point, MAX)), np.where(lost, np.inf, np.maximum(point, -MAX)))

    point = of

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.lo)

    @property
    def mid(self) -> Array:
        """A finite number inside, the midpoint to rounding error."""
        return 0.5 * np.maximum(self.lo, -MAX) + 0.5 * np.minimum(self.hi, MAX)

    @property
    def rad(self) -> Array:
        """The least radius, rounded upward, for which `mid` +- `rad` holds the interval."""
        with np.errstate(over="ignore"):
            mid = self.mid
            return np.maximum(self.hi - mid, mid - self.lo) * _UP

    @property
    def width(self) -> Array:
        """Upper minus lower bound, rounded upward."""
        with np.errstate(over="ignore"):
            return (self.hi - self.lo) * _UP

    def hull(self, other: Interval | ArrayLike) -> Interval:
        """The smallest interval that contains both."""
        other = Interval.of(other)
        return _raw(np.minimum(self.lo, other.lo), np.maximum(self.hi, other.hi))

    def contains(self, x: Interval | ArrayLike) -> NDArray[np.bool_]:
        """Entry by entry, whether x (points or intervals) lies inside; NaN does not."""
        lo, hi = (x.lo, x.hi) if isinstance(x, Interval) else (array(x), array(x))
        return (self.lo <= lo) & (hi <= self.hi)

    def __getitem__(self, key: Any) -> Interval:
        return _raw(self.lo[key], self.hi[key])

    def __repr__(self) -> str:
        return f"Interval({self.lo}, {self.hi})"

    def __neg__(self) -> Interval:
        return _raw(np.negative(self.hi), np.negative(self.lo))

    def __abs__(self) -> Interval:
        return _raw(
            np.maximum(np.maximum(self.lo, np.negative(self.hi)), 0.0),
            np.maximum(np.negative(self.lo), self.hi),
        )

    def __add__(self, other: Any) -> Interval:
        other = _constant(other)
        lo, hi = (other, other) if isinstance(other, float) else (other.lo, other.hi)
        with np.errstate(over="ignore"):
            return _raw(below(self.lo + lo), above(self.hi + hi))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Interval:
        other = _constant(other)
        lo, hi = (other, other) if isinstance(other, float) else (other.lo, other.hi)
        with np.errstate(over="ignore"):
            return _raw(below(self.lo - hi), above(self.hi - lo))

    def __rsub__(self, other: Any) -> Interval:
        other = _constant(other)
        lo, hi = (other, other) if isinstance(other, float) else (other.lo, other.hi)
        with np.errstate(over="ignore"):
            return _raw(below(lo - self.hi), above(hi - self.lo))

    def __mul__(self, other: Any) -> Interval:
        other = _constant(other)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if isinstance(other, float) and other != 0.0:
                low, high = (self.lo, self.hi) if other > 0 else (self.hi, self.lo)
                return _raw(below(low * other, ULP, TINY), above(high * other, ULP, TINY))
            other = Interval.of(other)
            return _between(*(a * b for a in (self.lo, self.hi) for b in (other.lo, other.hi)))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Interval:
        other = _constant(other)
        with np.errstate(all="ignore"):
            if isinstance(other, float) and other != 0.0:
                low, high = (self.lo, self.hi) if other > 0 else (self.hi, self.lo)
                return _raw(below(low / other, ULP, TINY), above(high / other, ULP, TINY))
            other = Interval.of(other)
            quotient = _between(*(a / b for a in (self.lo, self.hi) for b in (other.lo, other.hi)))
            return quotient.opened((other.lo <= 0.0) & (other.hi >= 0.0))

    def __rtruediv__(self, other: Any) -> Interval:
        other = _constant(other)
        if not isinstance(other, float) or other == 0.0:
            return Interval.of(other) / self
        low, high = (self.hi, self.lo) if other > 0 else (self.lo, self.hi)
        with np.errstate(all="ignore"):
            quotient = _raw(below(other / low, ULP, TINY), above(other / high, ULP, TINY))
        return quotient.opened((self.lo <= 0.0) & (self.hi >= 0.0))

    def __pow__(self, exponent: float) -> Interval:
        from systems.lowering.interval_functions import power

        return power(self, exponent)

    def sq(self) -> Interval:
        """x^2, never negative; x * x would forget that both factors are the same."""
        size = abs(self)
        with np.errstate(over="ignore", under="ignore"):
            lo = np.maximum(below(size.lo * size.lo, ULP, TINY), 0.0)
            return _raw(lo, above(size.hi * size.hi, ULP, TINY))

    def opened(self, where: Any) -> Interval:
        """The same intervals, but the whole line at the entries marked; overwrites its own bounds."""
        if np.any(where):
            self.lo, self.hi = np.where(where, -np.inf, self.lo), np.where(where, np.inf, self.hi)
        return self

    def __lt__(self, other: Any) -> Truth:
        other = Interval.of(other)
        return Truth(self.hi < other.lo, self.lo < other.hi)

    def __le__(self, other: Any) -> Truth:
        other = Interval.of(other)
        return Truth(self.hi <= other.lo, self.lo <= other.hi)

    def __gt__(self, other: Any) -> Truth:
        return Interval.of(other) < self

    def __ge__(self, other: Any) -> Truth:
        return Interval.of(other) <= self

    def __eq__(self, other: Any) -> Truth:  # type: ignore[override]
        other = Interval.of(other)
        same = (self.lo == other.hi) & (self.hi == other.lo)
        return Truth(same, (self.lo <= other.hi) & (other.lo <= self.hi))

    def __ne__(self, other: Any) -> Truth:  # type: ignore[override]
        return ~(self == other)


def stack(intervals: Sequence[Interval | ArrayLike], axis: int = 0) -> Interval:
    """Intervals of one shape joined along a new axis, as `numpy.stack`."""
    parts = [Interval.of(x) for x in intervals]
    return _raw(np.stack([x.lo for x in parts], axis), np.stack([x.hi for x in parts], axis))


def _raw(lo: Any, hi: Any) -> Interval:
    """An interval from bounds known to be ordered; nothing is checked or copied."""
    interval = object.__new__(Interval)
    interval.lo, interval.hi = lo, hi
    return interval


def _constant(x: Any) -> Any:
    """A finite Python float where x is one number, which is faster to compute with; else an interval."""
    if type(x) is float or isinstance(x, (int, float, np.floating, np.integer)):
        x = float(x)
        return x if abs(x) <= MAX else Interval.of(x)
    return Interval.of(x)


def _between(p: Any, q: Any, r: Any, s: Any) -> Interval:
    """From the four products (or quotients) of end points, outward rounded.

    0 * inf is 0: fmin and fmax pass over its NaN, and where all four are NaN one factor is exactly zero.
    """
    lo, hi = np.fmin(np.fmin(p, q), np.fmin(r, s)), np.fmax(np.fmax(p, q), np.fmax(r, s))
    lost = np.isnan(lo)
    if lost.any():
        lo, hi = np.where(lost, 0.0, lo), np.where(lost, 0.0, hi)
    return _raw(below(lo, ULP, TINY), above(hi, ULP, TINY))
