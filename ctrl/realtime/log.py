"""The log of each sample, in arrays that are allocated beforehand, without files or growth."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, final

import numpy as np

__all__ = ["Applied", "Columns", "LoopLog", "SampleTimes"]


class Applied(StrEnum):
    """The origin of the applied input."""

    CONTROLLER = "controller"
    LATE = "late"  # of the controller, after its time budget
    HELD = "held"  # the input before
    FALLBACK = "fallback"
    SAFE = "safe"


class SampleTimes(NamedTuple):
    """Instants of a sample in nanoseconds of the loop's clock.

    Args:
        due: when it should have begun. woke: when it did.
        asked, answered: when the controller was asked and its answer, or the end of the wait, had come; both
            equal to ``woke`` if it was not asked.
        written: when the input had been written.
    """

    due: int
    woke: int
    asked: int
    answered: int
    written: int


class Columns(NamedTuple):
    """Samples of a log, oldest first.

    Args:
        k: (s,), numbers. times: (s, 5), see :class:`SampleTimes`, relative to the first sample of the run.
        took: (s,), nanoseconds that the controller computed; 0 for no answer.
        codes: (s, 6): positions in ``Freshness``, ``Applied``, ``Status``, ``Source`` and of the fallback controller,
            -1 for none; and whether there was no answer of the controller in time.
        skipped: (s,), samples left out before this one. iterations: (s,).
        x: (s, n), the state that was acted on, measured or estimated. u: (s, m), the input that was applied.
        y: (s, p), the outputs of a task with a measurement, NaN where a signal was not reported; else (s, 0).
    """

    k: np.ndarray
    times: np.ndarray
    took: np.ndarray
    codes: np.ndarray
    skipped: np.ndarray
    iterations: np.ndarray
    x: np.ndarray
    u: np.ndarray
    y: np.ndarray


@final
class LoopLog:
    """A ring buffer of samples; the oldest are overwritten. One thread writes, others may read.

    Args:
        capacity: number of samples. states, inputs, outputs: their numbers.

    Attributes:
        samples: written in all. skipped: samples left out in all. missed: samples without an answer in time, in all.
        counts: (4, 16), how often each position of the first four columns of ``codes`` occurred, -1 in the last column.
    """

    def __init__(self, capacity: int, states: int, inputs: int, outputs: int = 0) -> None:
        self._columns = Columns(
            np.zeros(capacity, dtype=np.int64),
            np.zeros((capacity, 5), dtype=np.int64),
            np.zeros(capacity, dtype=np.int64),
            np.zeros((capacity, 6), dtype=np.int8),
            np.zeros(capacity, dtype=np.int64),
            np.zeros(capacity, dtype=np.int64),
            np.zeros((capacity, states)),
            np.zeros((capacity, inputs)),
            np.zeros((capacity, outputs)),
        )
        for column in self._columns:
            column.fill(0)  # touches every page, which the kernel would otherwise hand out in the loop
        self.samples = self.skipped = self.missed = 0
        self.counts = np.zeros((4, 16), dtype=np.int64)
        self._start = 0

    @property
    def capacity(self) -> int:
        return len(self._columns.k)

    def write(
        self,
        k: int,
        times: SampleTimes,
        took: int,
        codes: tuple[int, int, int, int, int, int],
        skipped: int,
        iterations: int,
        x: np.ndarray,
        u: np.ndarray,
        y: np.ndarray | float = np.nan,
    ) -> None:
        """Adds a sample; see :class:`Columns`."""
        if self.samples == 0:
            self._start = times.due
        i, columns = self.samples % self.capacity, self._columns
        columns.k[i], columns.times[i] = k, times
        columns.times[i] -= self._start
        columns.took[i], columns.codes[i], columns.skipped[i], columns.iterations[i] = took, codes, skipped, iterations
        columns.x[i], columns.u[i], columns.y[i] = x, u, y
        for counts, code in zip(self.counts, codes, strict=False):
            counts[code] += 1
        self.skipped += skipped
        self.missed += codes[5]
        self.samples += 1

    def columns(self, last: int | None = None) -> Columns:
        """Copies of what is held, or of the last samples of it."""
        count = min(self.samples, self.capacity, self.capacity if last is None else last)
        rows = np.arange(self.samples - count, self.samples) % self.capacity
        return Columns(*(column[rows] for column in self._columns))
