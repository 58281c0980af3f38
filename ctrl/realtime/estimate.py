"""The state that a loop acts on: measured or estimated, and predicted where no fresh measurement has arrived."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import final

import numpy as np

from ctrl.loop import SingleStep
from ctrl.realtime.asked import Report
from ctrl.realtime.connection import Measurement, PlantConnection, reported_signals
from systems import Task
from systems.forecast import known_states, with_known

__all__ = ["Freshness", "LoopEstimate", "MeasuredState"]


class Freshness(StrEnum):
    """The state of the measurement of a sample."""

    FRESH = "fresh"
    STALE = "stale"  # its sequence number or its time stamp has not grown
    MISSING = "missing"  # there was none
    INVALID = "invalid"  # it is not finite, or of the wrong shape
    EMPTY = "empty"  # outputs of which none is reported, as between two values of a slow sensor


class LoopEstimate(ABC):
    """Reads the plant, and detects stale and invalid measurements.

    After ``watchdog`` samples without a fresh measurement any sequence number is accepted, because a plant that was
    restarted counts from the beginning.

    Args:
        task: with the nominal model.
        watchdog: samples without a fresh measurement from which on the estimate is not to be used.

    Attributes:
        x: (n,), the state at the present sample; NaN before the first measurement and where the prediction diverges.
        samples_lost: samples since the last fresh measurement.
        error: the first one that the plant raised; empty for none.
        report: for controllers of measured outputs; None for other tasks, and before the first measurement.
    """

    def __init__(self, task: Task, watchdog: int) -> None:
        self._step, self._plant = SingleStep(task.dynamics), task.plant
        self._undisturbed = np.zeros((1, len(task.plant.disturbance)))
        self._shape, self._watchdog = (len(reported_signals(task)),), watchdog
        self.x = np.full(len(task.plant.state), np.nan)
        self.samples_lost, self.error = watchdog, ""
        self.report: Report | None = None
        self._sequence, self._time = -1, 0

    @property
    def is_lost(self) -> bool:
        """Whether the watchdog has expired, or no state is known."""
        return self.samples_lost >= self._watchdog or not np.isfinite(self.x).all()

    def predict(self, x: np.ndarray, u: np.ndarray, k: int) -> np.ndarray:
        """The nominal successor of x (n,) under u (m,) in sample ``k``; NaN where it is not finite."""
        with np.errstate(all="ignore"):
            after = self._step(x, u, with_known(self._plant, self._undisturbed, k)[0])
        return after.copy() if np.isfinite(after).all() else np.full_like(x, np.nan)

    def update(self, plant: PlantConnection, u: np.ndarray, k: int, samples: int) -> Freshness:
        """Takes the measurement of a new sample.

        Args:
            plant: to be read.
            u: (m,), the input applied since the last sample.
            k: the new sample. samples: passed since the last one, at least 1.
        """
        freshness, values = self._read(plant, k)
        is_heard = freshness in (Freshness.FRESH, Freshness.EMPTY)
        self.samples_lost = 0 if is_heard else self.samples_lost + samples
        self._take(values if is_heard else None, u, k, samples)
        return freshness

    @abstractmethod
    def first(self, plant: PlantConnection) -> bool:
        """Whether the plant can be read before the first sample; ``x`` and ``report`` are then those of sample 0."""

    @abstractmethod
    def _take(self, values: np.ndarray | None, u: np.ndarray, k: int, samples: int) -> None:
        """Updates ``x`` and ``report`` by what was measured, None for nothing; arguments as of :meth:`update`."""

    @abstractmethod
    def _checked(self, values: np.ndarray, k: int) -> Freshness:
        """FRESH, INVALID or EMPTY, of values of the right shape at sample ``k``, which may be completed in place."""

    def _read(self, plant: PlantConnection, k: int) -> tuple[Freshness, np.ndarray]:
        try:
            read = plant.read()
            if read is None:
                return Freshness.MISSING, self.x
            stamp = (int(read.sequence), int(read.time)) if isinstance(read, Measurement) else None
            values = np.array(read.x if isinstance(read, Measurement) else read, dtype=float)
        except Exception as error:  # the user's own code, or a device
            self.error = self.error or f"read: {type(error).__name__}: {error}"
            return Freshness.MISSING, self.x
        if values.shape != self._shape or (checked := self._checked(values, k)) is Freshness.INVALID:
            return Freshness.INVALID, self.x
        if stamp is not None:
            sequence, time = stamp
            grown = sequence > self._sequence and (time == 0 or time > self._time)
            restarted = self.samples_lost >= self._watchdog and (sequence, time) != (self._sequence, self._time)
            if not (grown or restarted):
                return Freshness.STALE, self.x
            self._sequence, self._time = sequence, time
        return checked, values

    def _read_early(self, plant: PlantConnection) -> np.ndarray | None:
        """Usable values before the first sample; None if there are none yet, without a trace: sample 0 reads again."""
        before = self._sequence, self._time, self.error
        freshness, values = self._read(plant, 0)
        self._sequence, self._time, self.error = before
        return values if freshness in (Freshness.FRESH, Freshness.EMPTY) else None


@final
class MeasuredState(LoopEstimate):
    """The state as the plant reports it, predicted by the nominal model where it does not.

    A signal that is known ahead and that the plant does not report (NaN) has its forecast value.

    Args:
        task: without a measurement. watchdog: as of :class:`LoopEstimate`.
    """

    def __init__(self, task: Task, watchdog: int) -> None:
        super().__init__(task, watchdog)
        self._known = known_states(task.plant)

    def first(self, plant: PlantConnection) -> bool:
        values = self._read_early(plant)
        if values is not None:
            self.x = values
        return values is not None

    def _take(self, values: np.ndarray | None, u: np.ndarray, k: int, samples: int) -> None:
        if values is not None:
            self.x = values
            return
        for left_out in range(k - samples, k if self.samples_lost < self._watchdog else k - samples):
            self.x = self.predict(self.x, u, left_out)

    def _checked(self, values: np.ndarray, k: int) -> Freshness:
        if self._plant.forecast is not None:
            known = values[self._known]
            values[self._known] = np.where(np.isnan(known), self._plant.forecast.at(k), known)
        return Freshness.FRESH if np.isfinite(values).all() else Freshness.INVALID
