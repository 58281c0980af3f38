"""The state that a loop estimates from measured outputs."""

from __future__ import annotations

from typing import final

import numpy as np

from ctrl.controller import expect_sample_time
from ctrl.estimation import standard_estimator
from ctrl.estimation.estimator import Estimator
from ctrl.realtime.asked import LONGEST, Report
from ctrl.realtime.connection import PlantConnection
from ctrl.realtime.estimate import Freshness, LoopEstimate
from systems import InvalidValue, Task
from systems.errors import shown
from systems.measurement import Measurement

__all__ = ["EstimatedState", "longest_silences"]

_RARE = 1e-12  # probability of lost values in a row below which these are a fault rather than chance


def longest_silences(measurement: Measurement, watchdog: int | None, default: int) -> np.ndarray:
    """Samples (p,) without a value from which on each signal counts as silent.

    Args:
        measurement: which declares sample times and drop-outs.
        watchdog: samples, for all signals alike; None for ``default`` values of each signal, or as many as are never
            lost one after the other by chance.
        default: number of values.

    Raises:
        InvalidValue: a watchdog that is shorter than the time between two values.
    """
    periods = measurement.periods
    if watchdog is None:
        with np.errstate(divide="ignore"):
            by_chance = np.ceil(np.log(_RARE) / np.log(measurement.dropouts))
        return np.asarray(periods * np.maximum(by_chance, default).astype(int))
    if (periods >= watchdog).any():
        name = measurement.signals.names[int(periods.argmax())]
        raise InvalidValue(
            f"watchdog_seconds is {watchdog} samples, and '{name}' is measured every {periods.max()} samples; expected "
            f"more than {periods.max()} samples"
        )
    return np.full(len(periods), watchdog)


@final
class EstimatedState(LoopEstimate):
    """The estimate from measured outputs; the estimator is given every sample and the input that was applied.

    A sample without a report, or one that is stale or invalid, is one in which nothing was measured. From the first
    report on, a signal without a value for too long makes the estimate unusable, too.

    Args:
        task: with a measurement.
        watchdog: as of :class:`LoopEstimate`.
        silences: (p,), samples without a value of a signal from which on the estimate is not to be used.
        estimator: of the task; default: that of comparisons, :func:`ctrl.estimation.standard_estimator`.

    Attributes:
        estimator: in use.

    Raises:
        InvalidValue: not an estimator, or one of other outputs or another state.
    """

    def __init__(self, task: Task, watchdog: int, silences: np.ndarray, estimator: Estimator | None = None) -> None:
        super().__init__(task, watchdog)
        assert task.measurement is not None
        self.estimator = standard_estimator(task) if estimator is None else _fitting(estimator, task)
        self._first_input = task.reading.start[1]
        self._silences = silences
        self._ages = -task.measurement.delays
        self._is_heard = False

    @property
    def is_lost(self) -> bool:
        return super().is_lost or bool((self._ages >= self._silences).any())

    def first(self, plant: PlantConnection) -> bool:
        values = self._read_early(plant)
        if values is not None:
            self._estimate(values, self._first_input, 0, 1)
            self.estimator.reset()
            self.report = Report(values, self._first_input)
        return values is not None and bool(np.isfinite(self.x).all())

    def _take(self, values: np.ndarray | None, u: np.ndarray, k: int, samples: int) -> None:
        if values is None and not self._is_heard:
            self.report = None  # that of before the run
            return
        y = np.full(self._shape, np.nan) if values is None else values
        samples = min(samples, LONGEST) if self._is_heard else 1  # before the first report there was nothing to predict
        self._ages = np.where(np.isfinite(y), 0, self._ages + samples)
        self._is_heard = True
        u = self._first_input if k == 0 else u
        self.report = Report(y, u)
        self._estimate(y, u, k, samples)

    def _estimate(self, y: np.ndarray, u: np.ndarray, k: int, samples: int) -> None:
        try:
            for left_out in range(k - samples + 1, k):
                self.estimator.update(np.full_like(y, np.nan), u, left_out)
            self.x = np.array(self.estimator.update(y, u, k).state, dtype=float)
        except Exception as error:  # somebody else's estimator must not end the loop
            self.error = self.error or f"estimator: {type(error).__name__}: {error}"
            self.x = np.full_like(self.x, np.nan)

    def _checked(self, values: np.ndarray, k: int) -> Freshness:
        values[~np.isfinite(values)] = np.nan
        return Freshness.EMPTY if np.isnan(values).all() else Freshness.FRESH


def _fitting(estimator: Estimator, task: Task) -> Estimator:
    if isinstance(estimator, type) or not isinstance(estimator, Estimator):
        raise InvalidValue(f"estimator = {shown(estimator)}; expected an estimator, such as KalmanFilter(task)")
    own, given = estimator.task, task.measurement
    assert given is not None
    if own.measurement is None or own.measurement.signals != given.signals or own.plant.state != task.plant.state:
        raise InvalidValue(
            f"the estimator {estimator!r} was made for other signals than those of task '{task.name}'; make it from "
            "this task"
        )
    expect_sample_time(task, estimator)
    return estimator
