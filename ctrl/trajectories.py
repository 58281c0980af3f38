"""The recorded runs of one controller."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

__all__ = ["Trajectories", "stack"]


@final
@dataclass(frozen=True, eq=False)
class Trajectories:
    """b recorded runs of one controller.

    A run that left the domain at sample ``left`` stays there: its state is held, its input is the reference's, and each
    remaining sample costs what it costs to be at that point with that input. Where the next state was not finite,
    the state and input before it are held instead, and every constraint counts as violated.

    Args:
        states: (b, steps + 1, n).
        inputs: (b, steps, m), as the actuators applied them.
        costs: (b, steps), charged per sample.
        terminal: (b,), charged for the last state.
        margins: (b, steps, constraints), the largest g of each; positive means violated.
        seconds: (b, steps), wall time of ``step``; NaN where it was not timed.
        statuses: (b, steps), index in ``Status``; -1 once the run has stopped.
        sources: (b, steps), index in ``Source``; -1 once the run has stopped.
        left: (b,), the sample at which the run was outside the domain or no longer finite; -1 for never.
    """

    states: np.ndarray
    inputs: np.ndarray
    costs: np.ndarray
    terminal: np.ndarray
    margins: np.ndarray
    seconds: np.ndarray
    statuses: np.ndarray
    sources: np.ndarray
    left: np.ndarray

    def __len__(self) -> int:
        return len(self.states)

    @property
    def cost(self) -> np.ndarray:
        """The whole cost of each run, (b,)."""
        return np.asarray(self.costs.sum(axis=1) + self.terminal)

    @property
    def stayed(self) -> np.ndarray:
        """Whether each run stayed inside the domain, (b,) of bool."""
        return np.asarray(self.left < 0)


def stack(parts: Sequence[Trajectories]) -> Trajectories:
    """The runs of all parts, in order."""
    names = [field.name for field in dataclasses.fields(Trajectories)]
    return Trajectories(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
