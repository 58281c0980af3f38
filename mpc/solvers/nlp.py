"""Nonlinear programs through CasADi: one problem class and one checked solve; back-ends define only options and
codes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from ctrl.controller import Status
from mpc.solvers.qp import Solution

__all__ = ["Bounds", "NLPSolver", "NonlinearProgram"]


@dataclass(frozen=True, eq=False)
class NonlinearProgram:
    """min f(z; p) subject to lower <= z <= upper and g_lower <= g(z; p) <= g_upper.

    Args:
        z (d, 1), g (rows, 1), p: CasADi SX columns.
        f: SX scalar.
        lower, upper: (d,).
        g_lower, g_upper: (rows,); equal bounds are an equality.
    """

    z: ca.SX
    f: ca.SX
    g: ca.SX
    p: ca.SX
    lower: np.ndarray
    upper: np.ndarray
    g_lower: np.ndarray
    g_upper: np.ndarray


Bounds = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Lower and upper bounds of the variables, lower and upper bounds of the rows."""


def _named(bounds: Bounds) -> dict[str, ca.DM]:
    return dict(zip(("lbx", "ubx", "lbg", "ubg"), map(ca.DM, bounds), strict=True))


class NLPSolver(ABC):
    """One nonlinear program, solved repeatedly for different parameters. ``Solution.multipliers`` are those of g.

    Args:
        problem: what is solved.
        max_iterations: of one solve.
        time_limit: seconds of one solve, infinite for none; a solver checks the clock once per iteration.
    """

    TOLERANCE = 1e-5  # largest residual of a point that counts as solved

    def __init__(self, problem: NonlinearProgram, max_iterations: int, time_limit: float = math.inf) -> None:
        self.problem = problem
        self.max_iterations, self.time_limit = max_iterations, time_limit
        z, p, multipliers = problem.z, problem.p, ca.SX.sym("multipliers", problem.g.shape[0])
        gradient = ca.gradient(problem.f + ca.dot(multipliers, problem.g), z)
        self._check = ca.Function("check", [z, p, multipliers], [gradient, problem.g])
        self._solver = self._build({"x": z, "f": problem.f, "g": problem.g, "p": p})
        self._arrays: Bounds = (problem.lower, problem.upper, problem.g_lower, problem.g_upper)
        self._bounds = _named(self._arrays)  # as CasADi matrices, converted once

    @abstractmethod
    def _build(self, problem: dict[str, ca.SX]) -> ca.Function:
        """The CasADi solver."""

    @abstractmethod
    def _status(self, stats: dict[str, Any]) -> Status:
        """How the solver says it ended."""

    def solve(self, guess: np.ndarray, p: np.ndarray, bounds: Bounds | None = None) -> Solution:
        """Solves for the parameters ``p`` from a primal guess (d,); never raises because of numbers.

        Args:
            bounds: of variables and rows, those of the problem by default.
        """
        arrays = self._arrays if bounds is None else bounds
        d, rows = len(self.problem.lower), len(self.problem.g_lower)
        no_solution = np.full(d, np.nan), np.full(rows, np.nan)
        if not (np.isfinite(guess).all() and np.isfinite(p).all()):
            return Solution(Status.NUMERICAL, *no_solution, 0, np.inf)
        try:
            result = self._solver(x0=guess, p=p, **(self._bounds if arrays is self._arrays else _named(arrays)))
            stats = self._solver.stats()
        except RuntimeError:  # CasADi's way to say that a function could not be evaluated
            return Solution(Status.NUMERICAL, *no_solution, 0, np.inf)
        z, of_bounds, multipliers = (np.array(result[key])[:, 0] for key in ("x", "lam_x", "lam_g"))
        status = self._status(stats)
        residual = self.residual(z, of_bounds, multipliers, p, arrays)
        if status is Status.SOLVED and not residual <= self.TOLERANCE:
            status = Status.NUMERICAL
        elif status in (Status.MAX_ITERATIONS, Status.NUMERICAL, Status.TIMEOUT) and residual <= self.TOLERANCE:
            status = Status.SOLVED  # these conditions are what solving means, whatever else the solver asked for
        return Solution(status, z, multipliers, int(stats["iter_count"]), residual)

    @np.errstate(over="ignore", invalid="ignore")
    def residual(
        self, z: np.ndarray, bounds: np.ndarray, multipliers: np.ndarray, p: np.ndarray, arrays: Bounds
    ) -> float:
        """Largest violation of stationarity, feasibility and complementarity; infinite where not finite.

        The optimality error of Wächter & Biegler (2006), eq. (5): stationarity and the products of multipliers and
        distances are scaled by the mean size of the multipliers above 100. Interior points drive just these products to
        zero, so it tells a converged point from another more sharply than the natural residual would.
        """
        if not all(np.isfinite(v).all() for v in (z, bounds, multipliers)):
            return np.inf
        gradient, g = (np.array(value)[:, 0] for value in self._check(z, p, multipliers))
        lowest, highest, g_lowest, g_highest = arrays
        size = (np.abs(bounds).sum() + np.abs(multipliers).sum()) / max(1, len(bounds) + len(multipliers))
        scale = max(1.0, size / 100.0)
        worst = float(np.abs(gradient + bounds).max(initial=0.0)) / scale
        for value, multiplier, lower, upper in (
            (z, bounds, lowest, highest),
            (g, multipliers, g_lowest, g_highest),
        ):
            outside = np.maximum(np.maximum(lower - value, value - upper), 0.0) / (1.0 + np.abs(value))
            bound = np.where(multiplier > 0, upper, lower)
            # The multiplier of a bound that does not exist is an error of its full size.
            distance = np.where(np.isfinite(bound), np.abs(value - bound), 1.0)
            worst = max(
                worst, float(outside.max(initial=0.0)), float((np.abs(multiplier) * distance).max(initial=0.0)) / scale
            )
        return worst if np.isfinite(worst) else np.inf
