"""Elementary functions of intervals, each by its own rule, with the error of library functions added
to the bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from systems.arithmetic.interval import Interval, Truth, _raw, carried, evaluated, increasing
from systems.arithmetic.rounding import LIBRARY, TINY, above, below, is_scalar

_HALF_PI = np.pi / 2
_TURN = 1 / (2 * np.pi)
# Up to this argument, an extremum of a sine is located to 1e-10 of a period, less than _SLACK; beyond it, [-1, 1].
_FAR = 2.0**20
_SLACK = 2.0**-30

Unary = Callable[[Any], Any]
Operand = Interval | float


def _on_domain(f: Unary, x: Interval, least: float, most: float, outside: Any) -> Interval:
    """An increasing function with the domain `least` to `most`; undefined where a part of x lies outside."""
    inside = _raw(np.clip(x.lo, least, most), np.clip(x.hi, least, most), x.undefined)
    return increasing(f, inside).without_value(outside)


def sqrt(x: Interval) -> Interval:
    lo, hi = np.maximum(x.lo, 0.0), np.maximum(x.hi, 0.0)
    root = _raw(np.maximum(below(np.sqrt(lo)), 0.0), above(np.sqrt(hi)))
    return carried(root, x).without_value(x.lo < 0.0)


def exp(x: Interval) -> Interval:
    return increasing(np.exp, x, least=0.0)


def log(x: Interval) -> Interval:
    return _on_domain(np.log, x, 0.0, np.inf, x.lo <= 0.0)


def log1p(x: Interval) -> Interval:
    return _on_domain(np.log1p, x, -1.0, np.inf, x.lo <= -1.0)


def expm1(x: Interval) -> Interval:
    return increasing(np.expm1, x, least=-1.0)


def sin(x: Interval) -> Interval:
    return _wave(np.sin, x, _HALF_PI, LIBRARY * np.minimum(np.maximum(np.negative(x.lo), x.hi), 1.0) + TINY)


def cos(x: Interval) -> Interval:
    return _wave(np.cos, x, 0.0, LIBRARY)


def _wave(f: Unary, x: Interval, peak: float, pad: Any) -> Interval:
    """A sine with a maximum at `peak`, evaluated by f with an error of at most `pad`.

    The values at the ends bound it unless a maximum or minimum lies between them. This is decided with a tolerance of
    _SLACK: at that distance from an extremum, the function differs from it by less than the rounding error.
    """
    with np.errstate(all="ignore"):
        first, last = (x.lo - peak) * _TURN - _SLACK, (x.hi - peak) * _TURN + _SLACK
        top = np.floor(last) >= np.ceil(first)
        bottom = np.floor(last - 0.5) >= np.ceil(first - 0.5)
        far = ~((x.lo >= -_FAR) & (x.hi <= _FAR))
        a, b = f(x.lo), f(x.hi)
        lo = np.maximum(np.minimum(a, b) - pad, -1.0)
        hi = np.minimum(np.maximum(a, b) + pad, 1.0)
    return carried(_raw(_put(lo, bottom | far, -1.0), _put(hi, top | far, 1.0)), x)


def tan(x: Interval) -> Interval:
    """Increasing between poles; padded by what an error of LIBRARY in the argument does, 1 + tan^2 times
    it."""
    with np.errstate(all="ignore"):
        first, last = (x.lo - _HALF_PI) * 2 * _TURN - _SLACK, (x.hi - _HALF_PI) * 2 * _TURN + _SLACK
        pole = (np.floor(last) >= np.ceil(first)) | ~((x.lo >= -_FAR) & (x.hi <= _FAR))
        lo, hi = np.tan(x.lo), np.tan(x.hi)
        lo = lo - LIBRARY * np.minimum(np.abs(x.lo), 1.0) * (1.0 + lo * lo) - TINY
        hi = hi + LIBRARY * np.minimum(np.abs(x.hi), 1.0) * (1.0 + hi * hi) + TINY
    return carried(_raw(lo, hi), x).without_value(pole)


def asin(x: Interval) -> Interval:
    return _on_domain(np.arcsin, x, -1.0, 1.0, (x.lo < -1.0) | (x.hi > 1.0))


def acos(x: Interval) -> Interval:
    return -_on_domain(lambda v: -np.arccos(v), x, -1.0, 1.0, (x.lo < -1.0) | (x.hi > 1.0))


def atan(x: Interval) -> Interval:
    return increasing(np.arctan, x)


def atan2(y: Operand, x: Operand) -> Interval:
    """Angle of (x, y): its extremes lie at corners, unless the box meets the negative real axis or the origin."""
    y, x = Interval.of(y), Interval.of(x)
    corners = [np.arctan2(a, b) for a in (y.lo, y.hi) for b in (x.lo, x.hi)]
    lo = np.minimum(np.minimum(corners[0], corners[1]), np.minimum(corners[2], corners[3]))
    hi = np.maximum(np.maximum(corners[0], corners[1]), np.maximum(corners[2], corners[3]))
    lo, hi = below(lo, LIBRARY, TINY), above(hi, LIBRARY, TINY)
    cut = (x.lo <= 0.0) & (y.lo <= 0.0) & (y.hi >= 0.0)
    angle = _raw(_put(lo, cut, -4 * np.arctan(1.0) * (1 + LIBRARY)), _put(hi, cut, np.pi * (1 + LIBRARY)))
    return carried(angle, y, x)


def sinh(x: Interval) -> Interval:
    return increasing(np.sinh, x)


def cosh(x: Interval) -> Interval:
    return increasing(np.cosh, abs(x), least=1.0)


def tanh(x: Interval) -> Interval:
    return increasing(np.tanh, x, -1.0, 1.0)


def asinh(x: Interval) -> Interval:
    return increasing(np.arcsinh, x)


def acosh(x: Interval) -> Interval:
    return _on_domain(np.arccosh, x, 1.0, np.inf, x.lo < 1.0)


def atanh(x: Interval) -> Interval:
    return _on_domain(np.arctanh, x, -1.0, 1.0, (x.lo <= -1.0) | (x.hi >= 1.0))


def power(x: Operand, exponent: Operand) -> Interval:
    """x to a constant power, or exp(exponent log x) if x is positive and the exponent varies."""
    if not isinstance(exponent, Interval):
        return Interval.of(x) ** float(exponent)
    return exp(exponent * log(Interval.of(x)))


def hypot(x: Operand, y: Operand) -> Interval:
    a, b = abs(Interval.of(x)), abs(Interval.of(y))

    def bounds() -> Interval:
        lo = np.maximum(below(np.hypot(a.lo, b.lo), LIBRARY, TINY), 0.0)
        return _raw(lo, above(np.hypot(a.hi, b.hi), LIBRARY, TINY))

    return evaluated(bounds, a, b)


def sign(x: Interval) -> Interval:
    return carried(_raw(np.sign(x.lo), np.sign(x.hi)), x)


def floor(x: Interval) -> Interval:
    return carried(_raw(np.floor(x.lo), np.floor(x.hi)), x)


def ceil(x: Interval) -> Interval:
    return carried(_raw(np.ceil(x.lo), np.ceil(x.hi)), x)


def fmin(a: Operand, b: Operand) -> Interval:
    """The smaller of two; undefined where either is, although CasADi's fmin ignores a NaN."""
    a, b = Interval.of(a), Interval.of(b)
    return carried(_raw(np.minimum(a.lo, b.lo), np.minimum(a.hi, b.hi)), a, b)


def fmax(a: Operand, b: Operand) -> Interval:
    """The larger of two; undefined where either is, although CasADi's fmax ignores a NaN."""
    a, b = Interval.of(a), Interval.of(b)
    return carried(_raw(np.maximum(a.lo, b.lo), np.maximum(a.hi, b.hi)), a, b)


def clipped(x: Interval, lower: Any, upper: Any) -> Interval:
    """x saturated to [lower, upper], arrays that may be infinite."""
    return carried(_raw(np.clip(x.lo, lower, upper), np.clip(x.hi, lower, upper)), x)


def intersection(a: Interval, b: Interval) -> Interval:
    """The intersection of two enclosures of the same number."""
    return carried(Interval(np.maximum(a.lo, b.lo), np.minimum(a.hi, b.hi)), a, b)


def copysign(x: Operand, y: Operand) -> Interval:
    # A double zero has two signs and a real zero none, so zero counts as both.
    size, y = abs(Interval.of(x)), Interval.of(y)
    return where(y < 0.0, -size, where(y > 0.0, size, size.hull(-size)))


def share(a: Operand, b: Operand) -> Interval:
    """Slope of fmin(a, b) in a: 1 where a < b, 0 where a > b, and [0, 1] where they may be equal."""
    a, b = Interval.of(a), Interval.of(b)
    return carried(_raw(np.where(a.hi < b.lo, 1.0, 0.0), np.where(b.hi < a.lo, 0.0, 1.0)), a, b)


def where(condition: Truth, a: Operand, b: Operand) -> Interval:
    """a where the condition holds, b where it does not, their hull where it is undecided.

    Undefined where the condition is, and where a branch is undefined that may be taken.
    """
    a, b = Interval.of(a), Interval.of(b)
    sure, impossible = condition.sure, ~condition.possible
    lo = np.where(sure, a.lo, np.where(impossible, b.lo, np.minimum(a.lo, b.lo)))
    hi = np.where(sure, a.hi, np.where(impossible, b.hi, np.maximum(a.hi, b.hi)))
    chosen = _raw(lo, hi).without_value(condition.undefined)
    for operand, ruled_out in ((a, impossible), (b, sure)):
        if operand.undefined is not None:
            chosen.without_value(operand.undefined & ~ruled_out)
    return chosen


def truth(x: Operand) -> Truth:
    """Whether x differs from zero."""
    return Interval.of(x) != 0.0


def real(statement: Truth) -> Interval:
    """1 for true, 0 for false, [0, 1] for undecided."""
    number = _raw(np.where(statement.sure, 1.0, 0.0), np.where(statement.possible, 1.0, 0.0))
    return number.without_value(statement.undefined)


def _put(c: Any, mask: Any, value: float) -> Any:
    if is_scalar(c):
        return value if mask else c
    np.copyto(c, value, where=mask)
    return c
