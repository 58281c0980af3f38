"""Nonlinear programs through CasADi: one problem class, one checked solve; back-ends only name options and codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from ctrl.controller import Status
from mpc.solvers.base import Solution, natural_residual

__all__ = ["NLPSolver", "NonlinearProgram"]


@dataclass(frozen=True, eq=False)
class NonlinearProgram:
    """min f(z; p) subject to lower <= z <= upper and g_lower <= g(z; p) <= g_upper.

    Args:
        z (d, 1), g (rows, 1), p: CasADi SX columns. f: SX scalar.
        lower, upper: (d,). g_lower, g_upper: (rows,); equal bounds are an equality.
    """

    z: ca.SX
    f: ca.SX
    g: ca.SX
    p: ca.SX
    lower: np.ndarray
    upper: np.ndarray
    g_lower: np.ndarray
    g_upper: np.ndarray


class NLPSolver(ABC):
    """One nonlinear program, solved again and again for other parameters. ``Solution.multipliers`` are those of g.

    Args:
        problem: what is solved.
        max_iterations: of one solve.
    """

    TOLERANCE = 1e-5  # largest residual of a point that counts as solved

    def __init__(self, problem: NonlinearProgram, max_iterations: int) -> None:
        self.problem = problem
        self.max_iterations = max_iterations
        z, p, multipliers = problem.z, problem.p, ca.SX.sym("multipliers", problem.g.shape[0])
        gradient = ca.gradient(problem.f + ca.dot(multipliers, problem.g), z)
        self._check = ca.Function("check", [z, p, multipliers], [gradient, problem.g])
        self._solver = self._build({"x": z, "f": problem.f, "g": problem.g, "p": p})
        # Bounds as CasADi matrices, converted once.
        bounds = (problem.lower, problem.upper, problem.g_lower, problem.g_upper)
        self._bounds = dict(zip(("lbx", "ubx", "lbg", "ubg"), map(ca.DM, bounds), strict=True))

    @abstractmethod
    def _build(self, problem: dict[str, ca.SX]) -> ca.Function:
        """The CasADi solver."""

    @abstractmethod
    def _status(self, stats: dict[str, Any]) -> Status:
        """How the solver says it ended."""

    def solve(self, guess: np.ndarray, p: np.ndarray) -> Solution:
        """Solves for the parameters ``p`` from a primal guess (d,); never raises because of numbers."""
        d, rows = len(self.problem.lower), len(self.problem.g_lower)
        nothing = np.full(d, np.nan), np.full(rows, np.nan)
        if not (np.isfinite(guess).all() and np.isfinite(p).all()):
            return Solution(Status.NUMERICAL, *nothing, 0, np.inf)
        try:
            found = self._solver(x0=guess, p=p, **self._bounds)
            stats = self._solver.stats()
        except RuntimeError:  # CasADi's way to say that a function could not be evaluated
            return Solution(Status.NUMERICAL, *nothing, 0, np.inf)
        z, bounds, multipliers = (np.array(found[key])[:, 0] for key in ("x", "lam_x", "lam_g"))
        status = self._status(stats)
        residual = self.residual(z, bounds, multipliers, p)
        if status is Status.SOLVED and not residual <= self.TOLERANCE:
            status = Status.NUMERICAL
        return Solution(status, z, multipliers, int(stats["iter_count"]), residual)

    def residual(self, z: np.ndarray, bounds: np.ndarray, multipliers: np.ndarray, p: np.ndarray) -> float:
        """Largest violation of stationarity, feasibility and complementarity; infinite where not finite.

        Stationarity is scaled by the mean size of the multipliers above 100, as in Wächter & Biegler (2006), eq. (5).
        """
        if not all(np.isfinite(v).all() for v in (z, bounds, multipliers)):
            return np.inf
        gradient, g = (np.array(value)[:, 0] for value in self._check(z, p, multipliers))
        problem = self.problem
        size = (np.abs(bounds).sum() + np.abs(multipliers).sum()) / max(1, len(bounds) + len(multipliers))
        stationarity = float(np.abs(gradient + bounds).max(initial=0.0)) / max(1.0, size / 100.0)
        worst = max(
            stationarity,
            natural_residual(z, bounds, problem.lower, problem.upper),
            natural_residual(g, multipliers, problem.g_lower, problem.g_upper),
        )
        return worst if np.isfinite(worst) else np.inf
