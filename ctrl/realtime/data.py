"""The data of a finished loop."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ctrl.realtime.log import Columns, LoopLog
from ctrl.realtime.settings import LoopSettings
from ctrl.realtime.summary import LoopSummary, summary
from systems import Task
from systems.lowering import lower

__all__ = ["LoopData"]


@dataclass(frozen=True, eq=False)
class LoopData(ABC):
    """The data from which the table, the figure and the files of a run are created.

    Args:
        task, settings: of the loop.
        columns: the samples that the log holds, oldest first.
        log: with the counts of the whole run.
        fallbacks: names of the fallback controllers.
        restarts: number of controller processes that were replaced.
        estimator: its name and what its estimate is used for, in words; empty for a task without a measurement.
        stopped: by which signal or call the run was ended; empty if its duration ended.
        errors: the first error of each part that raised one, in words.
    """

    task: Task
    settings: LoopSettings
    columns: Columns
    log: LoopLog
    fallbacks: tuple[str, ...]
    restarts: int
    estimator: str
    stopped: str
    errors: tuple[str, ...]

    @cached_property
    def summary(self) -> LoopSummary:
        """The numbers of the run."""
        return summary(self.log, self.columns, self.fallbacks)

    @cached_property
    def margins(self) -> np.ndarray:
        """The task's margins of every sample that the log holds, (s, constraints), at the state that was acted on and
        the applied input; positive where a constraint is violated, NaN where it is undefined."""
        with np.errstate(all="ignore"):
            margins = lower(self.task.margin_function(), to="numpy")(self.columns.x, self.columns.u)
        return np.asarray(margins).reshape(len(self.columns.k), len(self.task.constraints))

    @cached_property
    def stage_costs(self) -> np.ndarray:
        """The task's stage cost of every sample that the log holds, (s,), at the state that was acted on."""
        x_ref, u_ref = self.task.reference.at(self.task.plant, self.columns.k)
        stage = lower(self.task.stage_cost_function(), to="numpy")
        with np.errstate(all="ignore"):
            return np.asarray(stage(self.columns.x, self.columns.u, x_ref, u_ref)[..., 0])
