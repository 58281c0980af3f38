"""The control step that linear, nonlinear and Lagrangian MPC share: solve from the measured state, or fall back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import perf_counter

import numpy as np

from ctrl.answers import Announced, described
from ctrl.controller import Decision, Status, sample_index
from mpc.fallback import Outcome, Plan, Recourse
from mpc.nonlinear.transcription import check_horizon, check_input
from systems import Task
from systems.arguments import expect_number, expect_whole

__all__ = ["DOMAIN", "HELD_AS_HARD", "KINKED_CONSTRAINT", "UNDISTURBED", "PredictiveController", "clock"]

HELD_AS_HARD = Announced("holds {names} in every predicted sample, with no allowance")
UNDISTURBED = Announced("predicts without the mean of the disturbance ({names})")
DOMAIN = Announced("does not know the domain")
KINKED_CONSTRAINT = Announced("solves with kinks in the constraint {names}, where the solver may stop early")

PATIENCE = 100  # sample times after which a step that has no time limit of its own is stopped
LEAST = 60.0  # seconds that it has at least


def clock(task: Task, time_limit: float | None) -> float:
    """Seconds that a step may take: as given, else 100 sample times and at least 60 s, so that it stops what hangs and
    nothing else.

    Raises:
        InvalidValue: no positive number.
    """
    if time_limit is None:
        return max(PATIENCE * task.dt, LEAST)
    return float(expect_number(time_limit, "time_limit", above=0.0, hint="in seconds, or None"))


class PredictiveController(ABC):
    """Solves one optimal control problem per sample and applies the first input of its plan.

    Should a solve fail, :class:`Recourse` falls back on the last good plan and then on the local regulator.

    A copy, also one sent to another process, is made anew: it knows the problem and nothing of the past.

    Args:
        task: what is controlled. horizon: samples looked ahead. max_iterations: of the solver, None for its default.
        time_limit: seconds of one step, at which the solver is stopped; by default 100 sample times and at least 60 s,
            so that results do not depend on how fast the machine is.

    Attributes:
        approximations: what of the task is not taken exactly, in words.

    Raises:
        NotApplicable: a task without input.
        InvalidValue: a horizon or max_iterations below 1.
    """

    _arguments: tuple[object, ...]  # of the final class
    approximations: tuple[str, ...]

    def __init__(self, task: Task, horizon: int, max_iterations: int | None, time_limit: float | None = None) -> None:
        check_horizon(horizon)
        check_input(task)
        if max_iterations is not None:
            expect_whole(max_iterations, "max_iterations", least=1)
        self.task, self.horizon, self.time_limit = task, horizon, clock(task, time_limit)
        self._recourse = Recourse(task)

    def __repr__(self) -> str:
        return described(
            f"{type(self).__name__}(task '{self.task.name}', horizon={self.horizon}), terminal cost: {self.terminal}",
            self.approximations,
        )

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
        x = self._recourse.nearest(x, k)
        outcome = self._solve(x, k) if np.isfinite(x).all() else Outcome(Status.NUMERICAL)
        decision = self._recourse.decide(x, k, outcome, began)
        self._decided(x, decision.input, k)
        return decision

    def _decided(self, x: np.ndarray, u: np.ndarray, k: int) -> None:  # noqa: B027  # most have nothing to note
        """Called with the state and the input of a sample that is decided."""
