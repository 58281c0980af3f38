"""Linear model predictive control: one quadratic program per sample."""

from __future__ import annotations

from time import perf_counter
from typing import Literal

import numpy as np

from ctrl.controller import Decision, Status
from mpc.condensing import condensed, linear_optimal_control, sparse
from mpc.recourse import Outcome, Plan, Recourse
from mpc.solvers.base import QPSolver
from mpc.solvers.daqp import DAQP
from mpc.solvers.piqp import PIQP
from systems import InvalidValue, Task

__all__ = ["LinearMPC"]

Solver = Literal["daqp", "piqp"]
Terminal = Literal["set", "cost"]


class LinearMPC:
    """Minimises the task's cost, to second order, on its linearisation at the first reference, under its constraints.

    The last state costs what the unconstrained regulator would still pay, and has to lie where that regulator never
    violates a hard constraint (Mayne, Rawlings, Rao & Scokaert, 2000), so the undisturbed linear loop stays feasible
    and stable. Soft constraints are charged weight times violation; they do not shrink the terminal set.

    Args:
        task: gives plant, cost, constraints, bounds, reference. The model of a nonlinear plant is exact on a moving
            reference and has the slopes of its first sample.
        horizon: samples looked ahead. The infinite rest is in the terminal cost, so it only has to be long enough for
            the inputs to bring the start into the terminal set.
        terminal: ``set`` (and cost), ``cost`` alone, or None for the set where there is one.
        solver: ``daqp`` (condensed) or ``piqp`` (sparse); where left out, by size.
        max_iterations: of the solver in one step; its own default where left out.

    Raises:
        NotApplicable: the task has no regulator, a constraint that is not affine, or no terminal set when asked for.
        InvalidValue: a horizon below 1, an unknown solver or terminal.
    """

    # Up to so many variables, violations of soft rows included, the condensed form was the faster one in closed loops
    # of oscillating masses (4 and 12 states, 1 and 3 inputs): 2 to 20 times up to 150, about equal from 250 to 450.
    CONDENSED = 250

    def __init__(
        self,
        task: Task,
        horizon: int = 30,
        terminal: Terminal | None = None,
        solver: Solver | None = None,
        max_iterations: int | None = None,
    ) -> None:
        if terminal not in (None, "set", "cost"):
            raise InvalidValue(f"terminal '{terminal}' is unknown; use 'set', 'cost', or leave it out")
        if solver not in (None, "daqp", "piqp"):
            raise InvalidValue(f"solver '{solver}' is unknown; use 'daqp', 'piqp', or leave it out")
        if max_iterations is not None and max_iterations < 1:
            raise InvalidValue(f"max_iterations = {max_iterations}; expected at least 1")
        self.task, self.horizon = task, horizon
        self.problem = linear_optimal_control(task, horizon, {"set": True, "cost": False, None: None}[terminal])
        size = self.problem.input_at.size + int(np.isfinite(self.problem.price).sum())
        name = solver or ("daqp" if size <= self.CONDENSED else "piqp")
        self.form = condensed(self.problem) if name == "daqp" else sparse(self.problem)
        kind: type[DAQP] | type[PIQP] = DAQP if name == "daqp" else PIQP
        limit = () if max_iterations is None else (max_iterations,)
        self.solver: QPSolver = kind(self.form.problem, *limit)
        self._recourse = Recourse(task)
        self._along = task.dynamics.function().map(horizon)
        self._data = self._course_data(0)

    @property
    def terminal(self) -> str:
        """The terminal cost and set that were chosen, in words."""
        return self.problem.terminal

    @property
    def plan(self) -> Plan | None:
        """The last good prediction, None before the first."""
        return self._recourse.plan

    def reset(self) -> None:
        """Forgets the last plan and the solver's working set."""
        self._recourse.reset()
        self.solver.reset()

    @np.errstate(over="ignore", invalid="ignore")  # numbers that overflow are found by the checks on the result
    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides at sample ``k`` in state ``x`` (n,); the input is finite and within bounds whatever happens.

        Raises:
            DimensionMismatch: ``x`` has another shape.
        """
        began = perf_counter()
        x = self._recourse.measured(x)
        outcome = self._solve(x, k) if np.isfinite(x).all() else Outcome(Status.NUMERICAL)
        return self._recourse.decide(x, k, outcome, began)

    @property
    def offset(self) -> np.ndarray:
        """What of s = [x0 u0 ... xN] neither variables nor x0 bring about, for the last references seen."""
        return self._data[3]

    def data(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """f, lower and upper of the program at the state (n,), for the last references seen."""
        f, lower, upper, _ = self._data
        shift = self.form.shift_state @ x
        return f + self.form.f_state @ x, lower + shift, upper + shift

    def _solve(self, x: np.ndarray, k: int) -> Outcome:
        form = self.form
        if not self.task.reference.is_constant:
            self._data = self._course_data(k)
        f, lower, upper, offset = self._data
        shift = form.shift_state @ x
        found = self.solver.solve(f + form.f_state @ x, lower + shift, upper + shift)
        plan = None
        if found.is_usable:
            s = form.expand @ found.point + form.expand_state @ x + offset
            plan = Plan(s[self.problem.state_at], s[self.problem.input_at], k)
        return Outcome(found.status, plan, found.iterations, found.residual)

    def _course_data(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """f, lower, upper and the offset of s for the references of samples k .. k + horizon, at x = 0."""
        form, plant = self.form, self.problem.model.plant
        x_ref, u_ref = self.task.reference.at(self.task.plant, np.arange(k, k + self.horizon + 1))
        r = np.empty(self.problem.P.shape[0])
        r[self.problem.state_at], r[self.problem.input_at] = x_ref, u_ref[:-1]
        ahead = np.array(self._along(x_ref[:-1].T, u_ref[:-1].T, 0, [])).T
        drift = ahead - x_ref[:-1] @ plant.A.T - u_ref[:-1] @ plant.B.T
        course = np.concatenate([r, drift.ravel()])
        shift = form.shift_course @ course
        f = form.f_course @ course + form.f_constant
        return (
            f,
            form.problem.lower + shift,
            form.problem.upper + shift,
            form.expand_course @ course + form.expand_constant,
        )
