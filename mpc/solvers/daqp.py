"""DAQP: dual active-set solver for small dense quadratic programs (Arnström, Bemporad & Axehill, 2022)."""

from __future__ import annotations

import math

import daqp
import numpy as np
from scipy.linalg import solve_triangular

from ctrl.controller import Status
from mpc.solvers.piqp import Rescued
from mpc.solvers.qp import Point, QuadraticProgram

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


class DAQP(Rescued):
    """Warm-started with the working set of the last solve. H must be positive definite.

    DAQP solves the least-distance problem min |y|^2/2 in y = L'z + L^-1 f, H = L L', of which only the bounds change
    from solve to solve; with H and f, it would spend more time on transforming them than on the rest.

    Each soft row has its own slack variable. Its curvature of 1e-8 weight keeps the dual problem defined; it shifts
    a violated row's weight by 1e-8 of itself per unit of violation.

    Problems that it cannot solve for numerical reasons are passed to PIQP: at some vertices where many rows meet, as on
    the edge of a feasible set, an active-set method cycles with any start and any tolerances.
    """

    SLACK_CURVATURE = 1e-7
    POLISHED = 1e-9  # the slacks' curvature, and what it does to the scale of a row, leave more than that
    POLISHES = 4  # the active set of the first step may be wrong by a row, where multipliers are tied
    TOLERANCES = 1e-9, 1e-12  # of rows of length one; a soft row, whose slack has a large factor, misses thousandfold

    def __init__(
        self, problem: QuadraticProgram, max_iterations: int | None = None, time_limit: float = math.inf
    ) -> None:
        from mpc.solvers.optimality import clamp  # numba is slow to import

        super().__init__(problem, 1000 if max_iterations is None else max_iterations)
        self._clamp = clamp
        clamp(np.zeros(1), problem.lower.copy(), problem.upper.copy(), _INFINITY, np.zeros(0), np.zeros(0))  # loads it
        A, soft = problem.A.toarray(), problem.soft
        hard, weight = A[~soft], problem.weight[soft]
        h, q, d = len(hard), len(weight), A.shape[1]
        self._order = np.concatenate([np.flatnonzero(~soft), np.flatnonzero(soft)])
        self._count, self._q = h, q
        # Variables are slacks, then y; rows are slacks, hard rows, soft rows from above, soft rows from below.
        self._lower = np.full(h + 3 * q, -_INFINITY)
        self._upper = np.full(h + 3 * q, _INFINITY)
        self._cold = np.zeros(h + 3 * q, dtype=np.int32)
        self._sense: np.ndarray | None = self._cold
        self._model, self._is_convex, self._is_plain = daqp.Model(), False, False
        try:
            root = np.linalg.cholesky(problem.H.toarray())
        except np.linalg.LinAlgError:
            return  # not positive definite, which every solve says again
        unit = solve_triangular(root, np.eye(d), lower=True)
        self._is_convex, self._unit = True, unit
        # As y, a slack s of curvature c at the weight p is sqrt(c) s + p / sqrt(c).
        root_curvature = np.sqrt(self.SLACK_CURVATURE * weight)
        self._lower[:q] = weight / root_curvature
        self._idle = 1.0 / self.SLACK_CURVATURE  # how far below zero a slack would go of itself
        slack = np.diag(1.0 / root_curvature)
        rows = np.vstack([hard, A[soft], A[soft]])
        matrix = np.hstack([np.vstack([np.zeros((h, q)), -slack, slack]), rows @ unit.T])
        self._reach = A[self._order] @ unit.T @ unit
        if not len(self._upper):
            return  # DAQP wants a row
        # A first problem without bounds, which is solvable, so that the matrices are prepared once and for all.
        self._model.setup(
            np.eye(q + d), None, np.ascontiguousarray(matrix), self._upper.copy(), self._lower.copy(), self._cold.copy()
        )  # fmt: skip
        clock = {"time_limit": time_limit} if math.isfinite(time_limit) else {}
        self._model.settings = {"iter_limit": self.max_iterations, "primal_tol": self.TOLERANCES[0], **clock}

    def _forget(self) -> None:
        self._sense = self._cold

    def _solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[Status, np.ndarray, np.ndarray, int]:
        if not self._is_convex:
            return Status.NUMERICAL, np.full(len(f), np.nan), np.full(len(lower), np.nan), 0
        if not len(self._upper):
            return Status.SOLVED, -self._unit.T @ (self._unit @ f), np.zeros(0), 0
        h, q = self._count, self._q
        if q:
            lower, upper = lower[self._order], upper[self._order]
        low, high = self._lower[q : q + h], self._upper[q : q + h]
        is_zero = self._clamp(f, lower, upper, _INFINITY, low, high)
        if q:
            np.minimum(upper[h:], _INFINITY, out=self._upper[q + h : h + 2 * q])
            np.maximum(lower[h:], -_INFINITY, out=self._lower[h + 2 * q :])
            self._upper[q + h : h + 2 * q] -= self._idle
            self._lower[h + 2 * q :] += self._idle
        self._is_plain = self._is_unit and is_zero
        if not self._is_plain:
            shift = self._reach @ f
            low += shift[:h]
            high += shift[:h]
            self._upper[q + h : h + 2 * q] += shift[h:]
            self._lower[h + 2 * q :] += shift[h:]
        self._model.update(
            bupper=self._upper, blower=self._lower, sense=None if self._sense is None else self._sense.copy()
        )
        self._sense = None  # from now on the working set of the last solve
        return self._answer(f)

    def _answer(self, f: np.ndarray) -> tuple[Status, np.ndarray, np.ndarray, int]:
        """The model solved, from the working set that it has."""
        h, q = self._count, self._q
        y, _, flag, info = self._model.solve()
        duals = np.asarray(info["lam"])[q:]
        point = np.array(y[q:])
        if not self._is_plain:
            point = self._unit.T @ (point - self._unit @ f)
        multipliers = duals
        if q:
            multipliers = np.empty(h + q)
            multipliers[self._order] = np.concatenate([duals[:h], duals[h : h + q] + duals[h + q :]])
        return _STATUS.get(int(flag), Status.NUMERICAL), point, multipliers, int(info["iterations"])

    def _finer(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Point | None:
        """From the working set of the solve before. Not the tolerance of every solve: at the edge of a feasible set it
        would find many a problem infeasible that is so by rounding."""
        if not self._q:
            return None
        settings = self._model.settings
        self._model.settings = {**settings, "primal_tol": self.TOLERANCES[1]}
        status, point, multipliers, _ = self._answer(f)
        self._model.settings = settings
        if status is Status.SOLVED:
            return point, multipliers
        self._forget()
        return None
