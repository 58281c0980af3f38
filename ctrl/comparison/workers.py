"""The runs of one controller, spread over worker processes where that is faster."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ctrl.comparison.draws import Draws
from ctrl.comparison.lifeline import end_with, lifeline
from ctrl.comparison.spec import Factory
from ctrl.controller import BatchController, Controller
from ctrl.loop import simulate
from ctrl.trajectories import Trajectories, stack
from systems import Task

__all__ = ["cores", "spread"]

WATCHED = 0.2  # seconds during which cores are watched
CLOCK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100  # ticks in a second


def spread(name: str, given: Any, controller: Controller, task: Task, draws: Draws, workers: int) -> Trajectories:
    """Closed loops from all starts: in this process where the controller answers many states at once or was given
    ready-made, else in worker processes that make one each.

    Args:
        name: shown beside the bar of progress.
        given: the controller or its factory, as it was given.
        controller: the controller that was given, or the one that the factory made.
        task: the task of the runs.
        draws: initial states, disturbances and noise of the runs.
        workers: number of processes.
    """
    x0, w, noise = draws
    is_factory = isinstance(given, type) or not isinstance(given, Controller)
    alone = isinstance(controller, BatchController) or not is_factory or workers == 1 or len(x0) < 2 * workers
    with _Progress(name, len(x0)) as advance:
        if alone:
            return simulate(task, controller, x0, w, advance, noise)
        from joblib import Parallel, delayed, parallel_config

        chunks = np.array_split(np.arange(len(x0)), min(len(x0), 8 * workers))
        token = uuid.uuid4().hex
        done: dict[int, Trajectories] = {}
        ends = {"initializer": end_with, "initargs": (lifeline(),)}
        with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1, **ends):
            work = (
                delayed(_chunk)(token, i, given, task, x0[rows], w[rows], None if noise is None else noise[rows])
                for i, rows in enumerate(chunks)
            )
            with _interrupts_ignored():
                parts = Parallel(return_as="generator_unordered")(work)
            for i, part in parts:
                done[i] = part
                advance(len(part))
        return stack([done[i] for i in range(len(chunks))])


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Worker processes started inside this context inherit that interrupts from the terminal are ignored.

    Each would print a traceback of its own; one from this process, which ends them, is enough. An interrupt that comes
    inside the context is lost.
    """
    if threading.current_thread() is not threading.main_thread():  # where Python allows no change
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_BUILT: dict[str, Controller] = {}


def _chunk(
    token: str, i: int, factory: Factory, task: Task, x0: np.ndarray, w: np.ndarray, noise: np.ndarray | None
) -> tuple[int, Trajectories]:
    """Some of the runs, in a worker process, whose controller is made once and kept for later chunks."""
    if token not in _BUILT:
        _BUILT.clear()
        _BUILT[token] = factory(task)
    return i, simulate(task, _BUILT[token], x0, w, noise=noise)


class _Progress:
    """A progress bar while one controller runs; nothing if the output is not a terminal."""

    def __init__(self, name: str, runs: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        # Drawn between runs only: a thread that redraws would take time from the very steps that are timed.
        self._bar = Progress(console=console, transient=True, auto_refresh=False, disable=not console.is_terminal)
        self._task = self._bar.add_task(name, total=runs)

    def __enter__(self) -> Callable[[int], None]:
        self._bar.start()
        return self._advance

    def _advance(self, count: int) -> None:
        self._bar.advance(self._task, count)
        self._bar.refresh()

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


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
