"""PIQP: proximal interior-point solver for sparse quadratic programs (Schwan, Jiang, Kuhn & Jones, 2023)."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
import piqp
import scipy.sparse as sp

from ctrl.controller import Status
from mpc.solvers.qp import QPSolver, QuadraticProgram, Solution

__all__ = ["PIQP", "Rescued"]

_NO_BOUND = 1e30  # what PIQP takes for infinite
_STATUS = {
    piqp.PIQP_SOLVED: Status.SOLVED,
    piqp.PIQP_MAX_ITER_REACHED: Status.MAX_ITERATIONS,
    piqp.PIQP_PRIMAL_INFEASIBLE: Status.INFEASIBLE,
    piqp.PIQP_DUAL_INFEASIBLE: Status.UNBOUNDED,
}


class PIQP(QPSolver):
    """Cold-started at every solve, like interior-point methods, with a factorisation that exploits the stages of the
    horizon.

    Each soft row has its own slack variable.
    """

    def __init__(self, problem: QuadraticProgram, max_iterations: int | None = None) -> None:
        super().__init__(problem, 100 if max_iterations is None else max_iterations)
        soft, equality = problem.soft, problem.equality
        d, q = problem.H.shape[0], int(soft.sum())
        self._equality, self._hard = np.flatnonzero(equality), np.flatnonzero(~equality & ~soft)
        self._soft = np.flatnonzero(soft)
        A = problem.A.tocsr()
        # The slack of a row is filed behind the last variable it speaks of: appended at the end, the slacks would
        # couple all stages and the factorisation would lose the band.
        last = np.array([A.indices[A.indptr[i] : A.indptr[i + 1]].max(initial=0) for i in self._soft], dtype=float)
        order = np.argsort(np.concatenate([np.arange(d, dtype=float), last + 0.5]), kind="stable")
        self._place = np.argsort(order)  # variable i of (z, slacks) is variable place[i] of the solver
        shuffle = sp.identity(d + q, format="csc")[:, order]
        H = (shuffle.T @ sp.block_diag([problem.H, sp.csc_matrix((q, q))], format="csc") @ shuffle).tocsc()
        slack = sp.identity(q, format="csc")

        # PIQP zeroes a row without finite bound in all later solves, so a side of a soft row needs a bound.
        self._over = np.flatnonzero(np.isfinite(problem.upper[self._soft]))
        self._under = np.flatnonzero(np.isfinite(problem.lower[self._soft]))

        def rows(which: np.ndarray, extra: sp.csc_matrix) -> sp.csc_matrix:
            return (sp.hstack([A[which], extra], format="csc") @ shuffle).tocsc()

        def alone(which: np.ndarray) -> sp.csc_matrix:
            return rows(which, sp.csc_matrix((len(which), q)))

        G = sp.vstack(
            [
                alone(self._hard),
                rows(self._soft[self._over], -slack[self._over]),
                rows(self._soft[self._under], slack[self._under]),
            ],
            format="csc",
        )
        self._f = np.zeros(d + q)
        self._f[self._place[d:]] = problem.weight[soft]
        self._b = np.zeros(len(self._equality))
        self._low, self._high = np.full(G.shape[0], -np.inf), np.full(G.shape[0], np.inf)
        self._set_bounds(problem.lower, problem.upper)
        self._harmless = tuple(part.copy() for part in (self._f, self._b, self._low, self._high))
        least = np.full(d + q, -np.inf)
        least[self._place[d:]] = 0.0
        self._d, self._matrices, self._boxes = d, (H, alone(self._equality), G), (least, np.full(d + q, np.inf))
        self._set_up()

    def _set_up(self) -> None:
        self._solver = piqp.SparseSolver()
        settings = self._solver.settings
        settings.kkt_solver = piqp.KKTSolver.sparse_multistage
        settings.max_iter = self.max_iterations
        settings.eps_abs = settings.eps_rel = 1e-9
        # A weakly active row is only as sharp as the square root of the gap.
        settings.eps_duality_gap_abs, settings.eps_duality_gap_rel = 1e-9, 1e-12
        H, A, G = self._matrices
        self._solver.setup(H, self._f, A, self._b, G, self._low, self._high, *self._boxes)

    def _forget(self) -> None:
        """Nothing is carried from solve to solve."""

    def _set_bounds(self, lower: np.ndarray, upper: np.ndarray) -> None:
        h, over = len(self._hard), len(self._over)
        self._b[:] = lower[self._equality]
        self._low[:h], self._high[:h] = lower[self._hard], upper[self._hard]
        self._high[h : h + over] = upper[self._soft[self._over]]
        self._low[h + over :] = lower[self._soft[self._under]]

    def _solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[Status, np.ndarray, np.ndarray, int]:
        self._f[self._place[: self._d]] = f
        self._set_bounds(lower, upper)
        if ((self._low <= -_NO_BOUND) & (self._high >= _NO_BOUND)).any():  # which it would zero in all later solves too
            return Status.NUMERICAL, np.full(self._d, np.nan), np.full(len(lower), np.nan), 0
        self._solver.update(c=self._f, b=self._b, h_l=self._low, h_u=self._high)
        status = _STATUS.get(self._solver.solve(), Status.NUMERICAL)
        result = self._solver.result
        duals = np.asarray(result.z_u) - np.asarray(result.z_l)
        h, over = len(self._hard), len(self._over)
        multipliers = np.zeros(len(lower))
        multipliers[self._equality] = result.y
        multipliers[self._hard] = duals[:h]
        multipliers[self._soft[self._over]] += duals[h : h + over]
        multipliers[self._soft[self._under]] += duals[h + over :]
        point, iterations = np.array(result.x)[self._place[: self._d]], int(result.info.iter)
        if not (np.isfinite(point).all() and np.isfinite(multipliers).all()):
            # Numbers that overflowed stay in its memory, and every later solve would fail.
            self._f[:], self._b[:], self._low[:], self._high[:] = self._harmless
            self._set_up()
        return status, point, multipliers, iterations


class Rescued(QPSolver):
    """A back-end whose problems are passed to PIQP if it fails for numerical reasons.

    Attributes:
        rescues: number of such failures.
    """

    rescues = 0

    @cached_property
    def rescue(self) -> PIQP:
        """The other solver, constructed when it is first needed; its points are polished in the same way."""
        other = PIQP(self.problem)
        other.POLISHED = self.POLISHED
        return other

    def prepare(self) -> None:
        """See :meth:`QPSolver.prepare`."""
        self.rescue.prepare()

    def solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Solution:
        """See :meth:`QPSolver.solve`."""
        continues = self._continues
        solution = super().solve(f, lower, upper)
        if solution.status is not Status.NUMERICAL or not np.isfinite(f).all():
            return solution
        self.rescues += 1
        self.rescue._continues = continues
        other = self.rescue.solve(f, lower, upper)
        self._continues = other.status is Status.SOLVED
        if not other.residual < solution.residual and other.status is not Status.INFEASIBLE:
            return solution
        return dataclasses.replace(other, iterations=solution.iterations + other.iterations)
