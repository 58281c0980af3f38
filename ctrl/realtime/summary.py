"""Summary statistics of the log of a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import final

import numpy as np

from ctrl.controller import Source, Status
from ctrl.realtime.estimate import Freshness
from ctrl.realtime.log import Applied, Columns, LoopLog

__all__ = ["LoopSummary", "Quantiles", "WorstSecond", "summary"]

_SECOND = 1_000_000_000


@final
@dataclass(frozen=True)
class Quantiles:
    """Quantiles of a duration over samples, in seconds; NaN where there are none.

    Args:
        p50, p99, p999, worst: half, 99 %, 99.9 % and all of the durations are at most this.
    """

    p50: float
    p99: float
    p999: float
    worst: float

    @classmethod
    def of(cls, nanoseconds: np.ndarray) -> Quantiles:
        if not len(nanoseconds):
            return cls(*[float("nan")] * 4)
        return cls(*(1e-9 * np.quantile(nanoseconds, (0.5, 0.99, 0.999, 1.0), method="higher")).tolist())


@final
@dataclass(frozen=True)
class WorstSecond:
    """The second of the run with the most missed deadlines; among equals, that with the slowest response.

    Args:
        start: seconds since the first sample. samples, missed: in this second, ``missed`` with those left out.
        response: the slowest, in seconds.
    """

    start: float
    samples: int
    missed: int
    response: float


@final
@dataclass(frozen=True)
class LoopSummary:
    """Numbers of a loop.

    Args:
        samples, skipped: number of samples that were run, and left out because the one before took too long.
        missed: deadlines: samples without the controller's answer in time, and those left out.
        held: number of samples that the quantiles are about, the last ones of the run.
        latency: from when a sample is due to when it begins: the jitter of the operating system.
        period: from the beginning of a sample to that of the next.
        step: from asking the controller to its answer, or to the end of the wait.
        computation: what the controller itself reports to have taken.
        response: from when a sample is due to its input being written.
        worst_second: None for an empty log.
        measurements, inputs, statuses, sources, fallbacks: number of samples by word, without zeros.
    """

    samples: int
    skipped: int
    missed: int
    held: int
    latency: Quantiles
    period: Quantiles
    step: Quantiles
    computation: Quantiles
    response: Quantiles
    worst_second: WorstSecond | None
    measurements: dict[str, int]
    inputs: dict[str, int]
    statuses: dict[str, int]
    sources: dict[str, int]
    fallbacks: dict[str, int]


def summary(log: LoopLog, columns: Columns, fallbacks: Sequence[str]) -> LoopSummary:
    """Summarises a log.

    Args:
        log: gives the counts. columns: of the log; give the times. fallbacks: names of the fallback controllers.
    """
    due, woke, asked, answered, written = columns.times.T
    is_answered = answered > asked
    words: list[Sequence[str | StrEnum]] = [tuple(Freshness), tuple(Applied), tuple(Status), tuple(Source)]
    counts = [
        {str(word): int(n) for word, n in zip(names, row, strict=False) if n}
        for names, row in zip(words, log.counts, strict=True)
    ]
    chosen, number = np.unique(columns.codes[:, 4], return_counts=True)
    return LoopSummary(
        log.samples,
        log.skipped,
        log.missed + log.skipped,
        len(columns.k),
        Quantiles.of(woke - due),
        Quantiles.of(np.diff(woke)),
        Quantiles.of((answered - asked)[is_answered]),
        Quantiles.of(columns.took[columns.took > 0]),
        Quantiles.of(written - due),
        _worst_second(columns),
        counts[0],
        counts[1],
        counts[2],
        counts[3],
        {fallbacks[i]: int(n) for i, n in zip(chosen, number, strict=True) if i >= 0},
    )


def _worst_second(columns: Columns) -> WorstSecond | None:
    if not len(columns.k):
        return None
    due, _, _, _, written = columns.times.T
    first = int(due[0])
    second = (due - first) // _SECOND
    missed, samples, response = (np.zeros(int(second[-1]) + 1, dtype=np.int64) for _ in range(3))
    np.add.at(missed, second, columns.codes[:, 5] + columns.skipped)
    np.add.at(samples, second, 1)
    np.maximum.at(response, second, written - due)
    worst = int(np.lexsort((response, missed))[-1])
    return WorstSecond(1e-9 * first + worst, int(samples[worst]), int(missed[worst]), 1e-9 * float(response[worst]))
