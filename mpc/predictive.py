"""The control step that linear, nonlinear and Lagrangian MPC share: solve from the measured state, or fall back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import perf_counter

import numpy as np

from ctrl.controller import Decision, Status, sample_index
from mpc.recourse import Outcome, Plan, Recourse
from mpc.transcription import check_horizon, check_input
from systems import Task
from systems.arguments import expect_whole

__all__ = ["PredictiveController"]


class PredictiveController(ABC):
    """Solves one optimal control problem per sample and applies the first input of its plan.

    Should a solve fail, :class:`Recourse` falls back on the last good plan and then on the local regulator.

    A copy, also one sent to another process, is made anew: it knows the problem and nothing of the past.

    Args:
        task: what is controlled. horizon: samples looked ahead. max_iterations: of the solver, None for its default.

    Raises:
        NotApplicable: a task without input.
        InvalidValue: a horizon or max_iterations below 1.
    """

    _arguments: tuple[object, ...]  # of the final class

    def __init__(self, task: Task, horizon: int, max_iterations: int | None) -> None:
        check_horizon(horizon)
        check_input(task)
        if max_iterations is not None:
            expect_whole(max_iterations, "max_iterations", least=1)
        self.task, self.horizon = task, horizon
        self._recourse = Recourse(task)

    def __reduce__(self) -> tuple[type[PredictiveController], tuple[object, ...]]:
        return type(self), self._arguments

    @property
    @abstractmethod
    def terminal(self) -> str:
        """The terminal cost, and set, that were chosen, in words."""

    @abstractmethod
    def _solve(self, x: np.ndarray, k: int) -> Outcome:
        """How the problem of sample ``k`` in the finite state ``x`` (n,) ended."""

    @property
    def plan(self) -> Plan | None:
        """The last good prediction, None before the first."""
        return self._recourse.plan

    def reset(self) -> None:
        """Forgets the last plan: a new run begins."""
        self._recourse.reset()

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # such numbers are found by checks on the result
    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides at sample ``k`` in state ``x`` (n,); the input is finite and within bounds whatever happens.

        Raises:
            DimensionMismatch: ``x`` has another shape.
            InvalidValue: ``x`` holds no numbers, or ``k`` is no sample number.
        """
        began = perf_counter()
        x, k = self._recourse.measured(x), sample_index(k)
        outcome = self._solve(x, k) if np.isfinite(x).all() else Outcome(Status.NUMERICAL)
        return self._recourse.decide(x, k, outcome, began)
