"""Batched intervals of reals, rounded outwards: the result contains every value for operands in their intervals.

Moore, Kearfott and Cloud, "Introduction to Interval Analysis" (2009), chapters 2 and 4. No bound is NaN. Rounding
is explained in `rounding.py`.

An expression may have no value for some operands: the logarithm of a number that may not be positive, a quotient
whose divisor may be zero, a number beyond all doubles. Its result is then marked as `undefined`, like the decorations
of IEEE 1788-2015 (section 8.8), and its bounds are the whole line. To be undefined is not the same as to be
unbounded: zero times an unbounded number is zero, and the larger of an unbounded number and 1 is at least 1, but a
program with an intermediate NaN computes something else. Every operation carries the marks of its operands to its
result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from systems.arithmetic.rounding import LIBRARY, MAX, TINY, ULP, above, array, below
from systems.errors import InvalidValue

Array = NDArray[np.float64]
_UP = 1 + 2 * ULP


@final
class Truth:
    """Truth of a statement over boxes: `sure` everywhere in the box, `possible` somewhere; boolean arrays.

    `undefined` is true where the statement is about a number that may be undefined, None if it is about no such number.
    """

    __array_ufunc__ = None
    __slots__ = ("possible", "sure", "undefined")

    def __init__(self, sure: Any, possible: Any, undefined: Any = None) -> None:
        self.sure, self.possible, self.undefined = sure, possible, undefined

    def __invert__(self) -> Truth:
        return Truth(np.logical_not(self.possible), np.logical_not(self.sure), self.undefined)

    def __and__(self, other: Truth) -> Truth:
        return Truth(self.sure & other.sure, self.possible & other.possible, _either(self, other))

    def __or__(self, other: Truth) -> Truth:
        return Truth(self.sure | other.sure, self.possible | other.possible, _either(self, other))

    def __bool__(self) -> bool:
        raise InvalidValue("a statement about boxes may be true, false or undecided: use .sure or .possible")

    def __repr__(self) -> str:
        return f"Truth(sure={self.sure}, possible={self.possible})"


@final
class Interval:
    """Boxes [lo, hi]: two float64 arrays of the same shape, batch first and signal last, `(..., n)`.

    Operators take intervals, numbers and arrays (as points) on either side; numbers are taken as exact
    doubles.

    Attributes:
        undefined: booleans of the bounds' shape, true where the enclosed expression may have no value; None if it has
            one in all boxes.

    Raises:
        InvalidValue: a bound is NaN, or a lower bound above its upper bound.
    """

    __array_ufunc__ = None  # so that numpy scalars and arrays on the left defer to __rmul__ and the like
    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("hi", "lo", "undefined")

    lo: Array
    hi: Array
    undefined: Any

    def __init__(self, lo: ArrayLike, hi: ArrayLike) -> None:
        low, high = np.broadcast_arrays(array(lo), array(hi))
        if not np.all(low <= high):
            k = tuple(int(i[0]) for i in np.nonzero(np.atleast_1d(~(low <= high))))
            raise InvalidValue(
                f"interval [{np.atleast_1d(low)[k]}, {np.atleast_1d(high)[k]}] at {k}: "
                "bounds must be numbers, the lower one first"
            )
        self.lo, self.hi, self.undefined = np.minimum(low, MAX), np.maximum(high, -MAX), None

    @staticmethod
    def of(x: Interval | ArrayLike) -> Interval:
        """x itself if it is an interval, otherwise its entries as points; NaN is undefined."""
        if isinstance(x, Interval):
            return x
        point = array(x)
        if np.isfinite(point).all():
            return _raw(point, point)
        return _raw(np.minimum(point, MAX), np.maximum(point, -MAX)).without_value(np.isnan(point))

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
        """The least radius, rounded upward, for which `mid` +- `rad` contains the interval; NaN where undefined."""
        with np.errstate(over="ignore"):
            mid = self.mid
            rad = np.maximum(self.hi - mid, mid - self.lo) * _UP
        return rad if self.undefined is None else np.where(self.undefined, np.nan, rad)

    @property
    def width(self) -> Array:
        """Upper minus lower bound, rounded upward."""
        with np.errstate(over="ignore"):
            return (self.hi - self.lo) * _UP

    def hull(self, other: Interval | ArrayLike) -> Interval:
        """The smallest interval that contains both."""
        other = Interval.of(other)
        return carried(_raw(np.minimum(self.lo, other.lo), np.maximum(self.hi, other.hi)), self, other)

    def moved(self, arrange: Callable[[Any], Any]) -> Interval:
        """The same entries rearranged by ``arrange``, a function of arrays that moves or repeats entries."""
        return _raw(arrange(self.lo), arrange(self.hi), None if self.undefined is None else arrange(self.undefined))

    def without_value(self, where: Any) -> Interval:
        """Marks entries as undefined, in place, and returns the interval."""
        if where is not None and np.any(where):
            where = np.zeros_like(self.lo, dtype=bool) | where
            self.lo, self.hi = np.where(where, -np.inf, self.lo), np.where(where, np.inf, self.hi)
            self.undefined = where if self.undefined is None else self.undefined | where
        return self

    def contains(self, x: Interval | ArrayLike) -> NDArray[np.bool_]:
        """Whether x (points or intervals) lies inside, entry by entry; NaN does not."""
        lo, hi = (x.lo, x.hi) if isinstance(x, Interval) else (array(x), array(x))
        return (self.lo <= lo) & (hi <= self.hi)

    def __getitem__(self, key: Any) -> Interval:
        return _raw(self.lo[key], self.hi[key], None if self.undefined is None else self.undefined[key])

    def __repr__(self) -> str:
        return f"Interval({self.lo}, {self.hi})"

    def __neg__(self) -> Interval:
        return _raw(np.negative(self.hi), np.negative(self.lo), self.undefined)

    def __abs__(self) -> Interval:
        lo = np.maximum(np.maximum(self.lo, np.negative(self.hi)), 0.0)
        return carried(_raw(lo, np.maximum(np.negative(self.lo), self.hi)), self)

    def __add__(self, other: Any) -> Interval:
        other = _constant(other)
        lo, hi = (other, other) if isinstance(other, float) else (other.lo, other.hi)
        return evaluated(lambda: _raw(below(self.lo + lo), above(self.hi + hi)), self, other, grows=False)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Interval:
        other = _constant(other)
        lo, hi = (other, other) if isinstance(other, float) else (other.lo, other.hi)
        return evaluated(lambda: _raw(below(self.lo - hi), above(self.hi - lo)), self, other, grows=False)

    def __rsub__(self, other: Any) -> Interval:
        other = _constant(other)
        lo, hi = (other, other) if isinstance(other, float) else (other.lo, other.hi)
        return evaluated(lambda: _raw(below(lo - self.hi), above(hi - self.lo)), self, other, grows=False)

    def __mul__(self, other: Any) -> Interval:
        other = _constant(other)
        if isinstance(other, float) and other != 0.0:
            low, high = (self.lo, self.hi) if other > 0 else (self.hi, self.lo)
            return evaluated(
                lambda: _raw(below(low * other, ULP, TINY), above(high * other, ULP, TINY)), self, grows=False
            )
        other = Interval.of(other)
        return evaluated(
            lambda: _between(*(a * b for a in (self.lo, self.hi) for b in (other.lo, other.hi))), self, other
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Interval:
        other = _constant(other)
        if isinstance(other, float) and other != 0.0:
            low, high = (self.lo, self.hi) if other > 0 else (self.hi, self.lo)
            return evaluated(
                lambda: _raw(below(low / other, ULP, TINY), above(high / other, ULP, TINY)), self, grows=False
            )
        other = Interval.of(other)
        quotient = evaluated(
            lambda: _between(*(a / b for a in (self.lo, self.hi) for b in (other.lo, other.hi))), self, other
        )
        return quotient.without_value((other.lo <= 0.0) & (other.hi >= 0.0))

    def __rtruediv__(self, other: Any) -> Interval:
        other = _constant(other)
        if not isinstance(other, float) or other == 0.0:
            return Interval.of(other) / self
        low, high = (self.hi, self.lo) if other > 0 else (self.lo, self.hi)
        quotient = evaluated(
            lambda: _raw(below(other / low, ULP, TINY), above(other / high, ULP, TINY)), self, grows=False
        )
        return quotient.without_value((self.lo <= 0.0) & (self.hi >= 0.0))

    def __pow__(self, exponent: float) -> Interval:
        """The power with one number as exponent; undefined where a root of a possibly negative number is taken."""
        exponent = float(exponent)
        if not abs(exponent) <= MAX:
            return _raw(self.lo, self.hi).without_value(np.ones(self.shape, bool))
        if exponent == 0.0:
            return carried(_raw(np.ones(self.shape), np.ones(self.shape)), self)
        if exponent < 0.0:
            return 1.0 / self ** (-exponent)
        if exponent == 1.0:
            return self
        if exponent == 2.0:
            return self.sq()

        def raised(v: Any) -> Any:
            return np.power(v, exponent)

        if exponent % 2.0 == 1.0:
            return increasing(raised, self)
        if exponent % 2.0 == 0.0:
            return increasing(raised, abs(self), least=0.0)
        positive = _raw(np.maximum(self.lo, 0.0), np.maximum(self.hi, 0.0), self.undefined)
        return increasing(raised, positive, least=0.0).without_value(self.lo < 0.0)

    def sq(self) -> Interval:
        """x^2, never negative; x * x would ignore that both factors are the same."""
        size = abs(self)

        def squared() -> Interval:
            lo = np.maximum(below(size.lo * size.lo, ULP, TINY), 0.0)
            return _raw(lo, above(size.hi * size.hi, ULP, TINY))

        return evaluated(squared, self)

    def __lt__(self, other: Any) -> Truth:
        other = Interval.of(other)
        return Truth(self.hi < other.lo, self.lo < other.hi, _either(self, other))

    def __le__(self, other: Any) -> Truth:
        other = Interval.of(other)
        return Truth(self.hi <= other.lo, self.lo <= other.hi, _either(self, other))

    def __gt__(self, other: Any) -> Truth:
        return Interval.of(other) < self

    def __ge__(self, other: Any) -> Truth:
        return Interval.of(other) <= self

    def __eq__(self, other: Any) -> Truth:  # type: ignore[override]
        other = Interval.of(other)
        same = (self.lo == other.hi) & (self.hi == other.lo)
        return Truth(same, (self.lo <= other.hi) & (other.lo <= self.hi), _either(self, other))

    def __ne__(self, other: Any) -> Truth:  # type: ignore[override]
        return ~(self == other)


def stack(intervals: Sequence[Interval | ArrayLike], axis: int = 0) -> Interval:
    """Intervals of the same shape joined along a new axis, like `numpy.stack`."""
    parts = [Interval.of(x) for x in intervals]
    joined = _raw(np.stack([x.lo for x in parts], axis), np.stack([x.hi for x in parts], axis))
    if any(x.undefined is not None for x in parts):
        nowhere = [np.zeros_like(x.lo, dtype=bool) if x.undefined is None else x.undefined for x in parts]
        joined.undefined = np.stack(nowhere, axis)
    return joined


def carried(result: Interval, *operands: Any) -> Interval:
    """The result of an operation, marked as undefined where an operand (interval or number) is."""
    for operand in operands:
        if not isinstance(operand, float) and operand.undefined is not None:
            result.without_value(operand.undefined)
    return result


def evaluated(operation: Callable[[], Interval], *operands: Any, grows: bool = True) -> Interval:
    """The result of an operation, marked as undefined where an operand is, and where finite operands give a result
    beyond all doubles, because a running program would continue with an infinite number.

    Args:
        grows: whether overflow is checked on devices that raise no exceptions, where a check takes as long as the
            operation. Sums, and multiples by a number, overflow there only after some other result almost has.
    """
    try:
        with np.errstate(over="raise", under="ignore", divide="ignore", invalid="ignore"):
            result = operation()
        raises = isinstance(result.lo, (np.ndarray, np.generic, float))
        beyond = not raises and (grows or getattr(result.lo, "is_traced", False))
    except FloatingPointError:
        with np.errstate(all="ignore"):
            result = operation()
        beyond = True
    if beyond:
        with np.errstate(all="ignore"):
            infinite = ~np.isfinite(result.lo + result.hi)
        if np.any(infinite):
            for operand in operands:
                if not isinstance(operand, float):
                    infinite = infinite & np.isfinite(operand.lo) & np.isfinite(operand.hi)
            result.without_value(infinite)
    return carried(result, *operands)


def increasing(f: Callable[[Any], Any], x: Interval, least: float = -np.inf, most: float = np.inf) -> Interval:
    """All values of an increasing numpy function that is never below `least` or above `most`."""

    def bounds() -> Interval:
        lo, hi = below(f(x.lo), LIBRARY, TINY), above(f(x.hi), LIBRARY, TINY)
        if least > -np.inf:
            lo = np.maximum(lo, least)
        if most < np.inf:
            hi = np.minimum(hi, most)
        return _raw(lo, hi)

    return evaluated(bounds, x)


def _either(a: Interval | Truth, b: Interval | Truth) -> Any:
    """Mask of the entries at which either is undefined; None if there are none."""
    if a.undefined is None or b.undefined is None:
        return b.undefined if a.undefined is None else a.undefined
    return a.undefined | b.undefined


def _raw(lo: Any, hi: Any, undefined: Any = None) -> Interval:
    """An interval from bounds known to be ordered; nothing is checked or copied."""
    interval = object.__new__(Interval)
    interval.lo, interval.hi, interval.undefined = lo, hi, undefined
    return interval


def _constant(x: Any) -> Any:
    """A finite Python float if x is a single number, which is faster to compute with; otherwise an interval."""
    if type(x) is float or isinstance(x, (int, float, np.floating, np.integer)):
        x = float(x)
        return x if abs(x) <= MAX else Interval.of(x)
    return Interval.of(x)


def _between(p: Any, q: Any, r: Any, s: Any) -> Interval:
    """The interval spanned by the four products (or quotients) of end points, rounded outwards.

    0 * inf is 0: fmin and fmax ignore its NaN, and if all four are NaN, one factor is exactly zero and the other
    unbounded. Undefined operands are handled by :func:`evaluated`.
    """
    lo, hi = np.fmin(np.fmin(p, q), np.fmin(r, s)), np.fmax(np.fmax(p, q), np.fmax(r, s))
    lost = np.isnan(lo)
    if lost.any():
        lo, hi = np.where(lost, 0.0, lo), np.where(lost, 0.0, hi)
    return _raw(below(lo, ULP, TINY), above(hi, ULP, TINY))
