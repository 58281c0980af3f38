"""Safety filters: an input is applied if it is safe, and replaced by a safe one otherwise."""

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

    UNSAFE_INPUT = "unsafe input"  # it might lead out of the safe set
    NO_INPUT = "no input"  # the controller returned an input that is not finite
    OUTSIDE = "state outside the safe set"  # in which the filter gives no guarantee
    NO_STATE = "no state"  # the measurement contains NaN or infinity
    INFEASIBLE = "no safe input"  # no input satisfies the conditions; the filter's fallback is applied


@final
@dataclass(frozen=True, slots=True)
class Correction:
    """The result of a filter for one input.

    Args:
        input: (m,), always finite and within the input bounds.
        reason: why it differs from the proposed input; None if that was applied.
        iterations: of a solver, 0 for a closed form.
    """

    input: np.ndarray
    reason: Reason | None = None
    iterations: int = 0


@final
@dataclass(frozen=True)
class Interventions:
    """How often a filter has replaced an input, and why, since it was constructed.

    Args:
        steps: number of inputs that it has checked.
        reasons: number of inputs that were replaced, by reason.
    """

    steps: int = 0
    reasons: Mapping[Reason, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of inputs that were replaced."""
        return sum(self.reasons.values())

    @property
    def share(self) -> float:
        """Share of the inputs that were replaced; 0 if there were none."""
        return self.count / self.steps if self.steps else 0.0

    def __str__(self) -> str:
        why = ", ".join(f"{reason}: {count}" for reason, count in self.reasons.items())
        return f"acted at {self.count} of {self.steps} samples{f' ({why})' if why else ''}"


class SafetyFilter(ABC):
    """Decides whether an input is safe in a state, and which input to apply instead if it is not.

    :class:`ctrl.filters.Filtered` adds it to a controller, :class:`ctrl.filters.gym.FilteredActions` to the actions of
    a learner. ``correct`` never raises because of numerical values and never returns NaN.

    Args:
        task: whose hard constraints are enforced.

    Raises:
        NotApplicable: a task that measures outputs instead of its state, or has integer inputs or signals known ahead.
    """

    def __init__(self, task: Task) -> None:
        name = type(self).__name__
        expect(task, Task, f"the task of {name}", "such as systems.library.double_integrator()")
        if task.measurement is not None:
            raise NotApplicable(
                f"task '{task.name}' measures outputs, but {name} needs the state: filter the controller of the task "
                "without a measurement, and put the estimator in front of both: OutputFeedback(filtered, estimator)"
            )
        if task.reading.has_integers:
            raise NotApplicable(f"task '{task.name}' has integer inputs, but {name} replaces inputs by real numbers")
        if task.plant.forecast is not None:
            raise NotApplicable(f"task '{task.name}' has signals that are known ahead, which {name} does not support")
        self.task = task

    @abstractmethod
    def correct(self, x: np.ndarray, u: np.ndarray, k: int) -> Correction:
        """The input to apply in state ``x`` (n,) at sample ``k`` if ``u`` (m,) is proposed; both may contain NaN."""

    @abstractmethod
    def reset(self) -> None:
        """Starts a new run: discards the past."""
