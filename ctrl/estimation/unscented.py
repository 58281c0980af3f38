"""The unscented Kalman filter."""

from __future__ import annotations

from typing import final

import casadi as ca
import numpy as np

from ctrl.estimation.recursive import RecursiveFilter
from systems import Task
from systems.signals import Values

__all__ = ["UnscentedKalmanFilter"]


@final
class UnscentedKalmanFilter(RecursiveFilter):
    """Propagates mean and covariance by 2 n + 1 sigma points through the equations (Julier & Uhlmann, 2004,
    "Unscented filtering and nonlinear estimation", equations 12 to 15, with kappa = max(0, 3 - n)).

    The disturbance enters the prediction through the derivatives at the mean. No other derivatives of the plant are
    used, so kinks of plant and measurement are handled exactly.

    Args:
        task: with a measurement.
        model_error: standard deviations per sample of additional process noise, by name of the state (others zero)
            or in order; default: none beside the task's disturbance.

    Attributes:
        approximations: of the task, in words.

    Raises:
        NotApplicable: there is no measurement.
    """

    def __init__(self, task: Task, model_error: Values = ()) -> None:
        super().__init__(task, model_error)
        model, size = self.model, self.model.size
        kappa = max(0.0, 3.0 - size)
        self._spread = np.sqrt(size + kappa)
        self._weights = np.full(2 * size + 1, 0.5 / (size + kappa))
        self._weights[0] = kappa / (size + kappa)
        count = len(self._weights)
        z, u, v, w = (ca.SX.sym("z", size, count), *model.F.sx_in()[1:])
        columns = ca.horzsplit(z)
        forward = ca.densify(ca.horzcat(*(model.F(c, u, v, w) for c in columns)))
        self._forward = ca.Function("forward", [z, u, v, w], [forward])
        self._backward = ca.Function("backward", [z, v], [ca.horzcat(*(model.H(c, v) for c in columns))])

    def _approximations(self) -> tuple[str, ...]:
        return () if self.model.is_affine else ("carries the covariance by points about the estimate",)

    def _points(self, z: np.ndarray, P: np.ndarray) -> np.ndarray:
        """(size, 2 size + 1), the mean first."""
        values, vectors = np.linalg.eigh(P)
        root = self._spread * vectors * np.sqrt(np.maximum(values, 0.0))
        return np.hstack([z[:, None], z[:, None] + root, z[:, None] - root])

    def _predict(self, z: np.ndarray, P: np.ndarray, u: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        points = np.array(self._forward(self._points(z, P), u, self._before, self.model.acting(k)))
        mean = points @ self._weights
        apart = points - mean[:, None]
        P = (apart * self._weights) @ apart.T + self.model.linearised(z, u, self._before, k)[2]
        return mean, 0.5 * (P + P.T)

    def _expected(self, z: np.ndarray, P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        points = self._points(z, P)
        outputs = np.array(self._backward(points, self._before))
        # Of periodic outputs those next to that of the mean.
        apart = self.model.signals.deviation(outputs.T, outputs[:, 0])
        offset = self._weights @ apart
        apart = apart - offset
        cross = ((points - z[:, None]) * self._weights) @ apart
        return outputs[:, 0] + offset, cross, (apart.T * self._weights) @ apart
