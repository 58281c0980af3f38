"""Nonlinear model predictive control, solved to convergence at every sample."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ctrl.answers import EXACT, Announced, Answer, Answers
from ctrl.terminal import Kind
from mpc.approximations import DOMAIN, HELD_AS_HARD, KINKED_CONSTRAINT, UNDISTURBED
from mpc.fallback import Plan
from mpc.memory import expect_program
from mpc.nonlinear.budgets import Budgets
from mpc.nonlinear.transcription import transcribe
from mpc.online import COLD_AFTER, OnlineController, SolveResult, quiet
from mpc.solvers.ipopt import Ipopt
from systems import InvalidValue, Task
from systems.arguments import expect_choice, expect_whole
from systems.reading import Part

__all__ = ["NonlinearMPC"]

Guess = tuple[np.ndarray, np.ndarray]  # states (horizon + 1, n) and inputs (horizon, m)


class NonlinearMPC(OnlineController):
    """Minimises the task's cost over a receding horizon, on its nonlinear plant and under its constraints.

    Every solve is ipopt's and starts from the last good plan, shifted to the present sample; from a new guess where the
    old plan no longer fits the measurement.

    A task with a terminal cost, or with a budget of accumulated excess, ends: the horizon shrinks with what is left of
    the run, and the budget with what was spent of it.

    Args:
        task: gives plant, cost, constraints, bounds, reference; see :func:`mpc.nonlinear.transcription.transcribe`.
        horizon: samples looked ahead.
        solver: ``ipopt``. max_iterations: of it, in one step.
        terminal: ``cost-to-go`` for the terminal cost of :func:`ctrl.terminal.terminal`, ``task`` for nothing but what
            the task itself charges at the end.
        time_limit: seconds of one step; see :class:`mpc.online.OnlineController`.

    Raises:
        NotApplicable: a task without input.
        InvalidValue: a horizon below 1, or one for which the program would not fit into memory; an unknown terminal.
    """

    FAR = 0.5  # largest distance to the plan, relative to 1 + |x|, at which it still is one

    def __init__(
        self,
        task: Task,
        horizon: int = 25,
        solver: Literal["ipopt"] = "ipopt",
        max_iterations: int = 200,
        terminal: Kind = "cost-to-go",
        time_limit: float | None = None,
    ) -> None:
        if isinstance(solver, str) and solver == "fatrop":
            raise InvalidValue(
                "solver = 'fatrop' cannot be interrupted, and from some states never returns; use 'ipopt'"
            )
        expect_choice(solver, "solver", ("ipopt",))
        expect_choice(terminal, "terminal", get_args(Kind))
        expect_whole(max_iterations, "max_iterations", least=1)
        super().__init__(task, horizon, max_iterations, time_limit)
        self._arguments = (task, horizon, solver, max_iterations, terminal, time_limit)
        expect_program(task, horizon)
        self.problem = transcribe(task, horizon, terminal)
        self.approximations = ANSWERS.read(task)
        if self.problem.smoothed:
            self.approximations += ("takes roots sqrt(q) as sqrt(q + 1e-12), which have a derivative at 0",)
        self.solver = Ipopt(self.problem.program, max_iterations, self.time_limit)
        self._step, self._budgets = task.dynamics.function(), Budgets(task)
        self._kinks = task.reading.stage.start.map(horizon)
        self._guess = np.zeros(len(self.problem.program.lower))

    @property
    def terminal(self) -> str:
        """The terminal cost that was chosen, in words."""
        return self.problem.chosen

    def reset(self) -> None:
        """Forgets the last plan and what was spent of budgets: a new run begins."""
        super().reset()
        self._budgets.reset()

    @quiet
    def _applied(self, x: np.ndarray, u: np.ndarray, k: int) -> None:
        if self.problem.budgets and np.isfinite(x).all():
            self._budgets.spend(x, u, k)

    @quiet
    def _solve(self, x: np.ndarray, k: int) -> SolveResult:
        problem, steps = self.problem, self.task.steps
        going = steps - k if problem.ends and 0 <= k < steps else self.horizon + 1
        x_ref, u_ref = self.task.reading.window(k, self.horizon + 1)
        if going < self.horizon:  # what lies beyond the end is not asked for
            x_ref = np.vstack([x_ref[: going + 1], np.repeat(x_ref[going : going + 1], self.horizon - going, axis=0)])
        parameter = problem.parameter(
            x, x_ref, u_ref, going, self._budgets.left(x, k) if problem.budgets else np.zeros(0)
        )
        plan = self.plan if self._failures < COLD_AFTER else None
        guess = None if plan is None else self._shifted(plan, x, k)
        self._fill(self._cold(x, x_ref, u_ref) if guess is None else guess, x_ref, u_ref)
        solution = self.solver.solve(self._guess, parameter, problem.bounds(going))
        point = solution.point
        new = Plan(point[problem.state_at], point[problem.input_at], k) if solution.is_usable else None
        return SolveResult(solution.status, new, solution.iterations, solution.residual)

    def _cold(self, x: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray) -> Guess:
        """Straight line from the measured state to the reference, with the reference input; where the plant is
        undefined on it, the prediction under that input, for as long as it is defined."""
        us = np.clip(u_ref[:-1], self._lower, self._upper)
        share = np.linspace(0.0, 1.0, self.horizon + 1)[:, None]
        line = (1.0 - share) * x + share * x_ref
        if all(np.isfinite(self._after(xi, ui)).all() for xi, ui in zip(line[:-1], us, strict=True)):
            return line, us
        xs = np.repeat(x[None], self.horizon + 1, axis=0)
        for i in range(self.horizon):
            after = self._after(xs[i], us[i])
            xs[i + 1] = after if np.isfinite(after).all() else xs[i]
        return xs, us

    def _after(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        return np.array(self._step(x, u, 0, []))[:, 0]

    def _shifted(self, plan: Plan, x: np.ndarray, k: int) -> Guess | None:
        """The plan from sample ``k`` on, prolonged by the backup law; None where the measured state is far from it."""
        done = min(max(k - plan.k, 0), self.horizon)
        xs, us = np.roll(plan.x, -done, axis=0), np.roll(plan.u, -done, axis=0)
        xs[: self.horizon + 1 - done] += self.task.reading.state.nearest(xs[0], x) - xs[0]
        for i in range(self.horizon - done, self.horizon):
            us[i] = self._fallback.backup(xs[i], k + i)
            xs[i + 1] = self._after(xs[i], us[i])
        # An old plan of an unstable plant may have run away as well.
        if not (np.isfinite(xs).all() and (np.abs(x - xs[0]) <= self.FAR * (1.0 + np.abs(x))).all()):
            return None
        xs[0] = x
        return xs, us

    def _fill(self, attempt: Guess, x_ref: np.ndarray, u_ref: np.ndarray) -> None:
        """All variables from states and inputs: those of kinks at their values, violations at zero."""
        problem, guess = self.problem, self._guess
        guess[:] = 0.0
        guess[problem.state_at], guess[problem.input_at] = attempt
        if problem.kink_at.size:
            xs, us = attempt
            start = np.array(self._kinks(xs[:-1].T, us.T, x_ref[:-1].T, u_ref[:-1].T)).T
            guess[problem.kink_at] = np.where(np.isfinite(start), start, 0.0)


def _kinked(task: Task) -> Answer:
    """Kinks that cannot be taken out of the cost stay in it."""
    reading = task.reading
    left = (*reading.stage.left, *(reading.terminal.left if reading.terminal else ()))
    rough = ", ".join(sorted({name for name in left if name != "sqrt"}))
    return Announced(f"solves with {rough} in the cost, at whose kinks the solver may stop early") if rough else EXACT


ANSWERS = Answers(
    {
        Part.NONLINEAR_PLANT: EXACT,
        Part.KINKED_PLANT: Announced("solves with {names} in the plant, at whose kinks the solver may stop early"),
        Part.SINGULAR_PLANT: EXACT,
        Part.MOVING_REFERENCE: EXACT,
        Part.VARYING_LINEARISATION: EXACT,
        Part.COST_ELSEWHERE: EXACT,  # the terminal cost is about the optimal steady state
        Part.REFERENCE_OUTSIDE: EXACT,
        Part.NON_QUADRATIC_COST: EXACT,
        Part.KINKED_COST: _kinked,
        Part.TERMINAL_COST: EXACT,
        Part.HARD: EXACT,
        Part.SOFT: EXACT,
        Part.CHANCE: HELD_AS_HARD,
        Part.BUDGET: HELD_AS_HARD,
        Part.EXCESS_BUDGET: Announced("keeps the budget of {names} in every run, not on average"),
        Part.NONLINEAR_CONSTRAINT: EXACT,
        Part.KINKED_CONSTRAINT: KINKED_CONSTRAINT,
        Part.DISTURBANCE: EXACT,
        Part.BIASED_DISTURBANCE: UNDISTURBED,
        Part.PERIODIC: EXACT,
        Part.DOMAIN: DOMAIN,
    }
)
