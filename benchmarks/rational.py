"""The solution of a quadratic program in rational numbers: what the errors of the fast solvers are measured against.

In double precision it cannot be decided who is right where many rows meet: one row more or less in the active set
changes the residuals by rounding and the point by much more. Needs python-flint.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from flint import fmpq, fmpq_mat

from mpc.solvers.qp import QuadraticProgram
from systems import InvalidValue

__all__ = ["RationalSolver"]

ZERO = fmpq(0)


def _rational(value: float) -> fmpq:
    return fmpq(*float(value).as_integer_ratio())


def _column(values: Sequence[fmpq]) -> fmpq_mat:
    return fmpq_mat(len(values), 1, list(values))


class RationalSolver:
    """Solves one least-distance problem for many bounds, by a dual active-set method (Goldfarb & Idnani, 1983).

    A soft row's multiplier ends at its weight. In exact arithmetic the dual cost grows with every change of the active
    set, so the method ends, and its answer has no error but the final rounding.

    Args:
        problem: with the identity for H, as the condensed form has it.

    Raises:
        InvalidValue: another H.
    """

    def __init__(self, problem: QuadraticProgram) -> None:
        d = problem.H.shape[0]
        if (np.eye(d) != problem.H).any():
            raise InvalidValue("the rational solver takes least-distance problems; expected H = identity")
        self._d = d
        above, below = np.isfinite(problem.upper), np.isfinite(problem.lower)
        A = problem.A.toarray()
        self._above, self._below = above, below
        rows = np.vstack([A[above], -A[below]])
        self._weight = [
            None if np.isinf(w) else _rational(w)
            for w in np.concatenate([problem.weight[above], problem.weight[below]])
        ]
        self._rows = fmpq_mat(len(rows), d, [_rational(value) for value in rows.ravel()])

    @cached_property
    def _gram(self) -> list[list[fmpq]]:
        return (self._rows * self._rows.transpose()).table()

    def solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray | None:
        """The optimum (d,), rounded to double precision; None where no point meets the hard rows.

        Args:
            f: (d,).
            lower, upper: (rows,).
        """
        self._f = _column([_rational(value) for value in f])
        bounds = np.concatenate([upper[self._above], -lower[self._below]])
        at_free = (self._rows * self._f).entries()
        self._v = [-value - _rational(bound) for value, bound in zip(at_free, bounds, strict=True)]
        self._multipliers, self._active = [ZERO] * len(bounds), list[int]()
        while True:
            worst, most = -1, ZERO
            for i in range(len(bounds)):
                if i not in self._active:
                    beyond = -self._slack(i) if self._is_full(i) else self._slack(i)
                    if beyond > most:
                        worst, most = i, beyond
            if worst < 0:
                break
            if not self._bring_in(worst, -1 if self._is_full(worst) else 1):
                return None
        z = self._f + self._rows.transpose() * _column(self._multipliers)
        return np.array([-int(value.p) / int(value.q) for value in z.entries()])

    def _is_full(self, i: int) -> bool:
        weight = self._weight[i]
        return weight is not None and self._multipliers[i] >= weight

    def _slack(self, i: int) -> fmpq:
        """By how much row ``i`` is violated."""
        row = self._gram[i]
        return self._v[i] - sum((row[j] * y for j, y in enumerate(self._multipliers) if y != 0), ZERO)

    def _bring_in(self, i: int, sign: int) -> bool:
        """Changes the multiplier of row ``i`` until the row holds or the multiplier is at its other end; False where
        nothing stops it."""
        y, weight = self._multipliers, self._weight
        while True:
            active = self._active
            beside = [self._gram[a][i] for a in active]
            along = self._along(active, beside)
            curvature = self._gram[i][i] - sum((a * b for a, b in zip(along, beside, strict=True)), ZERO)
            steps: list[tuple[fmpq, int | None]] = []  # and the row that leaves then
            if curvature > 0:
                steps.append((max(sign * self._slack(i), ZERO) / curvature, None))
            own = y[i] if sign < 0 else None if weight[i] is None else weight[i] - y[i]
            if own is not None:
                steps.append((own, i))
            for a, value in zip(active, along, strict=True):
                change = -sign * value
                if change < 0:
                    steps.append((-y[a] / change, a))
                elif change > 0 and weight[a] is not None:
                    steps.append(((weight[a] - y[a]) / change, a))
            if not steps:
                return False
            step, leaving = min(steps, key=lambda found: found[0])
            for a, value in zip(active, along, strict=True):
                y[a] -= sign * step * value
            y[i] += sign * step
            if leaving is None:
                self._active = [*active, i]
                return True
            if leaving == i:
                return True
            self._active = [a for a in active if a != leaving]

    def _along(self, active: list[int], beside: list[fmpq]) -> list[fmpq]:
        if not active:
            return []
        gram = fmpq_mat(len(active), len(active), [self._gram[a][b] for a in active for b in active])
        return gram.solve(_column(beside)).entries()
