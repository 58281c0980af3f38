"""fatrop: interior-point solver for the stages of optimal control (Vanroye, Sathya, De Schutter & Decré, 2023)."""

from __future__ import annotations

from typing import Any

import casadi as ca

from ctrl.controller import Status
from mpc.solvers.nlp import NLPSolver, NonlinearProgram

__all__ = ["Fatrop"]


class Fatrop(NLPSolver):
    """Needs stage order: variables [x0 u0 x1 ...], rows [gap 0, path 0, gap 1, ...] with gap k = x_{k+1} - F(x_k, u_k)."""

    def __init__(self, problem: NonlinearProgram, max_iterations: int = 200) -> None:
        super().__init__(problem, max_iterations)

    def _build(self, problem: dict[str, ca.SX]) -> ca.Function:
        options: dict[str, Any] = {
            "structure_detection": "auto",
            "equality": (self.problem.g_lower == self.problem.g_upper).tolist(),
            "expand": True,
            "error_on_fail": False,
            "print_time": False,
            # A small first barrier parameter: most guesses are shifted solutions, which are nearly optimal.
            "fatrop": {"print_level": 0, "max_iter": self.max_iterations, "tol": 1e-8, "mu_init": 1e-2},
        }
        return ca.nlpsol("fatrop", "fatrop", problem, options)

    def _status(self, stats: dict[str, Any]) -> Status:
        if stats["success"]:
            return Status.SOLVED
        if stats["iter_count"] >= self.max_iterations:
            return Status.MAX_ITERATIONS
        return Status.NUMERICAL
