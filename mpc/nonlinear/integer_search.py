"""Nonlinear programs with integer variables: relaxation, rounding, and local search."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from time import perf_counter
from typing import final

import casadi as ca
import numpy as np

from ctrl.controller import Status
from mpc.solvers.nlp import Bounds, NLPSolver, NonlinearProgram
from mpc.solvers.qp import Solution

__all__ = ["IntegerSearch"]


@final
class IntegerSearch:
    """A nonlinear program some of whose variables must be integers.

    The relaxation is solved first, its integer variables are rounded, and the rest is solved again with these fixed.
    Then single integers are changed by one, the earliest first, as long as that reduces the cost.

    Args:
        program: the relaxation.
        whole: indices of the integer variables.
        make: constructs a solver for such a program, whose constraint rows may be fixed.
        max_solves: largest number of programs solved in one search.
        time_limit: seconds of one search.
        size: of the cost, by which the program's objective is divided.

    Attributes:
        gap: cost of the last solution minus that of its relaxation; if the program is convex, no other integers can
            reduce the cost by more.
    """

    def __init__(
        self,
        program: NonlinearProgram,
        whole: np.ndarray,
        make: Callable[[NonlinearProgram], NLPSolver],
        max_solves: int,
        time_limit: float,
        size: float = 1.0,
    ) -> None:
        free = np.full(len(whole), np.inf)
        # Rows for the whole numbers, since solvers give no multipliers of variables with equal bounds.
        rows = ca.vertcat(*[program.z[int(i)] for i in whole])
        extended = dataclasses.replace(
            program,
            g=ca.vertcat(program.g, rows),
            g_lower=np.concatenate([program.g_lower, -free]),
            g_upper=np.concatenate([program.g_upper, free]),
        )
        self._solver, self._whole, self._most, self._limit = make(extended), whole, max_solves, time_limit
        self._size = size
        self._cost = ca.Function("cost", [program.z, program.p], [program.f])
        self.gap, self.solves = math.nan, 0

    def solve(self, guess: np.ndarray, p: np.ndarray, bounds: Bounds) -> Solution:
        """The best point, SOLVED unless the search was stopped; see :meth:`mpc.solvers.nlp.NLPSolver.solve`."""
        began, self.solves, self.gap = perf_counter(), 0, math.nan
        lowest, highest = (np.array([ceil(bounds[side][i]) for i in self._whole]) for side, ceil in _ENDS)
        free = np.full(len(self._whole), np.inf)
        relaxed = self._solved(guess, p, bounds, -free, free)
        if not relaxed.is_usable:
            return relaxed
        bound = self._value(relaxed, p)
        numbers = np.clip(np.round(relaxed.point[self._whole]), lowest, highest)
        best = self._solved(relaxed.point, p, bounds, numbers, numbers)
        cost, iterations = self._value(best, p), relaxed.iterations + best.iterations
        is_improving, is_stopped = True, False
        while is_improving and not is_stopped:
            is_improving = False
            for i, step in ((i, step) for i in range(len(numbers)) for step in (1.0, -1.0)):
                if self.solves >= self._most or perf_counter() - began > self._limit:
                    is_stopped = True
                    break
                other = numbers.copy()
                other[i] = np.clip(other[i] + step, lowest[i], highest[i])
                if other[i] == numbers[i]:
                    continue
                start = best.point if best.is_usable else relaxed.point
                candidate = self._solved(start, p, bounds, other, other)
                iterations += candidate.iterations
                value = self._value(candidate, p)
                if value < cost - 1e-7 * (1.0 + abs(cost)):
                    best, cost, numbers, is_improving = candidate, value, other, True
        self.gap = self._size * (cost - bound)
        status = best.status
        if best.is_usable and is_stopped:
            status = Status.MAX_ITERATIONS if self.solves >= self._most else Status.TIMEOUT
        return Solution(status, best.point, best.multipliers, iterations, best.residual)

    def _solved(self, guess: np.ndarray, p: np.ndarray, bounds: Bounds, low: np.ndarray, high: np.ndarray) -> Solution:
        self.solves += 1
        lower, upper, g_lower, g_upper = bounds
        rows = np.concatenate([g_lower, low]), np.concatenate([g_upper, high])
        return self._solver.solve(guess, p, (lower, upper, *rows))

    def _value(self, solution: Solution, p: np.ndarray) -> float:
        return float(self._cost(solution.point, p)) if solution.is_usable else math.inf


_ENDS = ((0, lambda bound: math.ceil(bound - 1e-9)), (1, lambda bound: math.floor(bound + 1e-9)))
