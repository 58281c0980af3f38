"""The state that a loop acts on: measured, or predicted where no fresh measurement has arrived."""

from __future__ import annotations

from enum import StrEnum
from typing import final

import numpy as np

from ctrl.loop import SingleStep
from ctrl.realtime.connection import Measurement, PlantConnection
from systems import Task

__all__ = ["Freshness", "StateEstimate"]


class Freshness(StrEnum):
    """The state of the measurement of a sample."""

    FRESH = "fresh"
    STALE = "stale"  # its sequence number or its time stamp has not grown
    MISSING = "missing"  # there was none
    INVALID = "invalid"  # it is not finite, or of the wrong shape


@final
class StateEstimate:
    """Reads the plant, detects stale and invalid measurements, and replaces them by predictions of the nominal model.

    After ``watchdog`` samples without a fresh measurement any sequence number is accepted, because a plant that was
    restarted counts from the beginning.

    Args:
        task: with the nominal model.
        watchdog: samples without a fresh measurement from which on the estimate is not to be used.

    Attributes:
        x: (n,), the state at the present sample; NaN before the first measurement and where the prediction diverges.
        samples_lost: samples since the last fresh measurement.
        error: the first one that the plant raised; empty for none.
    """

    def __init__(self, task: Task, watchdog: int) -> None:
        self._step = SingleStep(task.dynamics)
        self._undisturbed = np.zeros(len(task.plant.disturbance))
        self._watchdog = watchdog
        self.x = np.full(len(task.plant.state), np.nan)
        self.samples_lost, self.error = watchdog, ""
        self._sequence, self._time = -1, 0

    @property
    def is_lost(self) -> bool:
        """Whether the watchdog has expired, or no state is known."""
        return self.samples_lost >= self._watchdog or not np.isfinite(self.x).all()

    def predict(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The nominal successor of x (n,) under u (m,); NaN where it is not finite."""
        with np.errstate(all="ignore"):
            after = self._step(x, u, self._undisturbed)
        return after.copy() if np.isfinite(after).all() else np.full_like(x, np.nan)

    def update(self, plant: PlantConnection, u: np.ndarray, samples: int) -> Freshness:
        """Takes the measurement of a new sample.

        Args:
            plant: to be read.
            u: (m,), the input applied since the last sample.
            samples: passed since then, at least 1.
        """
        freshness, x = self._read(plant)
        if freshness is Freshness.FRESH:
            self.x, self.samples_lost = x, 0
            return freshness
        self.samples_lost += samples
        for _ in range(samples if self.samples_lost < self._watchdog else 0):
            self.x = self.predict(self.x, u)
        return freshness

    def _read(self, plant: PlantConnection) -> tuple[Freshness, np.ndarray]:
        try:
            read = plant.read()
            if read is None:
                return Freshness.MISSING, self.x
            stamp = (int(read.sequence), int(read.time)) if isinstance(read, Measurement) else None
            x = np.array(read.x if isinstance(read, Measurement) else read, dtype=float)
        except Exception as error:  # the user's own code, or a device
            self.error = self.error or f"read: {type(error).__name__}: {error}"
            return Freshness.MISSING, self.x
        if x.shape != self.x.shape or not np.isfinite(x).all():
            return Freshness.INVALID, self.x
        if stamp is not None:
            sequence, time = stamp
            grown = sequence > self._sequence and (time == 0 or time > self._time)
            restarted = self.samples_lost >= self._watchdog and (sequence, time) != (self._sequence, self._time)
            if not (grown or restarted):
                return Freshness.STALE, self.x
            self._sequence, self._time = sequence, time
        return Freshness.FRESH, x
