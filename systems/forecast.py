"""Signals known ahead as series over time, with predicted and actual values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from systems.arguments import expect_array, expect_number, expect_whole
from systems.content import ByContent
from systems.errors import DimensionMismatch, InvalidValue, expect
from systems.signals import Signal, Signals

__all__ = ["Forecast", "known_states", "with_known"]


@final
@dataclass(frozen=True, eq=False)
class Forecast(ByContent):
    """The predicted values f_k of some signals at samples, and the actual values if they differ.

    A signal whose current value s_k is known is predicted as f_(k+j) + persistence^j (s_k - f_k). After the end of a
    series its last values are held.

    Args:
        signals: names and units.
        predicted: (samples, signals).
        actual: (samples, signals), the true values when this plant is simulated; default: the predicted ones.
        persistence: the factor, from 0 to 1, by which a forecast error decays from one sample to the next;
            default: 0, errors are independent of later ones.
        preview: number of samples ahead for which predictions are also states, as learners need them; default: 0.

    Raises:
        DimensionMismatch: series of another shape.
        InvalidValue: no signal, no sample, values that are not finite, a persistence outside [0, 1].
    """

    signals: Signals
    predicted: np.ndarray
    actual: np.ndarray | None = None
    persistence: float = 0.0
    preview: int = 0

    def __post_init__(self) -> None:
        expect(self.signals, Signals, "the signals of a forecast", 'such as signals("price [EUR/kWh]")')
        if not len(self.signals):
            raise InvalidValue("a forecast of no signal; name at least one, such as signals('price [EUR/kWh]')")
        for name in ("predicted", "actual"):
            if (given := getattr(self, name)) is None:
                continue
            series = expect_array(given, f"forecast: {name}", ("samples", "signals"))
            if not len(series) or series.shape[1] != len(self.signals):
                raise DimensionMismatch(
                    f"forecast: {name} of shape {series.shape}; expected (samples, {len(self.signals)}) for "
                    f"{', '.join(self.signals.names)}, with at least one sample"
                )
            object.__setattr__(self, name, series)
        expect_number(self.persistence, "persistence", least=0.0, most=1.0, hint="a factor per sample")
        expect_whole(self.preview, "preview", least=0, unit="samples")

    @property
    def states(self) -> Signals:
        """The states of a plant with this forecast: the present values, and those that are previewed."""
        ahead = (Signal(f"{s.name}_{i}_ahead", s.unit) for s in self.signals for i in range(1, self.preview + 1))
        return Signals((*self.signals, *ahead))

    @property
    def disturbances(self) -> Signals:
        """The inputs that drive each of these states: the series, and the errors that a task draws."""
        return Signals(Signal(f"{s.name}_next", s.unit) for s in self.states)

    def at(self, k: Any) -> np.ndarray:
        """The predicted states (..., states) at the samples k (...)."""
        samples = np.asarray(k)
        return self._of(self._held(self.predicted, samples), samples, np.zeros((*samples.shape, len(self.signals))))

    def path(self, present: np.ndarray, k: int, count: int) -> np.ndarray:
        """The states (count, states) at the samples k .. k + count - 1, predicted at sample k from the present ones.

        Args:
            present: (states,), at sample k; only the signals themselves are read.
        """
        samples = k + np.arange(count)
        predicted = self._held(self.predicted, samples)
        error = present[: len(self.signals)] - predicted[0]
        error = error * float(self.persistence) ** np.arange(count)[:, None]
        return self._of(predicted + error, samples, error)

    def first(self) -> np.ndarray:
        """The states (states,) at the start of a run."""
        series = self.predicted if self.actual is None else self.actual
        return self.path(series[0], 0, 1)[0]

    def driving(self, k: Any) -> np.ndarray:
        """The values (..., states) of ``disturbances`` at the samples k (...), which lead to those at k + 1."""
        samples = np.asarray(k)
        series = self.predicted if self.actual is None else self.actual
        later = self._held(self.predicted, samples + 1)
        moved = self._held(series, samples + 1) - self.persistence * self._held(series, samples)
        ahead = [
            (self._held(self.predicted, samples + 1 + i) - self.persistence**i * later)[..., j]
            for j in range(len(self.signals))
            for i in range(1, self.preview + 1)
        ]
        return np.concatenate([moved, np.stack(ahead, axis=-1)], axis=-1) if ahead else moved

    def _of(self, values: np.ndarray, samples: np.ndarray, error: np.ndarray) -> np.ndarray:
        """The states of present values (..., signals) with this error of the forecast."""
        ahead = [
            (self._held(self.predicted, samples + i) + self.persistence**i * error)[..., j]
            for j in range(len(self.signals))
            for i in range(1, self.preview + 1)
        ]
        return np.concatenate([values, np.stack(ahead, axis=-1)], axis=-1) if ahead else values

    @staticmethod
    def _held(series: np.ndarray, samples: np.ndarray) -> np.ndarray:
        return np.asarray(series[np.clip(samples, 0, len(series) - 1)])


def known_states(plant: Any) -> np.ndarray:
    """Indices of the states of a plant that its forecast gives; empty for a plant without one."""
    if plant.forecast is None:
        return np.zeros(0, dtype=int)
    return np.array([plant.state.where(name) for name in plant.forecast.states.names], dtype=int)


def with_known(plant: Any, disturbances: np.ndarray, first: int = 0) -> np.ndarray:
    """Disturbances (..., samples, q) of the samples ``first``, ``first`` + 1, ... of a run, and what drives the known
    states of a plant at these samples."""
    if plant.forecast is None:
        return disturbances
    known = np.zeros(disturbances.shape[-2:])
    at = [plant.disturbance.where(name) for name in plant.forecast.disturbances.names]
    known[:, at] = plant.forecast.driving(first + np.arange(len(known)))
    return np.asarray(disturbances + known)
