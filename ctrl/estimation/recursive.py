"""The update of every recursive filter: predict, correct with the reported signals, and continue if numbers fail."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from ctrl.answers import described
from ctrl.controller import Status, sample_index
from ctrl.estimation.estimator import Estimate, measured_outputs
from ctrl.estimation.model import EstimationModel
from systems import Task
from systems.signals import Values

__all__ = ["RecursiveFilter", "gain"]


class RecursiveFilter(ABC):
    """Mean and covariance of the state, given all measurements so far.

    Signals that are not reported at a sample are left out; if none is reported, the estimate is the prediction. If the
    prediction is not finite, the last estimate is kept; if a correction is not finite, it is omitted; the status says
    so.

    Args:
        task: with a measurement.
        model_error: standard deviations per sample of additional process noise, by name of the state (others zero)
            or in order; default: none beside the task's disturbance.

    Attributes:
        approximations: of the task, in words.

    Raises:
        NotApplicable: a task without a measurement, or one that this filter cannot take.
    """

    def __init__(self, task: Task, model_error: Values = ()) -> None:
        self.model = EstimationModel(task, model_error)
        self.task, self.model_error = task, model_error
        self.approximations = (*self._approximations(), *self.model.approximations)
        self.reset()

    def _approximations(self) -> tuple[str, ...]:
        """What this filter takes approximately.

        Raises:
            NotApplicable: a task that it cannot take.
        """
        return ()

    def __repr__(self) -> str:
        return described(f"{type(self).__name__}(task '{self.task.name}')", self.approximations)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.task, self.model_error)

    def reset(self) -> None:
        """Forgets the past: a new run begins."""
        self._z, self._P = self.model.mean.copy(), self.model.covariance.copy()
        self._before = self.model.first_input
        self._is_first = True

    @np.errstate(all="ignore")  # numbers that are not finite are looked for
    def update(self, y: np.ndarray, u: np.ndarray, k: int) -> Estimate:
        """The estimate at sample ``k``; see :class:`ctrl.estimation.Estimator`.

        Args:
            y: (p,), NaN where a signal is not reported. u: (m,), the input of the sample before. k: the sample.

        Raises:
            DimensionMismatch, InvalidValue: arguments of another shape or kind.
        """
        y, _ = measured_outputs(y, self.model.signals), sample_index(k)
        u = self.model.applied(u, self._before)
        status = Status.SOLVED
        if not self._is_first:
            z, P = _attempt(self._predict, self._z, self._P, u, k - 1)
            if _finite(z, P):
                self._z, self._P = z, P
            else:
                status = Status.NUMERICAL
        self._is_first, self._before = False, u
        reported = np.isfinite(y)
        used = int(reported.sum())
        if used:
            z, P = _attempt(self._correct, self._z, self._P, y, reported)
            if _finite(z, P):
                self._z, self._P = z, P
            else:
                status, used = Status.NUMERICAL, 0
        n = self.model.n
        return Estimate(self._z[:n].copy(), self._P[:n, :n].copy(), status, used)

    @abstractmethod
    def _predict(self, z: np.ndarray, P: np.ndarray, u: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance at sample k + 1, from those at k, under the input u of sample k; that of the sample
        before is ``self._before``."""

    @abstractmethod
    def _expected(self, z: np.ndarray, P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The expected outputs (p,), their covariance with z (size, p), and their own without the noise (p, p)."""

    def _correct(
        self, z: np.ndarray, P: np.ndarray, y: np.ndarray, reported: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance given the signals of y that were reported."""
        expected, cross, own = self._expected(z, P)
        innovation = self.model.signals.deviation(np.where(reported, y, expected), expected)[reported]
        S = (own + self.model.R)[np.ix_(reported, reported)]
        K = gain(cross[:, reported], S)
        P = P - K @ S @ K.T
        return z + K @ innovation, 0.5 * (P + P.T)


def gain(cross: np.ndarray, S: np.ndarray) -> np.ndarray:
    """cross S^-1, with the pseudo-inverse where outputs without noise make S singular."""
    try:
        K = np.linalg.solve(S, cross.T).T
        if np.isfinite(K).all() and np.linalg.cond(S) < 1e14:
            return K
    except np.linalg.LinAlgError:
        pass
    return np.asarray(cross @ np.linalg.pinv(S, rcond=1e-14, hermitian=True))


def _attempt(function, *arguments):  # type: ignore[no-untyped-def]
    """The function's mean and covariance; NaN where it finds no numbers."""
    try:
        return function(*arguments)
    except (np.linalg.LinAlgError, ValueError, FloatingPointError):
        return np.array([np.nan]), np.array([np.nan])


def _finite(z: np.ndarray, P: np.ndarray) -> bool:
    return bool(np.isfinite(z).all() and np.isfinite(P).all())
