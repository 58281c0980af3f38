"""The connection of a loop to its plant: anything that can be read and written."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from systems import Signals, Task

__all__ = ["Measurement", "PlantConnection", "reported_signals"]


class Measurement(NamedTuple):
    """What was measured, with a sequence number and a time stamp.

    Args:
        x: (n,), the state; of a task with a measurement its outputs (p,), NaN where a signal is not reported.
        sequence: number of the measurement; one that does not grow is stale.
        time: time stamp in nanoseconds, of the clock of whoever measured; 0 where there is none.
    """

    x: np.ndarray
    sequence: int
    time: int = 0


@runtime_checkable
class PlantConnection(Protocol):
    """A plant for the loop. Both methods should return immediately; an exception counts as a missing measurement."""

    def read(self) -> Measurement | np.ndarray | None:
        """The newest measurement, or None. An array counts as a measurement taken now."""

    def write(self, u: np.ndarray) -> None:
        """Applies the input u (m,)."""


def reported_signals(task: Task) -> Signals:
    """The signals that a plant reports: the outputs of a task with a measurement, otherwise the state."""
    return task.plant.state if task.measurement is None else task.measurement.signals
