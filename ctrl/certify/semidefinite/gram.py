"""Polynomials whose coefficients are numbers or unknowns of a convex program, and sums of squares of them.

A polynomial p is a sum of squares of polynomials exactly where p = m(z)' Q m(z) for monomials m and some Q >= 0
(Parrilo 2000), which is a semidefinite constraint on its coefficients.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from scipy import sparse

__all__ = ["Exponents", "Polynomial", "Squares", "monomials", "powers", "unknown"]

Exponents = tuple[int, ...]


def powers(z: np.ndarray, exponents: Sequence[Exponents]) -> np.ndarray:
    """Monomials (b, k) at points (b, n)."""
    result = np.ones((len(z), len(exponents)))
    for i, column in enumerate(np.array(exponents, dtype=int).reshape(-1, z.shape[1]).T):
        result *= z[:, i, None] ** column
    return result


def monomials(n: int, least: int, most: int) -> list[Exponents]:
    """Exponents of all monomials in n variables of total degree ``least`` to ``most``, by degree."""
    exponents = [e for e in itertools.product(range(most + 1), repeat=n) if least <= sum(e) <= most]
    return sorted(exponents, key=lambda e: (sum(e), e))


@final
@dataclass(frozen=True, eq=False)
class Polynomial:
    """sum_k values_k z^exponents_k.

    Args:
        exponents: k of them, distinct, each of length n.
        values: (k,), numbers or a CVXPY expression that is affine.
    """

    exponents: tuple[Exponents, ...]
    values: Any

    @staticmethod
    def of(terms: dict[Exponents, float]) -> Polynomial:
        """The polynomial with these coefficients, given by exponents."""
        return Polynomial(tuple(terms), np.array(list(terms.values()), dtype=float))

    @property
    def terms(self) -> dict[Exponents, float]:
        """Coefficients by exponents; of a solved program, the values of the solution."""
        numbers = self.values if isinstance(self.values, np.ndarray) else self.values.value
        return dict(zip(self.exponents, map(float, numbers), strict=True))

    @staticmethod
    def constant(value: float, n: int) -> Polynomial:
        return Polynomial.of({(0,) * n: value})

    @property
    def degree(self) -> int:
        return max((sum(e) for e in self.exponents), default=0)

    def __add__(self, other: Polynomial) -> Polynomial:
        target = tuple(dict.fromkeys((*self.exponents, *other.exponents)))
        place = {e: k for k, e in enumerate(target)}
        first, second = (_selection([place[e] for e in p.exponents], len(target)) for p in (self, other))
        return Polynomial(target, first @ self.values + second @ other.values)

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self + Polynomial(other.exponents, -other.values)

    def scaled(self, factor: Any) -> Polynomial:
        """The product with a number, which may be an unknown if the coefficients are numbers."""
        return Polynomial(self.exponents, self.values * factor)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """Its values (b,) at points (b, n), where the coefficients are numbers."""
        return powers(z, self.exponents) @ self.values

    def __mul__(self, other: Polynomial) -> Polynomial:
        """The product, where the coefficients of ``other`` are numbers."""
        products: dict[Exponents, int] = {}
        rows, columns, factors = [], [], []
        for k, e in enumerate(self.exponents):
            for d, value in other.terms.items():
                rows.append(products.setdefault(tuple(a + b for a, b in zip(e, d, strict=True)), len(products)))
                columns.append(k)
                factors.append(value)
        matrix = sparse.csr_matrix((factors, (rows, columns)), shape=(len(products), len(self.exponents)))
        return Polynomial(tuple(products), matrix @ self.values)

    def derivative(self, i: int) -> Polynomial:
        """The derivative with respect to z_i."""
        kept = [k for k, e in enumerate(self.exponents) if e[i] > 0]
        lowered = [(*e[:i], e[i] - 1, *e[i + 1 :]) for e in (self.exponents[k] for k in kept)]
        factors = np.array([self.exponents[k][i] for k in kept], dtype=float)
        matrix = sparse.csr_matrix((factors, (range(len(kept)), kept)), shape=(len(kept), len(self.exponents)))
        return Polynomial(tuple(lowered), matrix @ self.values)

    def stretched(self, scale: np.ndarray) -> Polynomial:
        """The polynomial in y with z = scale * y, scale (n,)."""
        factors = np.prod(np.power(scale, np.array(self.exponents).reshape(-1, len(scale))), axis=1)
        return Polynomial(self.exponents, sparse.diags(factors) @ self.values)

    def derivative_along(self, field: Sequence[Polynomial]) -> Polynomial:
        """The derivative along a vector field of n polynomials with numbers as coefficients."""
        total = Polynomial((), np.zeros(0))
        for i, component in enumerate(field):
            total = total + self.derivative(i) * component
        return total


@final
class Squares:
    """An unknown sum of squares of polynomials spanned by given monomials.

    Where everything is even in z, no square mixes even with odd monomials, so each kind has a matrix of its own
    (Gatermann & Parrilo 2004).

    Attributes:
        polynomial: the sum. Being one is part of the matrices' type; there are no further constraints.
    """

    def __init__(self, basis: Sequence[Exponents], even: bool) -> None:
        import cvxpy as cp  # slow to import and only needed here

        groups = [[e for e in basis if not even or sum(e) % 2 == parity] for parity in ((0, 1) if even else (0,))]
        total = Polynomial((), np.zeros(0))
        for group in filter(None, groups):
            gram = cp.Variable((len(group), len(group)), PSD=True)
            products: dict[Exponents, int] = {}
            rows = [
                products.setdefault(tuple(a + b for a, b in zip(e, d, strict=True)), len(products))
                for e in group
                for d in group
            ]
            total = total + Polynomial(tuple(products), _selection(rows, len(products)) @ cp.vec(gram, order="C"))
        self.polynomial = total

    def equals(self, p: Polynomial) -> Any:
        """The constraint that p is this sum."""
        return (p - self.polynomial).values == 0


def unknown(exponents: Sequence[Exponents], even: bool) -> Polynomial:
    """A polynomial with unknown coefficients; without its odd monomials where everything is even."""
    import cvxpy as cp

    kept = tuple(e for e in exponents if not even or sum(e) % 2 == 0)
    return Polynomial(kept, cp.Variable(len(kept)))


def _selection(rows: Sequence[int], size: int) -> sparse.csr_matrix:
    """The matrix (size, k) that adds entry j of a vector (k,) to row rows[j]."""
    return sparse.csr_matrix((np.ones(len(rows)), (rows, range(len(rows)))), shape=(size, len(rows)))
