"""ipopt: the general interior-point solver (Wächter & Biegler, 2006), as fallback and reference."""

from __future__ import annotations

import math
from typing import Any

import casadi as ca

from ctrl.controller import Status
from mpc.solvers.nlp import NLPSolver, NonlinearProgram

__all__ = ["Ipopt", "status_of"]

_STATUS = {
    "Solve_Succeeded": Status.SOLVED,
    "Solved_To_Acceptable_Level": Status.SOLVED,
    "Infeasible_Problem_Detected": Status.INFEASIBLE,
    "Maximum_Iterations_Exceeded": Status.MAX_ITERATIONS,
    "Maximum_CpuTime_Exceeded": Status.TIMEOUT,
    "Maximum_WallTime_Exceeded": Status.TIMEOUT,
    "Diverging_Iterates": Status.UNBOUNDED,
}


def status_of(answer: str) -> Status:
    """The status for ipopt's ``return_status``."""
    return _STATUS.get(answer, Status.NUMERICAL)


class Ipopt(NLPSolver):
    """With the linear solver MUMPS, the one that comes with CasADi.

    It checks the clock once per iteration. Bounds are not relaxed, so exactly the posed problem is solved. The barrier
    parameter is adapted, since most guesses are shifted solutions (Nocedal, Wächter & Waltz, 2009).
    """

    def __init__(self, problem: NonlinearProgram, max_iterations: int = 500, time_limit: float = math.inf) -> None:
        super().__init__(problem, max_iterations, time_limit)

    def _build(self, problem: dict[str, ca.SX]) -> ca.Function:
        options: dict[str, Any] = {
            "expand": True,
            "error_on_fail": False,
            "print_time": False,
            "show_eval_warnings": False,
            "calc_lam_p": False,  # not used, and CasADi prints a warning where it fails
            "ipopt": {
                "print_level": 0, "sb": "yes", "max_iter": self.max_iterations, "tol": 1e-8,
                "bound_relax_factor": 0.0, "mu_strategy": "adaptive",
                **({"max_wall_time": self.time_limit} if math.isfinite(self.time_limit) else {}),
            },
        }  # fmt: skip
        return ca.nlpsol("ipopt", "ipopt", problem, options)

    def _status(self, stats: dict[str, Any]) -> Status:
        return status_of(stats["return_status"])
