"""Nonlinear model predictive control, solved to convergence at every sample."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ctrl.controller import Status
from mpc.predictive import PredictiveController
from mpc.recourse import Outcome, Plan
from mpc.solvers.base import Solution
from mpc.solvers.fatrop import Fatrop
from mpc.solvers.ipopt import Ipopt
from mpc.solvers.nlp import NLPSolver
from mpc.transcription import transcribe
from systems import Task
from systems.arguments import expect_choice, expect_whole

__all__ = ["NonlinearMPC"]

Solver = Literal["fatrop", "ipopt"]


class NonlinearMPC(PredictiveController):
    """Minimises the task's cost over a receding horizon, on its nonlinear plant and under its constraints.

    Every solve starts from the last good plan, shifted to the present sample, and is fatrop's. What fatrop cannot
    solve, ipopt tries; and ipopt makes the first plan, and a new one where the old no longer fits the measurement,
    because fatrop may repeat its search direction for ever where data far from a solution defeat its factorisation.

    Args:
        task: gives plant, cost, constraints, bounds, reference. See :func:`mpc.transcription.transcribe`.
        horizon: samples looked ahead. With the terminal cost of the regulator, 25 samples reach its neighbourhood for
            the tasks of the library; without one, the horizon must cover the whole manoeuvre.
        solver: ``fatrop`` (with ipopt as described) or ``ipopt`` alone.
        max_iterations: of each solver in one step.

    Raises:
        InvalidValue: a horizon below 1, an unknown solver.
    """

    COLD_AFTER = 3  # failures in a row after which the old plan is no guess any more
    FAR = 0.5  # largest distance to the plan, relative to 1 + |x|, at which it still is one

    def __init__(self, task: Task, horizon: int = 25, solver: Solver = "fatrop", max_iterations: int = 200) -> None:
        expect_choice(solver, "solver", get_args(Solver))
        expect_whole(max_iterations, "max_iterations", least=1)
        super().__init__(task, horizon, max_iterations)
        self._arguments = (task, horizon, solver, max_iterations)
        self.problem = transcribe(task, horizon)
        program = self.problem.program
        kinds: list[type[Fatrop] | type[Ipopt]] = [Fatrop, Ipopt] if solver == "fatrop" else [Ipopt]
        self.solvers: list[NLPSolver] = [kind(program, max_iterations) for kind in kinds]
        self._step = task.dynamics.function()
        self._lower, self._upper = task.input_bounds
        self._guess = np.zeros(len(program.lower))

    @property
    def terminal(self) -> str:
        """The terminal cost that was chosen, in words."""
        return self.problem.chosen

    def _solve(self, x: np.ndarray, k: int) -> Outcome:
        window = np.arange(k, k + self.horizon + 1)
        x_ref, u_ref = self.task.reference.at(self.task.plant, window)
        parameter = x
        if self.problem.moving:
            pairs = np.hstack([x_ref, u_ref]).ravel()
            parameter = np.concatenate([x, pairs[: len(pairs) - u_ref.shape[1]]])
        plan = self.plan if self._recourse.failures < self.COLD_AFTER else None
        guess = None if plan is None else self._shifted(plan, x, k)
        solvers = self.solvers
        if guess is None:
            guess, solvers = self._cold(x, x_ref, u_ref), solvers[-1:]
        iterations, best = 0, Solution(Status.NUMERICAL, guess, guess, 0, np.inf)
        for solver in solvers:
            found = solver.solve(guess, parameter)
            iterations += found.iterations
            if found.residual <= best.residual or not best.is_usable:
                best = found
            if best.status is Status.SOLVED:
                break
        at = self.problem
        new = Plan(best.point[at.state_at], best.point[at.input_at], k) if best.is_usable else None
        return Outcome(best.status, new, iterations, best.residual)

    def _cold(self, x: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray) -> np.ndarray:
        """Straight line from the measured state to the reference, with the reference input."""
        share = np.linspace(0.0, 1.0, self.horizon + 1)[:, None]
        return self._assemble((1.0 - share) * x + share * x_ref, np.clip(u_ref[:-1], self._lower, self._upper))

    def _shifted(self, plan: Plan, x: np.ndarray, k: int) -> np.ndarray | None:
        """The plan from sample ``k`` on, prolonged by the backup law; None where the measured state is far from it."""
        done = min(max(k - plan.k, 0), self.horizon)
        xs, us = np.roll(plan.x, -done, axis=0), np.roll(plan.u, -done, axis=0)
        for i in range(self.horizon - done, self.horizon):
            us[i] = self._recourse.backup(xs[i], k + i)
            xs[i + 1] = np.array(self._step(xs[i], us[i], 0, []))[:, 0]
        # An old plan of an unstable plant may have run away as well.
        if not (np.isfinite(xs).all() and (np.abs(x - xs[0]) <= self.FAR * (1.0 + np.abs(x))).all()):
            return None
        xs[0] = x
        return self._assemble(xs, us)

    def _assemble(self, xs: np.ndarray, us: np.ndarray) -> np.ndarray:
        self._guess[:] = 0.0
        self._guess[self.problem.state_at], self._guess[self.problem.input_at] = xs, us
        return self._guess
