"""The problem of :mod:`benchmarks.linear_peers` through modelling layers: CasADi's plug-ins, CVXPY, do-mpc."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import casadi as ca
import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from benchmarks.linear_peers import TOLERANCE, Problem, Step


def casadi_conic(plugin: str, options: dict[str, Any], is_condensed: bool = True) -> Callable[[Problem], Step]:
    """A CasADi conic plug-in inside a function of the measured state, so that nothing but it crosses from Python."""

    def make(p: Problem) -> Step:
        x = ca.MX.sym("x", len(p.A))
        found, at = (_condensed if is_condensed else _staged)(p, plugin, options, x)
        # HPIPM's plug-in writes to every output, wanted or not, so all are wanted.
        outputs = [found["x"][at : at + p.B.shape[1]], found["cost"], found["lam_a"], found["lam_x"]]
        control = ca.Function("control", [x], outputs)
        return lambda state: np.array(control(state)[0])[:, 0]

    return make


def _condensed(p: Problem, plugin: str, options: dict[str, Any], x: ca.MX) -> tuple[dict[str, ca.MX], int]:
    H, F, G, S = p.condensed
    solver = ca.conic("qp", plugin, {"h": ca.DM(H).sparsity(), "a": ca.Sparsity.dense(*G.shape)}, options)
    (low, high), (u_low, u_high), shift = p.state_bounds, p.input_bounds, ca.DM(S) @ x
    found = solver(
        h=H, g=ca.DM(F) @ x, a=ca.densify(ca.DM(G)), lba=low - shift, uba=high - shift, lbx=u_low, ubx=u_high
    )
    return found, 0


def _staged(p: Problem, plugin: str, options: dict[str, Any], x: ca.MX) -> tuple[dict[str, ca.MX], int]:
    """[x_0 u_0 x_1 u_1 ... x_N], as HPIPM wants its stages; x_0 is fixed by its bounds."""
    n, m = p.B.shape
    d = p.N * (n + m)
    stages = [block for _ in range(p.N) for block in (p.Q, p.R)]
    H = ca.DM(2.0 * sp.block_diag([*stages, p.P], format="csc"))
    ahead = sp.kron(sp.eye(p.N), np.hstack([p.A, p.B])).toarray()
    a = np.hstack([ahead, np.zeros((p.N * n, n))])
    pattern = np.hstack([np.kron(np.eye(p.N), np.ones((n, n + m))), np.zeros((p.N * n, n))])
    for k in range(p.N):
        at = (k + 1) * (n + m) + np.arange(n)
        a[k * n + np.arange(n), at] = pattern[k * n + np.arange(n), at] = -1.0
    shape = ca.sparsify(ca.DM(pattern)).sparsity()
    matrix = ca.project(ca.DM(a), shape)
    structure = {"N": p.N, "nx": [n] * (p.N + 1), "nu": [m] * p.N + [0], "ng": [0] * (p.N + 1)}
    solver = ca.conic("qp", plugin, {"h": H.sparsity(), "a": shape}, structure | options)
    low, high = p.bounds
    zero = np.zeros(p.N * n)
    found = solver(
        h=H, g=np.zeros(d + n), a=matrix, lba=zero, uba=zero, lbx=ca.vertcat(x, low), ubx=ca.vertcat(x, high)
    )  # fmt: skip
    return found, n


def cvxpy_dpp(solver: str, **options: Any) -> Callable[[Problem], Step]:
    """A problem that is compiled once, its parameter being the measured state."""

    def make(p: Problem) -> Step:
        n, m = p.B.shape
        x, u, x0 = cp.Variable((p.N + 1, n)), cp.Variable((p.N, m)), cp.Parameter(n)
        root = np.linalg.cholesky(p.P).T
        cost = cp.sum_squares(x[:-1] @ np.linalg.cholesky(p.Q)) + cp.sum_squares(u @ np.linalg.cholesky(p.R))
        rows = [x[0] == x0, x[1:] == x[:-1] @ p.A.T + u @ p.B.T]
        rows += [x[1:] >= p.x_lower[None], x[1:] <= p.x_upper[None], u >= p.u_lower[None], u <= p.u_upper[None]]
        problem = cp.Problem(cp.Minimize(cost + cp.sum_squares(root @ x[p.N])), rows)
        assert problem.is_dpp()

        def step(state: np.ndarray) -> np.ndarray:
            x0.value = state
            problem.solve(solver=solver, **options)
            return u.value[0]

        return step

    return make


def do_mpc_controller(options: dict[str, Any]) -> Callable[[Problem], Step]:
    """Its documented way for a linear discrete-time plant; warm-started by itself, nothing printed or stored."""

    def make(p: Problem) -> Step:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its optional parts that are not installed
            import do_mpc
        n, m = p.B.shape
        model = do_mpc.model.Model("discrete")
        x, u = model.set_variable("_x", "x", (n, 1)), model.set_variable("_u", "u", (m, 1))
        model.set_rhs("x", p.A @ x + p.B @ u)
        model.setup()
        mpc = do_mpc.controller.MPC(model)
        mpc.settings.n_horizon, mpc.settings.t_step, mpc.settings.store_full_solution = p.N, 1.0, False
        mpc.settings.supress_ipopt_output()
        mpc.settings.nlpsol_opts |= {"ipopt.linear_solver": "mumps", "ipopt.tol": TOLERANCE, **options}
        mpc.set_objective(lterm=x.T @ p.Q @ x + u.T @ p.R @ u, mterm=x.T @ p.P @ x)
        mpc.set_rterm(u=0.0)
        mpc.bounds["lower", "_x", "x"], mpc.bounds["upper", "_x", "x"] = p.x_lower, p.x_upper
        mpc.bounds["lower", "_u", "u"], mpc.bounds["upper", "_u", "u"] = p.u_lower, p.u_upper
        mpc.setup()
        mpc.x0 = np.zeros((n, 1))
        mpc.set_initial_guess()
        return lambda state: mpc.make_step(state[:, None])[:, 0]

    return make
