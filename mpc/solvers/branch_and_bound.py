"""Branch and bound for quadratic programs with integer variables."""

from __future__ import annotations

import math
from time import perf_counter
from typing import NamedTuple, final

import numpy as np

from ctrl.controller import Status
from mpc.solvers.qp import QPSolver, Solution

__all__ = ["BranchAndBound"]

WHOLE = 1e-6  # distance from a whole number that counts as none


class _Node(NamedTuple):
    """A node of the search: bounds (integers,) of the integer variables, and a lower bound of its optimum."""

    least: np.ndarray
    most: np.ndarray
    bound: float


@final
class BranchAndBound:
    """A quadratic program with integer variables (Land & Doig, 1960), whose relaxations another back-end solves.

    The search is depth-first, towards the nearest integer, so that a plan is available early, and prunes nodes that
    cannot improve on it. Relaxations of a child differ from their parent's in two bounds only, so an active-set method
    can continue from there.

    Args:
        solver: of the relaxations, in which each whole number v has a hard row: scale v + shift within its bounds.
        rows: (integers,), these rows.
        scale: (integers,).
        least, most: (integers,), bounds of the whole numbers.
        max_nodes: relaxations solved at most.
        time_limit: seconds.

    Attributes:
        gap: of the last solution: its cost minus the lower bound of the search; 0 if it is optimal.
        nodes: relaxations of the last solve.
    """

    def __init__(
        self,
        solver: QPSolver,
        rows: np.ndarray,
        scale: np.ndarray,
        least: np.ndarray,
        most: np.ndarray,
        max_nodes: int = 10_000,
        time_limit: float = math.inf,
    ) -> None:
        self.solver, self.problem = solver, solver.problem
        self._rows, self._scale, self._max, self._limit = rows, scale, max_nodes, time_limit
        self._first = least, most
        self._least, self._most = np.ceil(least - WHOLE), np.floor(most + WHOLE)
        self._matrix = solver.problem.A.tocsr()[rows]
        self.gap, self.nodes = 0.0, 0

    def prepare(self) -> None:
        """See :meth:`QPSolver.prepare`."""
        self.solver.prepare()

    def reset(self) -> None:
        """Discards the last solve."""
        self.solver.reset()

    def solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Solution:
        """The best point with integer variables; see :meth:`QPSolver.solve`."""
        began, iterations = perf_counter(), 0
        low, high = lower.copy(), upper.copy()
        shift = lower[self._rows] - self._scale * self._first[0]
        best: Solution | None = None
        unknown = math.inf
        cost, stopped = math.inf, Status.SOLVED
        nodes = [_Node(self._least, self._most, -math.inf)]
        self.nodes = 0
        while nodes:
            node = nodes.pop()
            if node.bound >= cost - 1e-9 * (1.0 + abs(cost)):
                continue
            if self.nodes >= self._max or perf_counter() - began > self._limit:
                stopped = Status.MAX_ITERATIONS if self.nodes >= self._max else Status.TIMEOUT
                nodes.append(node)
                break
            low[self._rows], high[self._rows] = (self._scale * ends + shift for ends in (node.least, node.most))
            solution = self.solver.solve(f, low, high)
            self.nodes += 1
            iterations += solution.iterations
            if not solution.is_usable:
                if solution.status is not Status.INFEASIBLE:
                    unknown = min(unknown, node.bound)  # what lies in it may be better than all that is found
                continue
            value = self._cost(solution.point, f, lower, upper)
            if value >= cost - 1e-9 * (1.0 + abs(cost)):
                continue
            whole = (self._matrix @ solution.point - shift) / self._scale
            away = np.abs(whole - np.round(whole))
            away[node.least == node.most] = 0.0
            if away.max(initial=0.0) <= WHOLE:
                best, cost = solution, value
                continue
            i = int(np.argmax(away))
            below, above = math.floor(whole[i]), math.ceil(whole[i])
            down = _Node(node.least, _with(node.most, i, below), value)
            up = _Node(_with(node.least, i, above), node.most, value)
            nodes += [up, down] if whole[i] - below <= 0.5 else [down, up]  # the last one is looked at next
        if best is None:
            if stopped is Status.SOLVED:
                stopped = Status.INFEASIBLE if unknown == math.inf else Status.NUMERICAL
            no_solution = np.full(len(f), np.nan), np.full(len(lower), np.nan)
            self.gap = math.inf
            return Solution(stopped, *no_solution, iterations, math.inf)
        self.gap = max(0.0, cost - min(unknown, *(node.bound for node in nodes), cost))
        if unknown < cost and stopped is Status.SOLVED:
            stopped = Status.NUMERICAL  # a part of the search is unknown
        status = best.status if stopped is Status.SOLVED else stopped
        return Solution(status, best.point, best.multipliers, iterations, best.residual)

    def _cost(self, z: np.ndarray, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> float:
        problem = self.problem
        total = 0.5 * z @ (problem.H @ z) + f @ z
        soft = problem.soft
        if soft.any():
            value = problem.A[soft] @ z
            outside = np.maximum(np.maximum(lower[soft] - value, value - upper[soft]), 0.0)
            total += problem.weight[soft] @ outside
        return float(total)


def _with(values: np.ndarray, i: int, value: float) -> np.ndarray:
    changed = values.copy()
    changed[i] = value
    return changed
