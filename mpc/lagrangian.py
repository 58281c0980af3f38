"""Lagrangian-predictive control: first-order steps on the inputs, multipliers by feedback from the violation."""

from __future__ import annotations

import numpy as np

from ctrl.controller import Status
from mpc.descent import Descent, Found, Maker, dead_beat
from mpc.predictive import PredictiveController
from mpc.recourse import Outcome, Plan
from mpc.shooting import CasadiShooting
from mpc.solvers.base import LOOSE
from systems import Task
from systems.arguments import expect_arguments, expect_number, expect_whole

__all__ = ["LagrangianMPC"]


class LagrangianMPC(PredictiveController):
    """Minimises the task's cost over a receding horizon by :class:`Descent`; no second derivatives, no factorisation of
    a Newton system of the whole problem.

    Every solve starts from the last good inputs and multipliers, shifted to the present sample.

    Args:
        task: gives plant, cost, constraints, bounds, reference; see :func:`mpc.transcription.transcribe`.
        horizon: samples looked ahead. Single shooting of an unstable plant wants a short one.
        make: the multiplier controller; dead-beat on the exact linear model where left out.
        max_iterations: of one step. tolerance: largest residual of a point that counts as solved.

    Raises:
        InvalidValue: a horizon or max_iterations below 1.
    """

    COLD_AFTER = 3  # failures in a row after which the old plan is no guess any more

    def __init__(
        self,
        task: Task,
        horizon: int = 15,
        make: Maker = dead_beat,
        max_iterations: int = 200,
        tolerance: float = 1e-6,
    ) -> None:
        expect_arguments(make, "shape, maximum", "make")
        expect_whole(max_iterations, "max_iterations", least=1)
        expect_number(tolerance, "tolerance", above=0.0, hint="such as 1e-6")
        super().__init__(task, horizon, max_iterations)
        self._arguments = (task, horizon, make, max_iterations, tolerance)
        self.shooting = CasadiShooting(task, horizon)
        self.descent = Descent(self.shooting, make, tolerance=tolerance, max_iterations=max_iterations)
        self._multipliers = np.zeros(len(self.shooting.price))
        self._step = task.dynamics.function()
        # The row that says of the next stage what this one says of its own; itself at the end.
        rows = list(zip(self.shooting.stage, self.shooting.row, self.shooting.sign, strict=True))
        place = {row: i for i, row in enumerate(rows)}
        self._later = np.array([place.get((k + 1, i, sign), place[k, i, sign]) for k, i, sign in rows], dtype=int)

    @property
    def terminal(self) -> str:
        """The terminal cost that was chosen, in words."""
        return self.shooting.end.chosen

    @property
    def multipliers(self) -> np.ndarray:
        """Of the one-sided rows of :class:`Shooting`, (c,), at the last good prediction."""
        return self._multipliers.copy()

    def reset(self) -> None:
        """Forgets the last plan and its multipliers."""
        super().reset()
        self._multipliers[:] = 0.0

    def _solve(self, x: np.ndarray, k: int) -> Outcome:
        x_ref, u_ref = self.task.reference.at(self.task.plant, np.arange(k, k + self.horizon + 1))
        self.shooting.place(x, np.asarray(x_ref), np.asarray(u_ref))
        plan = self.plan if self._recourse.failures < self.COLD_AFTER else None
        inputs, multipliers = np.array(u_ref[:-1], dtype=float), np.zeros_like(self._multipliers)
        if plan is not None:
            inputs, multipliers = self._shifted(plan, k)
        try:
            found = self.descent.solve(inputs.reshape(1, -1), multipliers[None])
        except (ArithmeticError, RuntimeError, ValueError):  # a function that CasADi, a matrix that LAPACK refuses
            return Outcome(Status.NUMERICAL)
        status = self._status(found)
        residual, iterations = float(found.residual[0]), int(found.iterations[0])
        if status is not Status.SOLVED and not (status is Status.MAX_ITERATIONS and residual <= LOOSE):
            return Outcome(status, None, iterations, residual)
        self._multipliers = found.multipliers[0]
        return Outcome(
            status, Plan(found.states[0], found.inputs[0].reshape(self.horizon, -1), k), iterations, residual
        )

    def _status(self, found: Found) -> Status:
        if found.residual[0] <= self.descent.tolerance:
            return Status.SOLVED
        if not np.isfinite(found.residual[0]):
            return Status.NUMERICAL
        # The multipliers of constraints that cannot be met grow without bound.
        hard = np.isinf(self.shooting.price)
        beyond = (found.multipliers[0] >= self.descent.maximum) & hard
        return Status.INFEASIBLE if beyond.any() else Status.MAX_ITERATIONS

    def _shifted(self, plan: Plan, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs of the plan from sample ``k`` on, prolonged by the backup law, and its multipliers."""
        done = min(max(k - plan.k, 0), self.horizon)
        us, multipliers = np.roll(plan.u, -done, axis=0), self._multipliers
        x = plan.x[-1]
        for i in range(self.horizon - done, self.horizon):
            us[i] = self._recourse.backup(x, k + i)
            x = np.array(self._step(x, us[i], 0, []))[:, 0]
        for _ in range(done):
            multipliers = multipliers[self._later]
        return us, multipliers
