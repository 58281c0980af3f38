"""Kalman filters: of affine plants, and extended to others by linearisation about the estimate."""

from __future__ import annotations

from abc import ABC
from typing import final

import numpy as np

from ctrl.controller import NotApplicable
from ctrl.estimation.recursive import RecursiveFilter

__all__ = ["ExtendedKalmanFilter", "KalmanFilter"]


class _Linearised(RecursiveFilter, ABC):
    """Carries the covariance by the derivatives of plant and measurement at the estimate."""

    def _predict(self, z: np.ndarray, P: np.ndarray, u: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        after, A, Q = self.model.linearised(z, u, self._before, k)
        P = A @ P @ A.T + Q
        return after, 0.5 * (P + P.T)

    def _expected(self, z: np.ndarray, P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y, C = self.model.read(z, self._before)
        cross = P @ C.T
        return y, cross, C @ cross


@final
class KalmanFilter(_Linearised):
    """The time-varying Kalman filter (Kalman, 1960): for an affine plant with Gaussian distributions, the mean of the
    state given all measurements.

    It starts from the task's initial distribution. Delays, sample times and drop-outs of signals are handled exactly.

    Args:
        task: with a measurement; plant and measurement affine.
        model_error: standard deviations per sample of additional process noise, by name of the state (others zero)
            or in order; default: none beside the task's disturbance.

    Attributes:
        approximations: of the task, in words.

    Raises:
        NotApplicable: plant or measurement are not affine, or there is no measurement.
    """

    def _approximations(self) -> tuple[str, ...]:
        if not self.model.is_affine:
            raise NotApplicable(
                f"task '{self.task.name}': plant or measurement are not affine, and a Kalman filter needs them to be; "
                "use ExtendedKalmanFilter(task), UnscentedKalmanFilter(task) or SteadyKalmanFilter(task)"
            )
        return ()


@final
class ExtendedKalmanFilter(_Linearised):
    """The extended Kalman filter (Simon, 2006, "Optimal State Estimation", section 13.2.3): the Kalman filter with
    derivatives at the latest estimate.

    It starts from the task's initial distribution. Delays, sample times and drop-outs of signals are handled exactly.

    Args:
        task: with a measurement.
        model_error: standard deviations per sample of additional process noise, by name of the state (others zero)
            or in order; default: none beside the task's disturbance.

    Attributes:
        approximations: of the task, in words.

    Raises:
        NotApplicable: there is no measurement.
    """

    def _approximations(self) -> tuple[str, ...]:
        return () if self.model.is_affine else ("carries the covariance by the linearisation at the estimate",)
