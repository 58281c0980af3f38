"""The recorded runs of one controller."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

__all__ = ["Totals", "Trajectories", "stack"]


@final
@dataclass(frozen=True, eq=False)
class Trajectories:
    """b recorded runs of one controller.

    A run that left the domain at sample ``left`` stays there: its state is held, its input is the reference's, and each
    remaining sample is charged the stage cost at that point. If the next state was not finite, the state and input
    before it are held instead, and every constraint counts as violated.

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
        outputs: (b, steps, p), what was measured; NaN where a signal was not reported or the run has stopped; None for
            a task without a measurement.
        estimates: (b, steps, n), the state as the controller estimated it; NaN where it does not say; None likewise.
        unsolved: (b,) of bool, whether the run ended because equations of the plant were not solved: those of an
            implicit integrator, or for algebraic signals; None where none are solved by iterations.
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
    outputs: np.ndarray | None = None
    estimates: np.ndarray | None = None
    unsolved: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.states)

    def of(self, runs: np.ndarray) -> Trajectories:
        """Some of the runs, by their numbers.

        Args:
            runs: (r,).
        """
        records: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            record = getattr(self, field.name)
            records[field.name] = None if record is None else record[runs]
        return Trajectories(**records)

    @property
    def cost(self) -> np.ndarray:
        """The whole cost of each run, (b,)."""
        return np.asarray(self.costs.sum(axis=1) + self.terminal)

    @property
    def stayed(self) -> np.ndarray:
        """Whether each run stayed inside the domain, (b,) of bool."""
        return np.asarray(self.left < 0)


@final
@dataclass(frozen=True, eq=False)
class Totals:
    """Sums over each of b runs of one controller, of which no trajectories are kept; see :class:`Trajectories`.

    Args:
        cost: (b,), the whole cost.
        final: (b, n), the last states.
        worst: (b, constraints), the largest g of each constraint in the run; NaN where one was undefined.
        violated: (b, constraints), number of samples at which each constraint was violated.
        left: (b,), the sample at which the run was outside the domain or no longer finite; -1 for never.
    """

    cost: np.ndarray
    final: np.ndarray
    worst: np.ndarray
    violated: np.ndarray
    left: np.ndarray

    def __len__(self) -> int:
        return len(self.cost)

    @property
    def stayed(self) -> np.ndarray:
        """Whether each run stayed inside the domain, (b,) of bool."""
        return np.asarray(self.left < 0)

    @classmethod
    def of(cls, runs: Trajectories) -> Totals:
        """Those of recorded runs.

        Args:
            runs: the record.
        """
        worst = runs.margins.max(axis=1, initial=-np.inf)
        return cls(runs.cost, runs.states[:, -1].copy(), worst, (~(runs.margins <= 0)).sum(axis=1), runs.left)

    @classmethod
    def joined(cls, parts: Sequence[Totals]) -> Totals:
        """Those of all parts, in order.

        Args:
            parts: at least one.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def stack(parts: Sequence[Trajectories]) -> Trajectories:
    """The runs of all parts, in order."""
    records: dict[str, Any] = {}
    for field in dataclasses.fields(Trajectories):
        record = [getattr(part, field.name) for part in parts]
        records[field.name] = None if record[0] is None else np.concatenate(record)
    return Trajectories(**records)
