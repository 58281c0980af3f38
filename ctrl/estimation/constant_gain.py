"""Observers with a constant gain: the steady-state Kalman filter, and the Luenberger observer by pole placement."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import final

import numpy as np
from scipy import linalg

from ctrl.answers import described
from ctrl.controller import NotApplicable, Status, sample_index
from ctrl.estimation.estimator import Estimate, measured_outputs
from ctrl.estimation.model import EstimationModel, expect_no_forecast
from systems import InvalidValue, Task
from systems.errors import shown
from systems.signals import Values

__all__ = ["LuenbergerObserver", "SteadyKalmanFilter"]


class _ConstantGain:
    """x <- x + L (y - h(x)) with a constant L, and the plant's own equations in between.

    Where a signal is not reported, or a number is not finite, the estimate is the prediction.
    """

    L: np.ndarray
    covariance: np.ndarray | None
    approximations: tuple[str, ...]

    def __init__(self, task: Task, model_error: Values) -> None:
        self.model = EstimationModel(task, model_error)
        expect_no_forecast(task, "a constant gain")
        self.task = task
        if (self.model.measurement.periods > 1).any():
            raise NotApplicable(
                f"task '{task.name}': signals are measured every few samples, for which there is no constant gain; use "
                "KalmanFilter(task) or ExtendedKalmanFilter(task)"
            )
        self.approximations = (
            *(() if self.model.is_affine else ("takes its gain from the linearisation at the reference",)),
            *(("predicts at a sample where a value is lost",) if self.model.measurement.dropouts.any() else ()),
        )

    def __repr__(self) -> str:
        return described(f"{type(self).__name__}(task '{self.task.name}')", self.approximations)

    def reset(self) -> None:
        """Forgets the past: a new run begins."""
        self._z, self._before, self._is_first = self.model.mean.copy(), self.model.first_input, True

    @np.errstate(all="ignore")
    def update(self, y: np.ndarray, u: np.ndarray, k: int) -> Estimate:
        """The estimate at sample ``k``; see :class:`ctrl.estimation.Estimator`.

        Args:
            y: (p,), NaN where a signal is not reported. u: (m,), the input of the sample before. k: the sample.

        Raises:
            DimensionMismatch, InvalidValue: arguments of another shape or kind.
        """
        y, _ = measured_outputs(y, self.model.signals), sample_index(k)
        u = self.model.applied(u, self._before)
        status, used = Status.SOLVED, 0
        if not self._is_first:
            after = self.model.linearised(self._z, u, self._before)[0]
            if np.isfinite(after).all():
                self._z = after
            else:
                status = Status.NUMERICAL
        self._is_first, self._before = False, u
        if np.isfinite(y).all():
            expected, _ = self.model.read(self._z, u)
            corrected = self._z + self.L @ self.model.signals.deviation(y, expected)
            if np.isfinite(corrected).all():
                self._z, used = corrected, len(y)
            else:
                status = Status.NUMERICAL
        return Estimate(self._z[: self.model.n].copy(), self.covariance, status, used)


@final
class SteadyKalmanFilter(_ConstantGain):
    """The Kalman filter with the gain that it has after infinitely many samples, from the algebraic Riccati equation
    (Anderson & Moore, 1979, "Optimal Filtering", chapter 4): with an LQR, the linear-quadratic-Gaussian regulator.

    Of a plant that is not affine the gain is that of its linearisation at the reference; the prediction is the plant's.

    Args:
        task: with a measurement whose noise excites every output, and a constant reference.
        model_error: standard deviations per sample of additional process noise, by name of the state (others zero)
            or in order; default: none beside the task's disturbance.

    Attributes:
        L: (size, p), the gain. P: (size, size), the covariance of the prediction.
        approximations: of the task, in words.

    Raises:
        NotApplicable: the Riccati equation has no stabilising solution: a mode that is not measured does not decay, or
            one that nothing excites is not damped; a singular covariance of the noise; signals that are not measured
            at every sample; no measurement.
    """

    def __init__(self, task: Task, model_error: Values = ()) -> None:
        super().__init__(task, model_error)
        self.model_error = model_error
        A, C, Q = self.model.at_reference
        if np.linalg.matrix_rank(self.model.R) < len(self.model.R):
            raise NotApplicable(
                f"task '{task.name}': a measurement without noise has no steady Kalman gain; give every signal noise, "
                "or use KalmanFilter(task)"
            )
        try:
            P = linalg.solve_discrete_are(A.T, C.T, Q, self.model.R)
            L = np.linalg.solve(C @ P @ C.T + self.model.R, C @ P).T
            radius = np.abs(np.linalg.eigvals(A - A @ L @ C)).max()
        except (np.linalg.LinAlgError, ValueError) as error:
            raise NotApplicable(self._why(A, C, str(error))) from error
        if not radius < 1:
            raise NotApplicable(self._why(A, C, "the filter is not stable"))
        self.L, self.P = L, 0.5 * (P + P.T)
        posterior = self.P - L @ C @ self.P
        self.covariance = 0.5 * (posterior + posterior.T)[: self.model.n, : self.model.n]
        self.approximations += self.model.approximations
        if task.initial.covariance(task.plant.state).any():
            self.approximations += ("takes the uncertainty of the start for that of the steady state",)
        self.reset()

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.task, self.model_error)

    def _why(self, A: np.ndarray, C: np.ndarray, reason: str) -> str:
        """Names the modes that no signal shows (Hautus test), the usual reason."""
        values, size = np.linalg.eigvals(A), len(A)
        lost = [
            v for v in values[np.abs(values) >= 1 - 1e-9]
            if np.linalg.matrix_rank(np.vstack([v * np.eye(size) - A, C]), tol=1e-9) < size
        ]  # fmt: skip
        subject = f"task '{self.task.name}'"
        if lost:
            shown = ", ".join(f"{v:.4g}" for v in lost)
            return f"{subject}: the modes {shown} do not decay, and no signal shows them; measure another output"
        return (
            f"{subject}: no steady Kalman gain ({reason}); where nothing disturbs the plant, give model_error, or use "
            "ExtendedKalmanFilter(task), which starts from the initial distribution"
        )


@final
class LuenbergerObserver(_ConstantGain):
    """An observer with prescribed poles of its error dynamics (Luenberger, 1971), at the linearisation at the
    reference.

    The error of the estimate evolves as e+ = (I - L C) A e, whose eigenvalues are the poles.

    Args:
        task: with a measurement.
        poles: n numbers within the unit circle, complex ones in conjugate pairs; a value no more often than there are
            signals.

    Attributes:
        L: (n, p), the gain.
        approximations: of the task, in words.

    Raises:
        InvalidValue: not n poles, or one outside the unit circle.
        NotApplicable: the plant is not observable, signals are delayed or not measured at every sample, no measurement.
    """

    def __init__(self, task: Task, poles: Sequence[complex]) -> None:
        super().__init__(task, ())
        if self.model.size > self.model.n:
            raise NotApplicable(
                f"task '{task.name}': measurements with a delay; use KalmanFilter(task), which handles them"
            )
        try:
            self.poles = tuple(complex(pole) for pole in poles if not isinstance(pole, (bool, str)))
        except (TypeError, ValueError) as error:
            raise InvalidValue(
                f"poles = {shown(poles)}; expected {self.model.n} numbers within the unit circle"
            ) from error
        if len(self.poles) != self.model.n or not max(map(abs, self.poles)) < 1:
            raise InvalidValue(
                f"poles = {shown(poles)}; expected {self.model.n} numbers within the unit circle, one for each state"
            )
        from scipy import signal  # takes a second to import, with all of scipy.stats

        A, C, _ = self.model.at_reference
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that the placement did not converge: the poles are compared instead
                L = signal.place_poles(A.T, (C @ A).T, self.poles).gain_matrix.T
        except (ValueError, np.linalg.LinAlgError) as error:
            raise NotApplicable(f"task '{task.name}': no observer has the poles {shown(poles)}: {error}") from error
        self.L, self.covariance = L, None
        placed = np.sort_complex(np.linalg.eigvals(A - L @ C @ A))
        if not np.allclose(placed, np.sort_complex(np.array(self.poles)), atol=1e-3):
            raise NotApplicable(
                f"task '{task.name}': no observer has the poles {shown(poles)}; every mode must show in a signal"
            )
        self.reset()

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.task, self.poles)
