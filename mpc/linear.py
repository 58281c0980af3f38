"""Linear model predictive control: one quadratic program per sample."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np

from mpc.condensing import condensed, linear_optimal_control, sparse
from mpc.predictive import PredictiveController
from mpc.recourse import Outcome, Plan
from mpc.solvers.base import QPSolver
from mpc.solvers.daqp import DAQP
from mpc.solvers.piqp import PIQP
from systems import Task
from systems.arguments import expect_choice

__all__ = ["LinearMPC"]

Solver = Literal["daqp", "piqp"]
Terminal = Literal["set", "cost"]


class LinearMPC(PredictiveController):
    """Minimises the task's cost, to second order, on its linearisation at the first reference, under its constraints.

    The last state costs what the unconstrained regulator would still pay, and has to lie where that regulator never
    violates a hard constraint (Mayne, Rawlings, Rao & Scokaert, 2000), so the undisturbed linear loop stays feasible
    and stable. Soft constraints are charged weight times violation; they do not shrink the terminal set. Where
    disturbances may carry the state out of its constraints, make them soft: a state from which hard ones cannot be met
    has no solution, and the last good plan is followed instead, see :class:`mpc.recourse.Recourse`.

    Args:
        task: gives plant, cost, constraints, bounds, reference. The model of a nonlinear plant is exact on a moving
            reference and has the slopes of its first sample.
        horizon: samples looked ahead. The infinite rest is in the terminal cost, so it only has to be long enough for
            the inputs to bring the start into the terminal set.
        terminal: ``set`` (and cost), ``cost`` alone, or None for the set where there is one.
        solver: ``daqp`` (condensed; its step grows with the square of the horizon and with the number of active
            constraints) or ``piqp`` (sparse; linearly with the horizon); where left out, by size, see ``CONDENSED``.
        max_iterations: of the solver in one step; its own default where left out.

    Raises:
        NotApplicable: the task has no regulator, a constraint that is not affine, or no terminal set when asked for.
        InvalidValue: a horizon below 1, an unknown solver or terminal.
    """

    # Up to so many variables, violations of soft rows included, the condensed form was the faster one in closed loops
    # of oscillating masses (12 states, 3 inputs, horizons 10 to 300): in the median 10 times up to 300, twice at 600,
    # slower at 900; but in the slowest samples, when many rows become active at once, no faster from 450 on.
    CONDENSED = 450

    def __init__(
        self,
        task: Task,
        horizon: int = 30,
        terminal: Terminal | None = None,
        solver: Solver | None = None,
        max_iterations: int | None = None,
    ) -> None:
        expect_choice(terminal, "terminal", ("set", "cost", None))
        expect_choice(solver, "solver", ("daqp", "piqp", None))
        super().__init__(task, horizon, max_iterations)
        self._arguments = (task, horizon, terminal, solver, max_iterations)
        self.problem = linear_optimal_control(task, horizon, {"set": True, "cost": False, None: None}[terminal])
        size = self.problem.input_at.size + int(np.isfinite(self.problem.price).sum())
        name = solver or ("daqp" if size <= self.CONDENSED else "piqp")
        self.form = condensed(self.problem) if name == "daqp" else sparse(self.problem)
        kind: type[DAQP] | type[PIQP] = DAQP if name == "daqp" else PIQP
        limit = () if max_iterations is None else (max_iterations,)
        self.solver: QPSolver = kind(self.form.problem, *limit)
        self._along = task.dynamics.function().map(horizon)
        self._of_state = np.vstack([self.form.f_state, self.form.shift_state])
        first = self.problem.input_at[0]
        rows = self.form.expand[first]
        self._first = rows if isinstance(rows, np.ndarray) else rows.toarray(), self.form.expand_state[first]
        self._now = first
        self._is_constant = task.reference.is_constant
        self._data = self._course_data(0)

    @property
    def terminal(self) -> str:
        """The terminal cost and set that were chosen, in words."""
        return self.problem.terminal

    def reset(self) -> None:
        """Forgets the last plan and the solver's working set."""
        super().reset()
        self.solver.reset()

    @property
    def offset(self) -> np.ndarray:
        """What of s = [x0 u0 ... xN] neither variables nor x0 bring about, for the last references seen."""
        return self._data[3]

    def data(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """f, lower and upper of the program at the state (n,), for the last references seen."""
        f, lower, upper, _ = self._data
        moved, d = self._of_state @ x, len(f)
        shift = moved[d:]
        return f + moved[:d], lower + shift, upper + shift

    def _solve(self, x: np.ndarray, k: int) -> Outcome:
        if not self._is_constant:
            self._data = self._course_data(k)
        found, offset = self.solver.solve(*self.data(x)), self.offset
        if not found.is_usable:
            return Outcome(found.status, None, found.iterations, found.residual)
        of_point, of_state = self._first
        u = of_point @ found.point + of_state @ x + offset[self._now]
        plan = partial(self._unrolled, found.point, x.copy(), offset, k)
        return Outcome(found.status, plan, found.iterations, found.residual, u)

    def _unrolled(self, point: np.ndarray, x: np.ndarray, offset: np.ndarray, k: int) -> Plan:
        s = self.form.expand @ point + self.form.expand_state @ x + offset
        return Plan(s[self.problem.state_at], s[self.problem.input_at], k)

    def _course_data(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """f, lower, upper and the offset of s for the references of samples k .. k + horizon, at x = 0."""
        plant = self.problem.model.plant
        x_ref, u_ref = self.task.reference.at(self.task.plant, np.arange(k, k + self.horizon + 1))
        r = np.empty(self.problem.P.shape[0])
        r[self.problem.state_at], r[self.problem.input_at] = x_ref, u_ref[:-1]
        ahead = np.array(self._along(x_ref[:-1].T, u_ref[:-1].T, 0, [])).T
        drift = ahead - x_ref[:-1] @ plant.A.T - u_ref[:-1] @ plant.B.T
        return self.form.along(np.concatenate([r, drift.ravel()]))
