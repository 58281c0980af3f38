"""The baseline of driving among others: keep the lane and follow."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from ctrl.controller import Decision, NotApplicable, Source, Status
from systems import DimensionMismatch, Task
from systems.library.driving import Highway, lane_keeping
from systems.lowering import lower

__all__ = ["LaneKeeping"]


class LaneKeeping:
    """:func:`systems.library.driving.lane_keeping` as a controller, also of many states at once.

    Args:
        task: of a :class:`systems.library.driving.Highway`; its reference says the desired speed.

    Raises:
        NotApplicable: the plant is another one.
    """

    def __init__(self, task: Task) -> None:
        if not isinstance(task.plant, Highway):
            raise NotApplicable(f"task '{task.name}': its plant is {task.plant.name}, which has no lane to keep")
        x_ref, self._u_ref = task.reference.at(task.plant, 0)
        self._names = task.plant.state.names
        self._lower, self._upper = task.input_bounds
        self._law = lower(lane_keeping(task.plant, float(x_ref[task.plant.state.where("speed")])), to="numpy")

    def reset(self) -> None:
        """Nothing to forget."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides in state ``x`` (n,); a state that is not finite, or overflows, gives the reference input and says so.

        Raises:
            DimensionMismatch: ``x`` has another shape.
        """
        began = perf_counter()
        x = np.asarray(x, dtype=float)
        if x.shape != (len(self._names),):
            raise DimensionMismatch(
                f"LaneKeeping.step: given a state of shape {x.shape}, expected ({len(self._names)},) for "
                f"{', '.join(self._names)}; batch(x, k) answers many states"
            )
        u = self.batch(x, k)
        if np.isfinite(x).all() and np.isfinite(u).all():
            return Decision(u, seconds=perf_counter() - began)
        backup = np.clip(self._u_ref, self._lower, self._upper)
        return Decision(backup, Status.NUMERICAL, Source.BACKUP, seconds=perf_counter() - began)

    def batch(self, x: np.ndarray, k: int) -> np.ndarray:
        """Inputs (..., m) for states (..., n)."""
        with np.errstate(all="ignore"):  # states far beyond the model's range may overflow
            return np.clip(self._law(x), self._lower, self._upper)
