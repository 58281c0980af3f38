"""Enclosure of the matrix exponential: scaling and squaring in fixed-point numbers with error bounds.

exp(X) = (sum of (X / 2^s)^k / k!)^(2^s) (Moler & Van Loan 2003, "Nineteen dubious ways to compute the exponential of a
matrix, twenty-five years later", method 3), with s such that the norm of X / 2^s is at most 1/2. The terms after the
K-th then add up to at most 2 (1/2)^(K+1) / (K+1)! in every entry. All arithmetic uses integers in units of 2^-P, with
enough digits for the loss in the squarings, so the width of the result is essentially due to the uncertainty of X.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import factorial, isfinite
from typing import Any, final

import numpy as np

from systems.arithmetic.exact import Value
from systems.arithmetic.interval import Interval

__all__ = ["exponential"]

_BITS = 160  # beyond those lost by growth and squarings
_MOST = 4000  # bits that growth may use; larger growth makes the enclosure less sharp


@final
@dataclass(frozen=True)
class _Fixed:
    """Matrices of integers: entries within ``rad`` of ``mid``, in units of 2^-bits."""

    mid: np.ndarray
    rad: np.ndarray
    bits: int

    def __matmul__(self, other: _Fixed) -> _Fixed:
        mid = (self.mid @ other.mid) >> self.bits
        rad = abs(self.mid) @ other.rad + self.rad @ (abs(other.mid) + other.rad)
        return _Fixed(mid, (rad >> self.bits) + 2, self.bits)

    def over(self, k: int) -> _Fixed:
        return _Fixed(self.mid // k, self.rad // k + 2, self.bits)

    def plus_identity(self) -> _Fixed:
        one = np.array([[int(i == j) << self.bits for j in range(len(self.mid))] for i in range(len(self.mid))], object)
        return _Fixed(self.mid + one, self.rad, self.bits)

    def widened(self, by: Fraction) -> _Fixed:
        return _Fixed(self.mid, self.rad + (int(by * (1 << self.bits)) + 1), self.bits)

    @property
    def interval(self) -> Interval:
        """The enclosure as intervals of doubles."""

        def double(a: int, towards: float) -> float:
            try:
                return float(np.nextafter(a / (1 << self.bits), towards))
            except OverflowError:
                return towards

        lo = [[double(a, -np.inf) for a in row] for row in self.mid - self.rad]
        hi = [[double(a, np.inf) for a in row] for row in self.mid + self.rad]
        return Interval(np.array(lo), np.array(hi))


def exponential(X: list[list[Value]]) -> Interval:
    """An enclosure of all values of exp(X), (n, n).

    Args:
        X: n rows of n numbers, rationals or scalar intervals.

    Raises:
        ValueError: an entry that is undefined or unbounded.
    """
    ends = [[_ends(a) for a in row] for row in X]
    norm = max(sum(max(abs(low), abs(high)) for low, high in row) for row in ends)
    squarings = max(0, (int(2 * norm)).bit_length())
    bits = _BITS + 4 * squarings + min(int(3 * norm), _MOST)
    unit = 1 << bits
    low = np.array([[int(a * unit // 1) for a, _ in row] for row in ends], dtype=object)
    high = np.array([[int(-(-b * unit // 1)) for _, b in row] for row in ends], dtype=object)
    x = _Fixed((low + high) // 2, (high - low) // 2 + 1, bits).over(1 << squarings)
    terms = next(k for k in range(1, bits) if (factorial(k + 1) << (k + 1)) > unit)
    power = _Fixed(0 * x.mid, 0 * x.rad, bits).plus_identity()
    for k in range(terms, 0, -1):
        power = (x @ power).over(k).plus_identity()
    power = power.widened(Fraction(2, factorial(terms + 1) << (terms + 1)))
    for _ in range(squarings):
        power = power @ power
    return power.interval


def _ends(a: Any) -> tuple[Fraction, Fraction]:
    if isinstance(a, Fraction):
        return a, a
    if a.undefined is not None or not (isfinite(a.lo) and isfinite(a.hi)):
        raise ValueError(f"the exponential of a matrix with the entry {a}; expected finite numbers")
    return Fraction(float(a.lo)), Fraction(float(a.hi))
