"""Interface of recorded runs that figures and statistics of a plant use."""

from __future__ import annotations

from typing import Protocol

import numpy as np

__all__ = ["RecordedRuns"]


class RecordedRuns(Protocol):
    """Recorded runs of a task, such as the trajectories that the closed loop returns.

    Attributes:
        states: (b, steps + 1, n).
        inputs: (b, steps, m), as the actuators applied them.
        margins: (b, steps, constraints), the largest g of each; positive means violated.
        left: (b,), the sample at which a run had left the domain; -1 for never.
    """

    @property
    def states(self) -> np.ndarray: ...

    @property
    def inputs(self) -> np.ndarray: ...

    @property
    def margins(self) -> np.ndarray: ...

    @property
    def left(self) -> np.ndarray: ...
