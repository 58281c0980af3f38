"""Runs cells in processes of this machine with joblib."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

from ctrl.cells.engine import Cell, Ended, Engine, attempt
from ctrl.cells.lifeline import end_with, lifeline
from systems.arguments import expect_whole

__all__ = ["Processes"]


@final
class Processes(Engine):
    """Runs cells in worker processes of this machine, each with one thread; they end with this process.

    Args:
        workers: number of processes.
    """

    def __init__(self, workers: int) -> None:
        self.workers = expect_whole(workers, "workers", least=1)

    def run(self, cells: Sequence[Cell]) -> Generator[Ended, None, None]:
        from joblib import Parallel, delayed, parallel_config

        ends = {"initializer": _begin_worker, "initargs": (lifeline(),)}
        parts: Any = (_ for _ in ())
        try:
            with parallel_config("loky", n_jobs=self.workers, inner_max_num_threads=1, **ends):
                with _interrupts_held_back():
                    parts = Parallel(return_as="generator_unordered")(
                        delayed(attempt)(i, cell) for i, cell in enumerate(cells)
                    )
                # Not `yield from`, which would close the parts before the warnings are caught.
                for ended in parts:  # noqa: UP028
                    yield ended
        except BaseException:  # an interrupt, a consumer that has had enough: nobody waits for what still runs
            with warnings.catch_warnings():  # that work was cancelled is what was asked for
                warnings.simplefilter("ignore", UserWarning)
                parts.close()  # joblib kills its workers
            raise


def _begin_worker(path: str) -> None:
    """A worker leaves interrupts from the terminal to the process that started it, and ends after that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(path)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Worker processes started inside this context inherit that interrupts from the terminal do not reach them: each
    would print a traceback of its own. One that comes inside the context reaches this process at the end of it.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from joblib.externals.loky.backend.resource_tracker import ensure_running

    ensure_running()  # which would let interrupts pass again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
