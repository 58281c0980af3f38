"""Lagrangian-predictive control: first-order steps on the inputs, multipliers by feedback from the violation."""

from __future__ import annotations

import numpy as np

from ctrl.answers import ESTIMATED, EXACT, NO_FORECAST, Announced, Answer, Answers, Refused
from ctrl.controller import Status
from mpc.approximations import DOMAIN, HELD_AS_HARD, INTEGER, KINKED_CONSTRAINT, UNDISTURBED
from mpc.fallback import Plan
from mpc.lagrangian.descent import Descent, DescentResult, Maker, dead_beat
from mpc.lagrangian.shooting import CasadiShooting
from mpc.online import COLD_AFTER, OnlineController, SolveResult, quiet
from mpc.solvers.qp import LOOSE
from systems import Task
from systems.arguments import expect_arguments, expect_number, expect_whole
from systems.reading import Part

__all__ = ["LagrangianMPC"]


class LagrangianMPC(OnlineController):
    """Minimises the task's cost over a receding horizon by a first-order primal-dual method without second derivatives
    or factorisations.

    At equal costs a step takes 5 to 19 times as long as one of :class:`mpc.NonlinearMPC` (pendulum, cart-pole and
    planar quadrotor over 15 samples, ``benchmarks/lagrangian_peers.py``), and a bound of ten iterations hardly shortens
    it. A batch of 256 problems (:mod:`mpc.lagrangian.batch`) on one core takes longer, too, than that controller on one
    problem after the other, by 1.4 to 13 times. Its advantages are a choice of the rule that updates the multipliers,
    and batches with varying plant parameters.

    Every solve (:class:`Descent`) starts from the last accepted inputs and multipliers, shifted to the present sample.

    Args:
        task: defines plant, cost, constraints, bounds, reference; see :func:`mpc.nonlinear.staged_task.staged`.
        horizon: number of predicted samples. Single shooting of an unstable plant needs a short one.
        make: the multiplier controller; default: dead-beat on the exact linear model.
        max_iterations: of the descent in one step.
        tolerance: largest residual of a point that counts as solved.
        time_limit: seconds of one step, checked in every iteration; see :class:`mpc.online.OnlineController`.

    Raises:
        InvalidValue: a horizon or max_iterations below 1.
    """

    def __init__(
        self,
        task: Task,
        horizon: int = 15,
        make: Maker = dead_beat,
        max_iterations: int = 200,
        tolerance: float = 1e-6,
        time_limit: float | None = None,
    ) -> None:
        expect_arguments(make, "shape, maximum", "make")
        expect_whole(max_iterations, "max_iterations", least=1)
        expect_number(tolerance, "tolerance", above=0.0, hint="such as 1e-6")
        super().__init__(task, horizon, max_iterations, time_limit)
        self._arguments = (task, horizon, make, max_iterations, tolerance, time_limit)
        self.approximations = ANSWERS.read(task)
        # A run with a terminal cost ends, and the horizon shrinks with what is left of it.
        self._ends = task.reading.terminal is not None
        self._programs = {
            going: _program(task, going, make, tolerance, max_iterations, self.time_limit)
            for going in (range(1, horizon + 1) if self._ends else (horizon,))
        }
        self.shooting, self.descent, self._later = self._programs[horizon]
        self._multipliers = np.zeros(len(self.shooting.weight))
        self._step = task.dynamics.function()

    @property
    def terminal(self) -> str:
        """The terminal cost that was chosen, in words."""
        return self.shooting.end.chosen

    @property
    def multipliers(self) -> np.ndarray:
        """Multipliers (c,) of the one-sided rows of :class:`Shooting` at the last accepted prediction."""
        return self._multipliers.copy()

    def reset(self) -> None:
        """Starts a new run: discards the last plan and its multipliers."""
        super().reset()
        self._multipliers[:] = 0.0

    @quiet
    def _solve(self, x: np.ndarray, k: int) -> SolveResult:
        steps = self.task.steps
        going = min(self.horizon, steps - k) if self._ends and 0 <= k < steps else self.horizon
        shrunk = self.shooting is not self._programs[going][0]
        self.shooting, self.descent, self._later = self._programs[going]
        if shrunk:
            self._multipliers = np.zeros(len(self.shooting.weight))
        x_ref, u_ref = self.task.reading.window(k, going + 1)
        self.shooting.place(x, np.asarray(x_ref), np.asarray(u_ref))
        plan = self.plan if self._failures < COLD_AFTER else None
        inputs, multipliers = np.array(u_ref[:-1], dtype=float), np.zeros_like(self._multipliers)
        if plan is not None:
            inputs, multipliers = self._shifted(plan, k, going)
        try:
            result = self.descent.solve(inputs.reshape(1, -1), multipliers[None])
        except (ArithmeticError, RuntimeError, ValueError):  # a function that CasADi, a matrix that LAPACK refuses
            return SolveResult(Status.NUMERICAL)
        status = self._status(result)
        residual, iterations = float(result.residual[0]), int(result.iterations[0])
        if status is not Status.SOLVED and not (
            status in (Status.MAX_ITERATIONS, Status.TIMEOUT) and residual <= LOOSE
        ):
            return SolveResult(status, None, iterations, residual)
        self._multipliers = result.multipliers[0]
        return SolveResult(status, Plan(result.states[0], result.inputs[0].reshape(going, -1), k), iterations, residual)

    def _status(self, result: DescentResult) -> Status:
        if result.residual[0] <= self.descent.tolerance:
            return Status.SOLVED
        if result.stopped:
            return Status.TIMEOUT
        if not np.isfinite(result.residual[0]):
            return Status.NUMERICAL
        # The multipliers of constraints that cannot be met grow without bound.
        hard = np.isinf(self.shooting.weight)
        beyond = (result.multipliers[0] >= self.descent.maximum) & hard
        return Status.INFEASIBLE if beyond.any() else Status.MAX_ITERATIONS

    def _shifted(self, plan: Plan, k: int, going: int) -> tuple[np.ndarray, np.ndarray]:
        """``going`` inputs of the plan from sample ``k`` on, prolonged by the backup law, and its multipliers."""
        done = min(max(k - plan.k, 0), len(plan.u))
        us = list(plan.u[done:][:going])
        x = plan.x[-1]
        while len(us) < going:
            us.append(self._fallback.backup(x, k + len(us)))
            x = np.array(self._step(x, us[-1], 0, []))[:, 0]
        multipliers = self._multipliers
        for _ in range(done):
            multipliers = multipliers[self._later]
        return np.array(us), multipliers


def _program(
    task: Task, horizon: int, make: Maker, tolerance: float, max_iterations: int, time_limit: float
) -> tuple[CasadiShooting, Descent, np.ndarray]:
    """The problem of so many samples, its solver, and for each row the one that says of the next stage what it says of
    its own; itself at the end."""
    shooting = CasadiShooting(task, horizon)
    rows = list(zip(shooting.stage, shooting.row, shooting.sign, strict=True))
    place = {row: i for i, row in enumerate(rows)}
    later = np.array([place.get((k + 1, i, sign), place[k, i, sign]) for k, i, sign in rows], dtype=int)
    descent = Descent(shooting, make, tolerance=tolerance, max_iterations=max_iterations, time_limit=time_limit)
    return shooting, descent, later


def _singular(task: Task) -> Answer:
    if not task.reading.is_singular_on_the_way:
        return EXACT
    return Announced("replaces roots sqrt(q) by sqrt(q + 1e-12), which are differentiable at 0")


ANSWERS = Answers(
    {
        Part.NONLINEAR_PLANT: EXACT,
        Part.KINKED_PLANT: Announced("solves with {names} in the plant, at whose kinks the solver may stop early"),
        Part.SINGULAR_PLANT: _singular,
        Part.MOVING_REFERENCE: EXACT,
        Part.VARYING_LINEARISATION: EXACT,
        Part.COST_ELSEWHERE: EXACT,  # the terminal cost is about the optimal steady state
        Part.REFERENCE_OUTSIDE: EXACT,
        Part.NON_QUADRATIC_COST: EXACT,
        Part.KINKED_COST: EXACT,  # as soft rows, or refused by Shooting
        Part.TERMINAL_COST: EXACT,
        Part.HARD: EXACT,
        Part.CHANGE_LIMIT: EXACT,
        Part.SOFT: EXACT,
        Part.CHANCE: HELD_AS_HARD,
        Part.BUDGET: HELD_AS_HARD,
        Part.EXCESS_BUDGET: Refused(
            "the budget of {names} limits the accumulated excess, which Lagrangian-predictive control cannot handle; "
            "use the nonlinear MPC"
        ),
        Part.NONLINEAR_CONSTRAINT: EXACT,
        Part.KINKED_CONSTRAINT: KINKED_CONSTRAINT,
        Part.DISTURBANCE: EXACT,
        Part.BIASED_DISTURBANCE: UNDISTURBED,
        Part.INTEGER: INTEGER,
        Part.PERIODIC: EXACT,
        Part.DOMAIN: DOMAIN,
        Part.MEASUREMENT: ESTIMATED,
        Part.FORECAST: NO_FORECAST,
    }
)
