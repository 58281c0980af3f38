"""Quadratic programs with the stages of linear optimal control on HPIPM, whose work grows linearly with the horizon."""

from __future__ import annotations

from typing import final

import numpy as np

from ctrl.controller import Status
from mpc.solvers.hpipm import FREE, HPIPM, StageSizes
from mpc.solvers.piqp import Rescued
from mpc.solvers.qp import QuadraticProgram

__all__ = ["StagedQP", "has_stages"]


def has_stages(problem: QuadraticProgram, n: int, m: int) -> bool:
    """Whether each row after the dynamics involves one stage only, as :class:`StagedQP` requires.

    Args:
        problem: see :class:`StagedQP`.
        n, m: number of states and inputs.
    """
    horizon, left = divmod(problem.H.shape[0] - n, n + m)
    if left or horizon < 1:
        return False
    A = problem.A.tocsr()[(horizon + 1) * n :]
    spans = [A.indices[a:b] // (n + m) for a, b in zip(A.indptr[:-1], A.indptr[1:], strict=True)]
    return all(len(span) and span.min() == span.max() for span in spans)


@final
class StagedQP(Rescued):
    """Cold-started at every solve, like interior-point methods.

    Each side of a soft row has an additional input, its violation. Problems that HPIPM does not solve are passed to
    PIQP.

    Args:
        problem: in s = [x0 u0 x1 u1 ... xN]; its first n rows say x0 = x, the next N n are
            x_{k+1} - A_k x_k - B_k u_k = c_k, and each of the others is of one stage.
        n, m: number of states and inputs.
        max_iterations: of HPIPM.

    Raises:
        HPIPMMissing: see :func:`mpc.solvers.hpipm.library`.
    """

    TIGHT = 1e-9  # of all residuals; more than rounding allows is rarely reached

    def __init__(self, problem: QuadraticProgram, n: int, m: int, max_iterations: int | None = None) -> None:
        super().__init__(problem, 100 if max_iterations is None else max_iterations)
        d, k = problem.H.shape[0], n + m
        N = (d - n) // k
        self._n, self._m, self._N, self._equal = n, m, N, (N + 1) * n
        A, soft = problem.A.tocsr(), problem.soft[self._equal :]
        rows = A[self._equal :]
        first = np.array([rows.indices[i] for i in rows.indptr[:-1]], dtype=int)
        stage = first // k
        ends = rows.indptr[1:] - rows.indptr[:-1]
        # A hard row of a single input is a bound; with two on the same input the second stays a row.
        is_bound = (ends == 1) & ~soft & (first % k >= n) & (stage < N)
        is_bound &= np.array([abs(rows.data[i] - 1.0) < 1e-15 for i in rows.indptr[:-1]], dtype=bool)
        bounded: set[int] = set()
        for i in np.flatnonzero(is_bound):
            is_bound[i] = int(first[i]) not in bounded
            bounded.add(int(first[i]))
        place, extra = np.zeros(len(stage), dtype=int), np.zeros(len(stage), dtype=int)
        counts, slacks = np.zeros(N + 1, dtype=int), np.zeros(N + 1, dtype=int)
        for i in np.flatnonzero(~is_bound):
            place[i], counts[stage[i]] = counts[stage[i]], counts[stage[i]] + 1
            if soft[i]:
                extra[i], slacks[stage[i]] = slacks[stage[i]], slacks[stage[i]] + 2
        g, q = int(counts[:-1].max()), int(slacks[:-1].max())
        sizes = StageSizes(N, n, m + q, g, int(slacks[-1]), int(counts[-1]))
        self._solver = solver = HPIPM(sizes, "speed", self.max_iterations, self.TIGHT)
        s, last = solver.stages, solver.last
        H = problem.H.tocsr()
        dense = A[n : self._equal]
        for j in range(N):
            at = j * k
            block = H[at : at + k, at : at + k].toarray()
            s.Q[j], s.S[j, :, :m], s.R[j, :m, :m] = block[:n, :n], block[:n, n:], block[n:, n:]
            step = -dense[j * n : (j + 1) * n, at : at + k].toarray()
            solver.A[j], solver.B[j, :m] = step[:, :n].T, step[:, n:].T
        last.Q[0] = H[N * k :, N * k :].toarray()
        self._cross = s.S[0, :, :m].T.copy()
        self._first = solver.A[0].T.copy()
        self._is_bound, self._at = np.flatnonzero(is_bound), first[is_bound]
        general = np.flatnonzero(~is_bound)
        self._running, self._ending = general[stage[general] < N], general[stage[general] == N]
        self._where = stage[self._running], place[self._running]
        self._last_at = place[self._ending]
        for part, which, inputs in ((s, self._running, m), (last, self._ending, 0)):
            for i in which:
                j = 0 if part is last else stage[i]
                row = rows[i].toarray()[0]
                at = int(stage[i]) * k
                part.C[j, :, place[i]] = row[at : at + n]
                if part is s:
                    part.D[j, :m, place[i]] = row[at + n : at + k]
                if soft[i]:
                    below = inputs + extra[i]
                    part.D[j, below, place[i]], part.D[j, below + 1, place[i]] = 1.0, -1.0
        # The measured state is not a variable of HPIPM: what it adds to the rows of the first stage is moved over.
        self._measured = s.C[0].T.copy()
        s.q[:], last.q[:] = 0.0, 0.0
        self._penalty = np.zeros((N, q)), np.zeros(int(slacks[-1]))
        for i in np.flatnonzero(soft):
            target = self._penalty[0][stage[i]] if stage[i] < N else self._penalty[1]
            target[extra[i] : extra[i] + 2] = problem.weight[self._equal + i]
        solver.lower[:], solver.upper[:] = -FREE, FREE
        if q:
            s.low[:, m:] = 0.0
            # An input that no soft row of its stage uses stands still.
            for j in range(N):
                s.high[j, m + slacks[j] :] = 1.0
                s.R[j, range(m + slacks[j], m + q), range(m + slacks[j], m + q)] = 1.0
        last.low[:] = 0.0
        self._place(problem.lower, problem.upper, np.zeros(n))
        solver.set_bounds()
        self._transpose = problem.A.T.tocsr()

    def _place(self, lower: np.ndarray, upper: np.ndarray, x: np.ndarray) -> None:
        """Writes the bounds of the rows behind the dynamics."""
        s, last, k = self._solver.stages, self._solver.last, self._n + self._m
        low, high = np.maximum(lower[self._equal :], -FREE), np.minimum(upper[self._equal :], FREE)
        stage, column = self._at // k, self._at % k - self._n
        s.low[stage, column], s.high[stage, column] = low[self._is_bound], high[self._is_bound]
        s.lower[self._where], s.upper[self._where] = low[self._running], high[self._running]
        shift = self._measured @ x
        s.lower[0] -= np.where(s.lower[0] > -FREE, shift, 0.0)
        s.upper[0] -= np.where(s.upper[0] < FREE, shift, 0.0)
        last.lower[0, self._last_at], last.upper[0, self._last_at] = low[self._ending], high[self._ending]

    def _forget(self) -> None:
        """Nothing is carried from solve to solve."""

    def _solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[Status, np.ndarray, np.ndarray, int]:
        solver, n, m, N = self._solver, self._n, self._m, self._N
        s, last, k = solver.stages, solver.last, self._n + self._m
        x = lower[:n]
        self._place(lower, upper, x)
        blocks = f[: N * k].reshape(N, k)
        s.q[:], s.r[:, :m], last.q[0] = blocks[:, :n], blocks[:, n:], f[N * k :]
        s.r[:, m:], last.r[0] = self._penalty
        s.r[0, :m] += self._cross @ x
        solver.b[:] = lower[n : self._equal].reshape(N, n)
        solver.b[0] += self._first @ x
        status = solver.solve()
        z = np.empty(len(f))
        parts = z[: N * k].reshape(N, k)
        parts[:, :n], parts[:, n:] = s.x, s.u[:, :m]
        z[:n], z[N * k :] = x, last.x[0]
        y = np.zeros(len(lower))
        y[n : self._equal] = -solver.pi.ravel()
        behind = y[self._equal :]
        stage, column = self._at // k, self._at % k - n
        behind[self._is_bound] = s.lam_high[stage, column] - s.lam_low[stage, column]
        behind[self._running] = s.lam_upper[self._where] - s.lam_lower[self._where]
        behind[self._ending] = last.lam_upper[0, self._last_at] - last.lam_lower[0, self._last_at]
        # The multiplier of the measured state is what makes its gradient vanish.
        gradient = self._h @ z + f + self._transpose @ y
        y[:n] = -gradient[:n]
        return status, z, y, solver.iterations
