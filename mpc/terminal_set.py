"""A terminal set that cannot be reached, told apart from constraints that cannot be kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ctrl.controller import Status
from mpc.solvers.qp import QPSolver, QuadraticProgram, Solution

__all__ = ["WithoutTerminalSet"]


class WithoutTerminalSet:
    """The same quadratic program without the rows of its terminal set, for states from which none of it can be reached.

    Its plans keep the constraints over the horizon and pay the terminal cost, but what comes after the horizon is not
    promised any more.

    Args:
        make: the back-end. problem: with the set. others: mask (rows,), the rows that do not belong to the set.
    """

    def __init__(
        self, make: Callable[[QuadraticProgram], QPSolver], problem: QuadraticProgram, others: np.ndarray
    ) -> None:
        self._others = others
        self._solver = make(
            QuadraticProgram(
                problem.H, problem.A[others], problem.price[others], problem.lower[others], problem.upper[others]
            )
        )

    def reset(self) -> None:
        """Forgets the warm start."""
        self._solver.reset()

    def solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Solution:
        """The solution, for data (d,), (rows,), (rows,) of the problem with the set, which was infeasible.

        Its status is ``TERMINAL_SET_UNREACHABLE`` where it can be used, and ``INFEASIBLE`` otherwise.
        """
        found = self._solver.solve(f, lower[self._others], upper[self._others])
        status = Status.TERMINAL_SET_UNREACHABLE if found.is_usable else Status.INFEASIBLE
        return dataclasses.replace(found, status=status)
