"""Limits of the commands, applied after the controller."""

from __future__ import annotations

from typing import final

import numpy as np

from systems import InvalidValue, Task
from systems.arguments import expect_array

__all__ = ["CommandLimits"]


@final
class CommandLimits:
    """Keeps inputs within the task's input bounds and, relative to the input before, within a rate.

    Args:
        task: whose ``input_bounds`` apply.
        rate: (m,), largest change per second; default: none.
        safe_input: (m,); default: the task's reference input. Applied at once, whatever the rate.

    Attributes:
        safe: (m,), the safe input within the bounds.

    Raises:
        DimensionMismatch: another number of inputs.
        InvalidValue: a safe input outside the bounds, or one that is not finite.
    """

    def __init__(
        self, task: Task, rate: tuple[float, ...] | None = None, safe_input: tuple[float, ...] | None = None
    ) -> None:
        m = len(task.plant.input)
        self.lower, self.upper = task.input_bounds
        given = task.reading.start[1] if safe_input is None else expect_array(safe_input, "safe_input", (m,))
        self.safe = np.clip(given, self.lower, self.upper)
        if safe_input is not None and (self.safe != given).any():
            raise InvalidValue(f"safe_input = {safe_input}; expected values from {self.lower} to {self.upper}")
        self._step = None if rate is None else task.dt * expect_array(rate, "rate_limit", (m,), infinite=True)

    def __call__(self, u: np.ndarray, before: np.ndarray) -> np.ndarray:
        """The finite input u (m,) within the limits, with the input ``before`` (m,) applied in the last sample."""
        if self._step is not None:
            u = np.minimum(np.maximum(u, before - self._step), before + self._step)
        return np.minimum(np.maximum(u, self.lower), self.upper)
