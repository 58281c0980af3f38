"""Safety filters: an input is passed on where it is safe, and replaced by a safe one where it is not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import final

import numpy as np

from ctrl.controller import NotApplicable
from systems import Task
from systems.errors import expect

__all__ = ["Correction", "Interventions", "Reason", "SafetyFilter"]


class Reason(StrEnum):
    """Why a filter replaced an input."""

    UNSAFE_INPUT = "unsafe input"  # it would leave the safe set
    NO_INPUT = "no input"  # the controller gave no finite number
    OUTSIDE = "state outside the safe set"  # where the filter promises nothing
    NO_STATE = "no state"  # the measurement holds NaN or infinity
    INFEASIBLE = "no safe input"  # no input satisfies the conditions; the filter's fallback acts


@final
@dataclass(frozen=True, slots=True)
class Correction:
    """The answer of a filter to one input.

    Args:
        input: (m,), finite and within the input bounds, whatever happened.
        reason: why it is another one than was proposed; None where it was passed on.
        iterations: of a solver, 0 for a closed form.
    """

    input: np.ndarray
    reason: Reason | None = None
    iterations: int = 0


@final
@dataclass(frozen=True)
class Interventions:
    """How often a filter replaced an input, and why, since it was made.

    Args:
        steps: inputs that it was asked about.
        reasons: how many of these were replaced, by reason.
    """

    steps: int = 0
    reasons: Mapping[Reason, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Inputs that were replaced."""
        return sum(self.reasons.values())

    @property
    def share(self) -> float:
        """Of all inputs; 0 where there were none."""
        return self.count / self.steps if self.steps else 0.0

    def __str__(self) -> str:
        why = ", ".join(f"{reason}: {count}" for reason, count in self.reasons.items())
        return f"acted at {self.count} of {self.steps} samples{f' ({why})' if why else ''}"


class SafetyFilter(ABC):
    """Decides whether an input is safe in a state, and which input to apply instead where it is not.

    :class:`ctrl.filters.Filtered` puts it behind a controller, :class:`ctrl.filters.gym.FilteredActions` behind the
    actions of a learner. ``correct`` never raises because of numbers and never returns NaN.

    Args:
        task: whose hard constraints are kept.

    Raises:
        NotApplicable: a task that measures outputs instead of its state, has integer inputs, or is known ahead.
    """

    def __init__(self, task: Task) -> None:
        name = type(self).__name__
        expect(task, Task, f"the task of {name}", "such as systems.library.double_integrator()")
        if task.measurement is not None:
            raise NotApplicable(
                f"task '{task.name}' measures outputs, and {name} takes the state: filter the controller of the task "
                "without a measurement, and put the estimator in front of both: OutputFeedback(filtered, estimator)"
            )
        if task.reading.has_integers:
            raise NotApplicable(f"task '{task.name}' has integer inputs, and {name} replaces inputs by real numbers")
        if task.plant.forecast is not None:
            raise NotApplicable(f"task '{task.name}' has signals that are known ahead, which {name} does not take")
        self.task = task

    @abstractmethod
    def correct(self, x: np.ndarray, u: np.ndarray, k: int) -> Correction:
        """The input to apply in state ``x`` (n,) at sample ``k`` where ``u`` (m,) is proposed; both may hold NaN."""

    @abstractmethod
    def reset(self) -> None:
        """Forgets the past: a new run begins."""
