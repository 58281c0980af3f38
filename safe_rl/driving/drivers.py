"""Baseline controllers for driving in traffic: car following in one lane, or rule-based lane changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import perf_counter
from typing import final

import casadi as ca
import numpy as np

from ctrl.controller import Decision, NotApplicable, Source, Status, measured_state, measured_states, sample_index
from systems import Task
from systems.errors import expect
from systems.library.driving import Highway, lane_changing, lane_keeping
from systems.lowering import lower

__all__ = ["EgoDriver", "LaneChanging", "LaneKeeping"]


class EgoDriver(ABC):
    """A feedback law of the ego vehicle as a controller, also for many states at once.

    Args:
        task: of a :class:`systems.library.driving.Highway`; its reference defines the desired speed.

    Raises:
        NotApplicable: the plant is another one.
    """

    def __init__(self, task: Task) -> None:
        expect(task, Task, f"the task of {type(self).__name__}", "such as systems.library.driving.driving()")
        if not isinstance(task.plant, Highway):
            raise NotApplicable(f"task '{task.name}': its plant is {task.plant.name}, which has no lane to keep")
        x_ref, self._u_ref = task.reference.at(task.plant, 0)
        self._state = task.plant.state
        self._lower, self._upper = task.input_bounds
        desired = float(x_ref[task.plant.state.where("speed")])
        self._law = lower(self.law(task.plant, desired), to="numpy")
        self.approximations = ("follows fixed rules that depend neither on the cost nor on the constraints",)

    @staticmethod
    @abstractmethod
    def law(plant: Highway, speed: float) -> ca.Function:
        """``u(x) -> (2, 1)`` for a desired speed, m/s."""

    def reset(self) -> None:  # noqa: B027 - nothing to override either
        """Does nothing: the controller has no memory."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides in state ``x`` (n,); if it is not finite or overflows, the reference input is applied and the status
        says so.

        Raises:
            DimensionMismatch: ``x`` has another shape.
        """
        began = perf_counter()
        x = measured_state(x, self._state)
        u = self.batch(x, k)
        if np.isfinite(x).all() and np.isfinite(u).all():
            return Decision(u, seconds=perf_counter() - began)
        backup = np.clip(self._u_ref, self._lower, self._upper)
        return Decision(backup, Status.NUMERICAL, Source.BACKUP, seconds=perf_counter() - began)

    def batch(self, x: np.ndarray, k: int) -> np.ndarray:
        """Inputs (..., m) for states (..., n)."""
        sample_index(k)
        x = measured_states(x, self._state)
        with np.errstate(all="ignore"):  # states far beyond the model's range may overflow
            return np.clip(self._law(x), self._lower, self._upper)


@final
class LaneKeeping(EgoDriver):
    """:func:`systems.library.driving.lane_keeping` as a controller."""

    law = staticmethod(lane_keeping)


@final
class LaneChanging(EgoDriver):
    """:func:`systems.library.driving.lane_changing` as a controller, with an assertive driver."""

    law = staticmethod(lane_changing)
