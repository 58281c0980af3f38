"""Continuous piecewise affine control laws as maxima of minima of affine functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from typing import final

import casadi as ca
import numpy as np

from ctrl.laws.law import Law
from systems import DimensionMismatch, InvalidValue
from systems.arguments import expect_array
from systems.arithmetic.interval import Interval, stack
from systems.arithmetic.interval_matrices import matvec
from systems.errors import expect

__all__ = ["Lattice", "MaxMin"]

CHUNK = 1 << 22  # numbers in one array while enclosing slopes
NEAR = 1 << 16  # and while computing values, which then stay in the cache


@final
@dataclass(frozen=True, eq=False)
class MaxMin:
    """f(x) = max_t min_{i in terms[t]} a_i'x + b_i, one number.

    Args:
        A: (pieces, n).
        b: (pieces,).
        terms: for every t the pieces in it, at least one.
    """

    A: np.ndarray
    b: np.ndarray
    terms: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        A, b = expect_array(self.A, "A of the pieces"), expect_array(self.b, "b of the pieces")
        if A.ndim != 2 or b.shape != (len(A),):
            raise DimensionMismatch(f"A {A.shape} and b {b.shape}; expected (pieces, n) and (pieces,)")
        if not self.terms or not all(self.terms):
            raise InvalidValue("a largest of smallest needs at least one term, and every term at least one piece")
        object.__setattr__(self, "A", A)
        object.__setattr__(self, "b", b)
        object.__setattr__(self, "_places", np.concatenate([np.array(term, dtype=int) for term in self.terms]))
        object.__setattr__(self, "_firsts", np.cumsum([0, *map(len, self.terms[:-1])]))

    _places: np.ndarray = field(init=False, repr=False)
    _firsts: np.ndarray = field(init=False, repr=False)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Values (...,) at points (..., n)."""
        pieces = x @ self.A.T + self.b
        flat = pieces.reshape(-1, len(self.b))
        values = np.empty(len(flat))
        step = max(1, NEAR // len(self._places))
        for first in range(0, len(flat), step):
            part = slice(first, first + step)
            values[part] = np.minimum.reduceat(flat[part][:, self._places], self._firsts, axis=1).max(axis=1)
        return values.reshape(pieces.shape[:-1])

    @property
    def table(self) -> np.ndarray:
        """The terms as indices (terms, width), each padded with its own first piece."""
        width = max(map(len, self.terms))
        return np.array([[*term, *[term[0]] * (width - len(term))] for term in self.terms])


@final
@dataclass(frozen=True, eq=False)
class Lattice(Law):
    """u_j(x) = max_t min_{i in t} a_i'x + b_i for every input j (Tarela & Martínez, 1999; for explicit MPC Wen, Ma &
    Ydstie, 2009).

    Every continuous piecewise affine function on a convex set has this form. Unlike a list of regions, it remains
    continuous when its coefficients are rounded, and it needs no search.

    Args:
        inputs: one function per input.
    """

    inputs: tuple[MaxMin, ...]

    def __post_init__(self) -> None:
        expect(self.inputs, (list, tuple), "inputs of a Lattice", "one MaxMin per input")
        for f in self.inputs:
            expect(f, MaxMin, "an input of a Lattice", "the largest of smallest affine pieces")
        if len({f.A.shape[1] for f in self.inputs}) != 1:
            raise DimensionMismatch("the functions of a law need the same number of states, and at least one function")
        object.__setattr__(self, "_tables", tuple(f.table for f in self.inputs))

    _tables: tuple[np.ndarray, ...] = ()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, dtype=float)
        return np.stack([f(x) for f in self.inputs], axis=-1)

    def enclose(self, x: Interval) -> Interval:
        values = []
        for f, table in zip(self.inputs, self._tables, strict=True):
            pieces = matvec(f.A, x) + f.b
            low, high = (bound[..., table].min(axis=-1).max(axis=-1) for bound in (pieces.lo, pieces.hi))
            nowhere = None if pieces.undefined is None else pieces.undefined.any(axis=-1)
            values.append(Interval(low, high).without_value(nowhere))
        return stack(values, axis=-1)

    def enclose_jacobian(self, x: Interval) -> Interval:
        """The hull of the slopes of all pieces that can be the one that counts."""
        batch, n = x.shape[:-1], x.shape[-1]
        flat = Interval(x.lo.reshape(-1, n), x.hi.reshape(-1, n))
        low = np.empty((len(flat.lo), len(self.inputs), n))
        high = np.empty_like(low)
        for j, (f, table) in enumerate(zip(self.inputs, self._tables, strict=True)):
            step = max(1, CHUNK // (table.size + f.A.size))
            for first in range(0, len(flat.lo), step):
                part = slice(first, first + step)
                counts = _may_count(f, table, Interval(flat.lo[part], flat.hi[part]))
                for i in range(n):
                    slopes = f.A[:, i]
                    low[part, j, i] = np.where(counts, slopes, np.inf).min(axis=1)
                    high[part, j, i] = np.where(counts, slopes, -np.inf).max(axis=1)
        return Interval(low.reshape(*batch, -1, n), high.reshape(*batch, -1, n))

    @property
    def casadi(self) -> ca.Function:
        x = ca.SX.sym("x", self.inputs[0].A.shape[1])
        values = []
        for f in self.inputs:
            pieces = ca.vertsplit(ca.DM(f.A) @ x + ca.DM(f.b))
            values.append(reduce(ca.fmax, [reduce(ca.fmin, [pieces[i] for i in term]) for term in f.terms]))
        return ca.Function("lattice", [x], [ca.vertcat(*values)])

    def exact(self, x: Sequence[Fraction]) -> list[Fraction] | None:
        values = []
        for f in self.inputs:
            pieces = [
                sum((Fraction(a) * value for a, value in zip(row, x, strict=True)), Fraction(b))
                for row, b in zip(f.A.tolist(), f.b.tolist(), strict=True)
            ]
            values.append(max(min(pieces[i] for i in term) for term in f.terms))
        return values


def _may_count(f: MaxMin, table: np.ndarray, x: Interval) -> np.ndarray:
    """Mask (b, pieces), false where a piece is surely above another of its term or its term surely below another.

    Near a point only pieces matter whose value there is that of the function.
    """
    pieces = matvec(f.A, x) + f.b
    low, high = pieces.lo[:, table], pieces.hi[:, table]  # (b, terms, width)
    term_high = high.min(axis=2)
    possible = term_high >= low.min(axis=2).max(axis=1, keepdims=True)
    chosen = possible[..., None] & (low <= term_high[..., None])
    counts = np.zeros((len(chosen), len(f.A)), dtype=bool)
    rows, terms, places = np.nonzero(chosen)
    counts[rows, table[terms, places]] = True
    return counts
