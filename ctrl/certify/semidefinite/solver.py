"""Solves semidefinite programs with Clarabel and handles its failures."""

from __future__ import annotations

import warnings
from typing import Any

__all__ = ["solve"]


def solve(objective: Any, constraints: list[Any], accuracy: float = 1e-8) -> str:
    """The status of a CVXPY problem whose variables then hold the solution, "failed" where the solver gave up.

    An inaccurate solution is returned as it is; whether it is good enough is left to the proof.

    Args:
        accuracy: the solver's tolerance of gap and feasibility.
    """
    import cvxpy as cp  # slow to import and only needed here

    problem = cp.Problem(objective, constraints)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problem.solve(solver=cp.CLARABEL, tol_gap_abs=accuracy, tol_gap_rel=accuracy, tol_feas=accuracy)
    except cp.error.SolverError:
        return "failed"
    except BaseException as error:  # an eigenvalue that the solver cannot find ends it with a panic of its own
        if type(error).__name__ != "PanicException":
            raise
        return "failed"
    return str(problem.status)
