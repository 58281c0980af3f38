"""The record of a loop that has run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from ctrl.realtime.log import Columns, LoopLog
from ctrl.realtime.settings import LoopSettings
from ctrl.realtime.summary import LoopSummary, summary
from systems import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LoopRun"]


@final
@dataclass(frozen=True, eq=False)
class LoopRun:
    """What a loop did; its ``str`` is a table.

    Args:
        task, settings: of the loop.
        columns: the samples that the log holds, oldest first.
        log: with the counts of the whole run.
        fallbacks: names of the fallback controllers.
        restarts: number of controller processes that were replaced.
        stopped: by which signal or call the run was ended; empty if its time was over.
        errors: the first error of each part that raised one, in words.
    """

    task: Task
    settings: LoopSettings
    columns: Columns
    log: LoopLog
    fallbacks: tuple[str, ...]
    restarts: int
    stopped: str
    errors: tuple[str, ...]

    @cached_property
    def summary(self) -> LoopSummary:
        """The numbers of the run."""
        return summary(self.log, self.columns, self.fallbacks)

    @cached_property
    def stage_costs(self) -> np.ndarray:
        """The task's stage cost of every sample that the log holds, (s,), at the state that was acted on."""
        from systems.lowering import lower

        x_ref, u_ref = self.task.reference.at(self.task.plant, self.columns.k)
        stage = lower(self.task.stage_cost_function(), to="numpy")
        with np.errstate(all="ignore"):
            return np.asarray(stage(self.columns.x, self.columns.u, x_ref, u_ref)[..., 0])

    def figure(self) -> Figure:
        """States, inputs and response times over time, and the distribution of the times."""
        from ctrl.realtime.figure import figure

        return figure(self)

    def save(self, folder: str | Path, command: Sequence[str] = ()) -> Path:
        """Writes ``samples.csv``, ``summary.json``, ``trace.json`` (for ui.perfetto.dev or chrome://tracing),
        ``figure.png``, ``figure.pdf`` and ``task.json``, each whole.

        Args:
            folder: is made where it does not exist.
            command: that led to the run, for the record.

        Raises:
            OutputError: the folder cannot be written.
        """
        from ctrl.realtime.folder import save

        return save(self, folder, command)

    def __str__(self) -> str:
        from ctrl.realtime.table import text

        return text(self)
