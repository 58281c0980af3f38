"""Other people's solvers called directly on one linear MPC problem, each as its documentation advises.

    min  sum_k x_k'Q x_k + u_k'R u_k  (k < N)  +  x_N'P x_N
    s.t. x_{k+1} = A x_k + B u_k,  u_k in a box,  x_k in a box (k = 1 .. N)

Every maker prepares all that is constant and returns a function of the measured state that gives u_0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import clarabel
import daqp
import numpy as np
import osqp
import piqp
import scipy.sparse as sp

from ctrl.regulator import local_model, lqr
from systems import Task

Step = Callable[[np.ndarray], np.ndarray]

TOLERANCE = 1e-6  # absolute and relative, of every solver that stops on one; CasADi plug-ins and qpOASES keep their own


@dataclass(frozen=True, eq=False)
class Problem:
    """The data above; the boxes are (n,) and (m,)."""

    A: np.ndarray
    B: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    P: np.ndarray
    N: int
    x_lower: np.ndarray
    x_upper: np.ndarray
    u_lower: np.ndarray
    u_upper: np.ndarray

    @classmethod
    def of(cls, task: Task, N: int) -> Problem:
        """Of a task with one box on all states and its reference at the origin."""
        model = local_model(task)
        A, B = model.plant.A, model.plant.B
        (box,) = task.constraints
        limits = np.array([box.bounds[name] for name in task.plant.state.names])  # type: ignore[attr-defined]
        P = lqr(model.plant, model.Q, model.R).P
        return cls(A, B, model.Q, model.R, P, N, limits[:, 0], limits[:, 1], *task.input_bounds)

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Of z = [u_0 x_1 u_1 x_2 ... x_N]."""
        low, high = np.concatenate([self.u_lower, self.x_lower]), np.concatenate([self.u_upper, self.x_upper])
        return np.tile(low, self.N), np.tile(high, self.N)

    @cached_property
    def hessian(self) -> sp.csc_matrix:
        """Of z'Hz/2."""
        stages = [block for _ in range(self.N) for block in (self.R, self.Q)]
        return 2.0 * sp.block_diag([*stages[:-1], self.P], format="csc")

    @cached_property
    def dynamics(self) -> sp.csc_matrix:
        """E z = [A x; 0; ...; 0]."""
        n, m = self.B.shape
        here = np.hstack([-self.B, np.eye(n)])
        before = np.hstack([np.zeros((n, m)), -self.A])
        return sp.csc_matrix(sp.kron(sp.eye(self.N), here) + sp.kron(sp.eye(self.N, k=-1), before))

    @cached_property
    def condensed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """H, F, G, S: over the inputs v, min v'Hv/2 + (F x)'v with all states G v + S x."""
        n, m = self.B.shape
        step = n + m
        at_u = (np.arange(self.N)[:, None] * step + np.arange(m)).ravel()
        at_x = (np.arange(self.N)[:, None] * step + m + np.arange(n)).ravel()
        E = self.dynamics.toarray()
        first = np.vstack([self.A, np.zeros(((self.N - 1) * n, n))])
        G, S = np.linalg.solve(E[:, at_x], -E[:, at_u]), np.linalg.solve(E[:, at_x], first)
        H = self.hessian.toarray()
        Hx, Hu = H[np.ix_(at_x, at_x)], H[np.ix_(at_u, at_u)]
        dense = Hu + G.T @ Hx @ G
        return 0.5 * (dense + dense.T), G.T @ Hx @ S, G, S

    @cached_property
    def input_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Of all inputs."""
        return np.tile(self.u_lower, self.N), np.tile(self.u_upper, self.N)

    @cached_property
    def state_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Of all states."""
        return np.tile(self.x_lower, self.N), np.tile(self.x_upper, self.N)


def osqp_sparse(p: Problem) -> Step:
    n, m = p.B.shape
    rows = sp.vstack([p.dynamics, sp.identity(p.N * (n + m))], format="csc")
    zero = np.zeros(p.N * n)
    low, high = (np.concatenate([zero, bound]) for bound in p.bounds)
    return _osqp(p.hessian, rows, low, high, lambda x: (None, p.A @ x), m, n)


def osqp_condensed(p: Problem) -> Step:
    H, F, G, S = p.condensed
    m = p.B.shape[1]
    rows = sp.vstack([sp.csc_matrix(G), sp.identity(p.N * m)], format="csc")
    low, high = (np.concatenate(pair) for pair in zip(p.state_bounds, p.input_bounds, strict=True))
    return _osqp(sp.csc_matrix(H), rows, low, high, lambda x: (F @ x, S @ x), m, 0)


def _osqp(
    H: sp.csc_matrix, rows: sp.csc_matrix, low: np.ndarray, high: np.ndarray, data: Any, m: int, n: int
) -> Step:  # fmt: skip
    """Warm-started by the last answer, vectors updated; ``n`` rows are given, or (0) all state rows shifted."""
    solver, f = osqp.OSQP(), np.zeros(H.shape[0])
    solver.setup(
        sp.triu(H, format="csc"), f, rows, low, high, verbose=False, warm_starting=True, eps_abs=TOLERANCE,
        eps_rel=TOLERANCE, max_iter=20000, polishing=False,
    )  # fmt: skip
    lower, upper = low.copy(), high.copy()

    def step(x: np.ndarray) -> np.ndarray:
        gradient, given = data(x)
        if n:
            lower[:n] = upper[:n] = given
            solver.update(l=lower, u=upper)
        else:
            k = len(given)
            lower[:k], upper[:k] = low[:k] - given, high[:k] - given
            solver.update(q=gradient, l=lower, u=upper)
        return solver.solve().x[:m]

    return step


def _precise(settings: Any) -> None:
    settings.eps_abs = settings.eps_rel = settings.eps_duality_gap_abs = settings.eps_duality_gap_rel = TOLERANCE


def piqp_sparse(p: Problem) -> Step:
    n, m = p.B.shape
    solver, b = piqp.SparseSolver(), np.zeros(p.N * n)
    solver.settings.kkt_solver = piqp.KKTSolver.sparse_multistage
    _precise(solver.settings)
    solver.setup(p.hessian, np.zeros(p.N * (n + m)), p.dynamics, b, None, None, None, *p.bounds)

    def step(x: np.ndarray) -> np.ndarray:
        b[:n] = p.A @ x
        solver.update(b=b)
        solver.solve()
        return solver.result.x[:m]

    return step


def piqp_condensed(p: Problem) -> Step:
    H, F, G, S = p.condensed
    (low, high), m = p.state_bounds, p.B.shape[1]
    solver = piqp.DenseSolver()
    _precise(solver.settings)
    solver.setup(H, np.zeros(len(H)), None, None, G, low, high, *p.input_bounds)

    def step(x: np.ndarray) -> np.ndarray:
        shift = S @ x
        solver.update(c=F @ x, h_l=low - shift, h_u=high - shift)
        solver.solve()
        return solver.result.x[:m]

    return step


def clarabel_direct(p: Problem) -> Step:
    n, m = p.B.shape
    d = p.N * (n + m)
    low, high = p.bounds
    rows = sp.vstack([p.dynamics, sp.identity(d), -sp.identity(d)], format="csc")
    b = np.concatenate([np.zeros(p.N * n), high, -low])
    settings = clarabel.DefaultSettings()
    settings.verbose, settings.presolve_enable = False, False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = TOLERANCE
    cones = [clarabel.ZeroConeT(p.N * n), clarabel.NonnegativeConeT(2 * d)]
    solver = clarabel.DefaultSolver(sp.triu(p.hessian, format="csc"), np.zeros(d), rows, b, cones, settings)

    def step(x: np.ndarray) -> np.ndarray:
        b[:n] = p.A @ x
        solver.update(b=b)
        return np.array(solver.solve().x[:m])

    return step


def daqp_bare(p: Problem) -> Step:
    """Without any check of the answer: the floor of a step on DAQP, from Python."""
    H, F, G, S = p.condensed
    (low, high), (u_low, u_high), m = p.state_bounds, p.input_bounds, p.B.shape[1]
    model = daqp.Model()
    lower, upper = np.concatenate([u_low, low]), np.concatenate([u_high, high])
    model.setup(H, np.zeros(len(H)), G, upper, lower, np.zeros(len(lower), dtype=np.int32))
    k = len(u_low)

    def step(x: np.ndarray) -> np.ndarray:
        shift = S @ x
        lower[k:], upper[k:] = low - shift, high - shift
        model.update(f=F @ x, bupper=upper, blower=lower)
        return model.solve()[0][:m]

    return step
