"""The runs of one controller: in this process where that is faster or needed, else as cells of an engine."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from ctrl.cells import Engine, Here
from ctrl.comparison.draws import Draws
from ctrl.comparison.spec import Factory
from ctrl.controller import BatchController, Controller, NotApplicable
from ctrl.loop import one_by_one, simulate
from ctrl.trajectories import Trajectories, stack
from systems import Task

__all__ = ["CellFailure", "RunCell", "Work", "cores"]

WATCHED = 0.2  # seconds during which cores are watched
CLOCK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100  # ticks in a second
CELLS = 64  # of one controller, at most, unless there are more workers than that
_LOADING = 2.0  # seconds of a first run within which loading and compiling may be most of it
_BUILT: dict[str, Controller] = {}

Keep = Callable[[np.ndarray, Trajectories], None]
"""Takes the numbers of runs that have ended, and the runs."""


class CellFailure(Exception):
    """A run ended with an error, in words."""


@final
@dataclass(frozen=True)
class RunCell:
    """Some of a controller's runs, in a process whose controller is made once and kept for later cells.

    Args:
        token: of the comparison and the controller in it.
        factory: makes the controller.
        task: of the runs.
        draws: what the runs meet.
    """

    token: str
    factory: Factory
    task: Task
    draws: Draws

    def __call__(self) -> Trajectories:
        if self.token not in _BUILT:
            _BUILT.clear()
            _BUILT[self.token] = self.factory(self.task)
        return simulate(self.task, _BUILT[self.token], **self.draws.arguments)


@final
class Work:
    """The runs of one controller, of which some may have ended before.

    Args:
        given: the controller or its factory, as it was given.
        controller: the controller that was given, or the one that the factory made.
        task: the task of the runs.
        draws: what the runs meet.
        rows: numbers of the runs that have ended before.
        runs: those runs; None if there are none.
        keep: told of every run that ends.
    """

    def __init__(
        self, given: Any, controller: Controller, task: Task, draws: Draws, rows: np.ndarray,
        runs: Trajectories | None, keep: Keep,
    ) -> None:  # fmt: skip
        self._given, self._controller, self._task, self._draws = given, controller, task, draws
        self._keep = keep
        # One batch is rounded as a whole, so a part of one that was kept is not used.
        self._is_batch = isinstance(controller, BatchController)
        usable = runs is not None and not (self._is_batch and len(rows) < self.total)
        self._ended = [(rows, runs)] if usable and runs is not None else []
        self._missing = np.setdiff1d(np.arange(self.total), rows) if usable else np.arange(self.total)
        self._token = uuid.uuid4().hex

    @property
    def done(self) -> int:
        """Number of runs that have ended."""
        return self.total - len(self._missing)

    @property
    def total(self) -> int:
        """Number of runs in all."""
        return len(self._draws.starts)

    def first(self, advance: Callable[[int], None]) -> float:
        """Runs all of a batch, else the first run that is missing, and a second one where the first may have spent most
        of its time on what is loaded and compiled once.

        Args:
            advance: told the number of runs that ended.

        Returns:
            About the seconds that the others will take in one process.
        """
        if not len(self._missing):
            return 0.0
        seconds = self._timed(advance)
        if len(self._missing) and seconds < _LOADING:
            seconds = self._timed(advance)
        return seconds * len(self._missing)

    def rest(self, engine: Engine, advance: Callable[[int], None]) -> Trajectories:
        """Runs what is missing, and gives all.

        Args:
            engine: that runs the cells of a controller given as a factory; others run in this process.
            advance: told the number of runs that ended.

        Raises:
            CellFailure: a run ended with an error.
        """
        missing = self._missing
        is_factory = isinstance(self._given, type) or not isinstance(self._given, Controller)
        alone = not is_factory or isinstance(engine, Here) or len(missing) + self.done < 2 * engine.workers
        if alone and len(missing):
            self._here(missing, advance)
        elif len(missing):
            parts = np.array_split(missing, min(len(missing), max(CELLS, 2 * engine.workers)))
            cells = [RunCell(self._token, self._given, self._task, self._draws.of(rows)) for rows in parts]
            with closing(engine.run(cells)) as results:
                for ended in results:
                    if ended.skipped:
                        raise NotApplicable(ended.skipped)
                    if ended.failed:
                        raise CellFailure(ended.failed)
                    self._note(parts[ended.index], ended.value)
                    advance(len(parts[ended.index]))
        rows = np.concatenate([rows for rows, _ in self._ended])
        together = stack([runs for _, runs in self._ended])
        return together.of(np.argsort(rows))

    def _timed(self, advance: Callable[[int], None]) -> float:
        """Seconds of one run, or of the batch."""
        began = time.perf_counter()
        self._here(self._missing if self._is_batch else self._missing[:1], advance)
        return time.perf_counter() - began

    def _here(self, rows: np.ndarray, advance: Callable[[int], None]) -> None:
        drawn = self._draws.of(rows).arguments
        if self._is_batch:
            self._note(rows, simulate(self._task, self._controller, progress=advance, **drawn))
            return
        for row, run in zip(rows, one_by_one(self._task, self._controller, **drawn), strict=True):
            self._note(np.array([row]), run)
            advance(1)

    def _note(self, rows: np.ndarray, runs: Trajectories) -> None:
        self._ended.append((rows, runs))
        self._missing = np.setdiff1d(self._missing, rows)
        self._keep(rows, runs)


def cores() -> int:
    """Number of processor cores that this process may use and on which nothing else runs, at least 1.

    A worker that shares a core with another program makes the comparison no shorter, and its times of a step too long.
    Where the system does not tell what runs, all cores count.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    before = _idle_seconds()
    time.sleep(WATCHED)
    after = _idle_seconds()
    busy = {core for core in allowed & before.keys() & after.keys() if after[core] - before[core] < 0.5 * WATCHED}
    return max(1, len(allowed) - len(busy))


def _idle_seconds() -> dict[int, float]:
    """How long each core of a Linux system has been idle."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
        cores = [line.split() for line in lines if re.match(r"cpu\d", line)]
        return {int(name[3:]): (int(idle) + int(waits)) / CLOCK for name, _, _, _, idle, waits, *_ in cores}
    except (OSError, ValueError):
        return {}
