"""The estimator protocol: one estimate of the state per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from ctrl.controller import Status
from systems import DimensionMismatch, InvalidValue, Task
from systems.errors import shown
from systems.signals import Signals

__all__ = ["Estimate", "Estimator", "measured_outputs"]


@final
@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimated state.

    Args:
        state: (n,), always finite.
        covariance: (n, n), of its error; None if the estimator does not compute it.
        status: SOLVED, also if nothing was measured and the state is predicted; NUMERICAL if a number that is not
            finite was left out.
        used: number of measured signals that were used.
    """

    state: np.ndarray
    covariance: np.ndarray | None
    status: Status
    used: int


@runtime_checkable
class Estimator(Protocol):
    """Estimates the state from measurements. ``update`` never raises because of numbers and never returns NaN."""

    task: Task

    def reset(self) -> None:
        """Starts a new run: discards the past."""

    def update(self, y: np.ndarray, u: np.ndarray, k: int) -> Estimate:
        """Estimates the state at sample ``k`` from ``y`` (p,), NaN where a signal is not reported; ``u`` (m,) is the
        input of the sample before, at the first sample that of the reference. Called once for each sample."""


def measured_outputs(y: Any, signals: Signals) -> np.ndarray:
    """One measurement as floats (p,), NaN where nothing was reported.

    Raises:
        InvalidValue: it holds no real numbers.
        DimensionMismatch: another shape.
    """
    array = np.asarray(y)
    if array.dtype.kind not in "fiu":
        raise InvalidValue(f"measurement y = {shown(y)}; expected real numbers: {', '.join(signals.names)}")
    if array.shape != (len(signals),):
        raise DimensionMismatch(
            f"measurement of shape {array.shape}; expected ({len(signals)},): {', '.join(signals.names)}, NaN where a "
            "signal is not reported"
        )
    values = array.astype(np.float64, copy=False)
    return np.where(np.isfinite(values), values, np.nan)
