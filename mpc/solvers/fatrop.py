"""fatrop: interior-point solver for the stages of optimal control (Vanroye, Sathya, De Schutter & Decré, 2023)."""

from __future__ import annotations

from typing import Any

import casadi as ca

from ctrl.controller import Status
from mpc.solvers.nlp import NLPSolver, NonlinearProgram

__all__ = ["Fatrop"]


class Fatrop(NLPSolver):
    """A peer in benchmarks that no controller offers: its inertia correction has no limit, so overflowing numbers or a
    persistent rank deficiency keep it running forever. Neither its iteration limit nor a callback stops it, and it has
    no time limit.

    Needs variables in the order x0 u0 x1 ..., rows in the order gap 0, path 0, gap 1, ..., gap k = x_{k+1} - F.
    """

    PATIENCE = 50  # iterations; a warm start takes 5 to 15

    def __init__(self, problem: NonlinearProgram, max_iterations: int = 200) -> None:
        super().__init__(problem, min(max_iterations, self.PATIENCE))

    def _build(self, problem: dict[str, ca.SX]) -> ca.Function:
        options: dict[str, Any] = {
            "structure_detection": "auto",
            "equality": (self.problem.g_lower == self.problem.g_upper).tolist(),
            "expand": True,
            "error_on_fail": False,
            "print_time": False,
            "show_eval_warnings": False,
            "calc_lam_p": False,  # not used, and CasADi prints a warning where it fails
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
