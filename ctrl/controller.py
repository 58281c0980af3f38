"""What a controller is: something that answers every sample with a decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np

__all__ = ["BatchController", "Controller", "Decision", "NotApplicable", "Source", "Status"]


class Status(StrEnum):
    """How the computation of one sample ended.

    ``INFEASIBLE``: no plan keeps the constraints. ``TERMINAL_SET_UNREACHABLE``: some do, but none of them ends where
    the controller's promise of feasibility needs it to; the input is that of a plan without the terminal condition.
    """

    SOLVED = "solved"
    MAX_ITERATIONS = "max_iterations"
    TIMEOUT = "timeout"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    NUMERICAL = "numerical"
    TERMINAL_SET_UNREACHABLE = "terminal_set_unreachable"


class Source(StrEnum):
    """Where the input of a decision came from."""

    OPTIMAL = "optimal"
    SUBOPTIMAL = "suboptimal"
    SHIFTED_PLAN = "shifted_plan"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one sample.

    Args:
        input: (m,), finite and within the task's input bounds, whatever happened.
        status: how the computation ended. source: where the input came from.
        iterations: of the solver, 0 for a law in closed form.
        residual: largest violation of the optimality conditions of the accepted point, 0 for a law in closed form.
        seconds: wall time of the step.
    """

    input: np.ndarray
    status: Status = Status.SOLVED
    source: Source = Source.OPTIMAL
    iterations: int = 0
    residual: float = 0.0
    seconds: float = 0.0


@runtime_checkable
class Controller(Protocol):
    """Reads the state, decides the input. ``step`` never raises because of numbers and never returns NaN."""

    def reset(self) -> None:
        """Forgets the past: a new run begins."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides at sample ``k`` in state ``x`` (n,); ``k`` counts on whether or not a solve succeeded."""


@runtime_checkable
class BatchController(Controller, Protocol):
    """A controller without memory that can also answer many states at once."""

    def batch(self, x: np.ndarray, k: int) -> np.ndarray:
        """Inputs (b, m) for the states (b, n), equal to ``step`` row by row."""


class NotApplicable(ValueError):
    """A controller cannot control this task, for the reason given; a comparison skips it and says so."""
