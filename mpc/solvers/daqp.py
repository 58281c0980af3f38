"""DAQP: dual active-set solver for small dense quadratic programs (Arnström, Bemporad & Axehill, 2022)."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import daqp
import numpy as np

from ctrl.controller import Status
from mpc.solvers.base import QPSolver, QuadraticProgram, Solution
from mpc.solvers.piqp import PIQP

__all__ = ["DAQP"]

_STATUS = {
    1: Status.SOLVED,
    2: Status.SOLVED,
    -1: Status.INFEASIBLE,
    -2: Status.NUMERICAL,  # cycling
    -3: Status.UNBOUNDED,
    -4: Status.MAX_ITERATIONS,
    -5: Status.NUMERICAL,  # not convex
    -6: Status.NUMERICAL,  # overdetermined first working set
    -7: Status.TIMEOUT,
}
_INFINITY = 1e30  # what DAQP takes for no bound


class DAQP(QPSolver):
    """Warm-started with the working set of the last solve. H must be positive definite.

    A soft row gets a slack variable of its own. Its curvature of 1e-8 price keeps the dual problem defined; it shifts a
    violated row's price by 1e-8 of itself per unit of violation.

    What it cannot solve for numerical reasons is given to PIQP: at some vertices where many rows meet, as they do on
    the edge of a feasible set, an active-set method cycles, with any start and any tolerances.
    """

    SLACK_CURVATURE = 1e-8

    def __init__(self, problem: QuadraticProgram, max_iterations: int = 1000) -> None:
        super().__init__(problem, max_iterations)
        A, soft = problem.A.toarray(), problem.soft
        rows, d = A.shape
        q = int(soft.sum())
        # Rows with one entry are bounds on variables, which cost DAQP nothing.
        entries = np.count_nonzero(A, axis=1)
        column = np.abs(A).argmax(axis=1) if rows else np.zeros(0, dtype=int)
        single = (entries == 1) & ~soft
        first = np.zeros(rows, dtype=bool)
        first[[np.flatnonzero(single & (column == j))[0] for j in set(column[single])]] = True
        self._bound = np.flatnonzero(first)
        self._bound_of = column[self._bound]
        self._bound_scale = A[self._bound, self._bound_of]
        self._hard, self._soft = np.flatnonzero(~soft & ~first), np.flatnonzero(soft)
        H = np.zeros((d + q, d + q))
        H[:d, :d] = problem.H.toarray()
        H[d:, d:] = np.diag(self.SLACK_CURVATURE * problem.price[soft])
        slack = np.eye(q)
        matrix = np.block(
            [[A[self._hard], np.zeros((len(self._hard), q))], [A[self._soft], -slack], [A[self._soft], slack]]
        )
        self._f = np.concatenate([np.zeros(d), problem.price[soft]])
        self._lower = np.full(d + q + len(matrix), -_INFINITY)
        self._upper = np.full(d + q + len(matrix), _INFINITY)
        self._lower[d : d + q] = 0.0
        self._cold = np.zeros(len(self._lower), dtype=np.int32)
        self._d, self._q = d, q
        self._flip = self._bound_scale < 0
        self._model = daqp.Model()
        # A first problem without bounds, which is solvable, so that the matrices are factorised once and for all.
        flag, _ = self._model.setup(H, self._f, matrix, self._upper.copy(), self._lower.copy(), self._cold.copy())
        self._is_set_up = flag >= 0
        self._model.settings = {"iter_limit": max_iterations, "primal_tol": 1e-9}
        self._sense: np.ndarray | None = self._cold

    @cached_property
    def rescue(self) -> PIQP:
        """The other solver, made when it is first needed."""
        return PIQP(self.problem)

    def solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Solution:
        """See :meth:`QPSolver.solve`."""
        found = super().solve(f, lower, upper)
        if found.status is not Status.NUMERICAL or not np.isfinite(f).all():
            return found
        other = self.rescue.solve(f, lower, upper)
        if not other.residual < found.residual and other.status is not Status.INFEASIBLE:
            return found
        return dataclasses.replace(other, iterations=found.iterations + other.iterations)

    def reset(self) -> None:
        self._sense = self._cold

    def _solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[Status, np.ndarray, np.ndarray, int]:
        d, q, hard, soft = self._d, self._q, self._hard, self._soft
        if not self._is_set_up:
            return Status.NUMERICAL, np.full(d, np.nan), np.full(len(lower), np.nan), 0
        self._f[:d] = f
        low, high = np.clip(lower, -_INFINITY, _INFINITY), np.clip(upper, -_INFINITY, _INFINITY)
        a, b = low[self._bound] / self._bound_scale, high[self._bound] / self._bound_scale
        self._lower[self._bound_of] = np.where(self._flip, b, a)
        self._upper[self._bound_of] = np.where(self._flip, a, b)
        start, middle = d + q, d + q + len(hard)
        self._lower[start:middle], self._upper[start:middle] = low[hard], high[hard]
        self._upper[middle : middle + q] = high[soft]
        self._lower[middle + q :] = low[soft]
        self._model.update(
            f=self._f, bupper=self._upper, blower=self._lower, sense=None if self._sense is None else self._sense.copy()
        )
        self._sense = None  # from now on the working set of the last solve
        x, _, flag, info = self._model.solve()
        push = np.asarray(info["lam"])
        multipliers = np.zeros(len(lower))
        multipliers[self._bound] = push[self._bound_of] / self._bound_scale
        multipliers[hard] = push[start:middle]
        multipliers[soft] = push[middle : middle + q] + push[middle + q :]
        return _STATUS.get(int(flag), Status.NUMERICAL), np.array(x[:d]), multipliers, int(info["iterations"])
