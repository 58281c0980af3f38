"""Clarabel on the full sparse problem, called directly with updated data; the reference for the dedicated solver."""

from __future__ import annotations

import clarabel
import numpy as np
import scipy.sparse as sp

from ctrl.controller import Status
from mpc.harmonic.conic_program import ConicProgram
from mpc.solvers.conic_solver import ConicSolver

__all__ = ["STATUS", "ClarabelSolver"]

STATUS = {
    "Solved": Status.SOLVED,
    "AlmostSolved": Status.MAX_ITERATIONS,
    "MaxIterations": Status.MAX_ITERATIONS,
    "MaxTime": Status.TIMEOUT,
    "PrimalInfeasible": Status.INFEASIBLE,
    "AlmostPrimalInfeasible": Status.INFEASIBLE,
    "DualInfeasible": Status.UNBOUNDED,
    "AlmostDualInfeasible": Status.UNBOUNDED,
}
"""Of Clarabel's own words; any other is a numerical failure."""


class ClarabelSolver(ConicSolver):
    """Interior point of Goulart & Chen (2024) on min |S z - T p - t|^2 as it stands, infinite bounds dropped.

    Args:
        program: what stays the same.
        bounds: of the input, each (m,).
        max_iterations: of one solve.
        time_limit: seconds of one solve.
        tolerance: absolute and relative, of gap and feasibility.
    """

    LOOSE = 1e-6  # largest residual, relative to the size of the data, of a point that counts as solved

    def __init__(
        self,
        program: ConicProgram,
        bounds: tuple[np.ndarray, np.ndarray],
        max_iterations: int = 60,
        time_limit: float = np.inf,
        tolerance: float = 1e-10,
    ) -> None:
        self.program = program
        n = program.state_at.shape[1]
        d = program.S.shape[1]
        first = program.state_at[0]
        self._rest = np.setdiff1d(np.arange(d), first)
        # The first predicted state is the measured one: a parameter, no variable.
        upper, lower = np.flatnonzero(np.isfinite(program.upper)), np.flatnonzero(np.isfinite(program.lower))
        cone_rows, cone_bounds = program.cones()
        rows = [program.G[n:], program.C[upper], -program.C[lower], cone_rows]
        constant = [program.b[n:], program.upper[upper], -program.lower[lower], cone_bounds]
        A, b = np.vstack(rows), np.concatenate(constant)
        slope = np.zeros((len(b), program.T.shape[1]))
        slope[: len(program.G) - n] = program.B[n:]
        slope[:, :n] -= A[:, first]
        self._b, self._slope = b, slope
        S, T = program.S, program.T.copy()
        T[:, :n] -= S[:, first]
        S = S[:, self._rest]
        self._q, self._gradient = -2.0 * S.T @ program.t, -2.0 * S.T @ T
        cones = [clarabel.ZeroConeT(len(program.G) - n), clarabel.NonnegativeConeT(len(upper) + len(lower))]
        cones += [clarabel.SecondOrderConeT(3)] * (len(cone_bounds) // 3)
        settings = clarabel.DefaultSettings()
        if np.isfinite(time_limit):
            settings.time_limit = time_limit
        settings.verbose, settings.presolve_enable, settings.max_iter = False, False, max_iterations
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tolerance
        P = sp.triu(sp.csc_matrix(2.0 * S.T @ S), format="csc")
        self._solver = clarabel.DefaultSolver(P, self._q, sp.csc_matrix(A[:, self._rest]), b, cones, settings)
        self._bounds = bounds
        self._last = self._good = np.zeros(d), np.zeros(T.shape[1])
        self.input = np.zeros(len(bounds[0]))
        self.iterations, self.residual = 0, np.inf

    def solve(self, parameter: np.ndarray, elapsed: int) -> Status:
        """See :class:`ConicSolver`; there is no warm start."""
        if not np.isfinite(parameter).all():
            self.iterations, self.residual = 0, np.inf
            return Status.NUMERICAL
        n = self.program.state_at.shape[1]
        self._solver.update(q=self._q + self._gradient @ parameter, b=self._b + self._slope @ parameter)
        solution = self._solver.solve()
        z = np.zeros(self.program.S.shape[1])
        z[self.program.state_at[0]], z[self._rest] = parameter[:n], solution.x
        self._last, self.iterations = (z, parameter.copy()), int(solution.iterations)
        self.residual = float(max(solution.r_prim, solution.r_dual))
        status = STATUS.get(str(solution.status), Status.NUMERICAL)
        if status is Status.SOLVED and not (self.residual <= self.LOOSE and np.isfinite(z).all()):
            status = Status.NUMERICAL
        self.input = np.clip(z[self.program.input_at[0]], *self._bounds)
        if status is Status.SOLVED:
            self.keep()
        return status

    def keep(self) -> None:
        """See :class:`ConicSolver`."""
        self._good = self._last

    def point(self) -> np.ndarray:
        """See :class:`ConicSolver`."""
        return self._good[0]

    def parameter(self) -> np.ndarray:
        """See :class:`ConicSolver`."""
        return self._good[1]
