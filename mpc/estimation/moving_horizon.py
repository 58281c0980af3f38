"""Moving horizon estimation."""

from __future__ import annotations

from time import perf_counter
from typing import final

import numpy as np

from ctrl.answers import described
from ctrl.controller import Status, sample_index
from ctrl.estimation.estimator import Estimate, measured_outputs
from ctrl.estimation.model import EstimationModel, expect_no_forecast
from ctrl.estimation.recursive import gain
from mpc.estimation.window import Record, Window
from mpc.online import LEAST, SLOWEST, check_horizon
from systems import Box, Task
from systems.arguments import expect_number, expect_whole
from systems.errors import expect, located
from systems.signals import Values

__all__ = ["MovingHorizonEstimator"]


@final
class MovingHorizonEstimator:
    """The most likely states of the last samples, given their measurements, on the nonlinear plant (Rao, Rawlings &
    Mayne, 2003).

    The arrival cost is that of the filtering scheme: the prediction of the first state of the window from the estimate
    made at the sample before, with the covariance of the extended Kalman filter. On an affine plant with Gaussian
    distributions, and without active bounds, the estimate is that of the Kalman filter.

    If the program is not solved, the extended Kalman filter computes the estimate from the previous one, and the status
    says why.

    Args:
        task: with a measurement whose signals all have noise.
        horizon: samples between the first and the last of the window.
        model_error: standard deviations per sample of additional process noise, by name of the state (others zero)
            or in order; default: none beside the task's disturbance.
        bounds: box of states in which the estimates stay; default: the task's domain. A uniform disturbance also stays
            within its support.
        max_iterations: quadratic programs of one sample.
        time_limit: seconds of one sample; default: 100 sample times and at least 60 s.

    Attributes:
        approximations: of the task, in words.

    Raises:
        NotApplicable: no measurement, or one with signals without noise.
        InvalidValue: a horizon or max_iterations below 1, a time limit that is not positive.
        UnknownName: bounds of something other than a state.
        HPIPMMissing: CasADi contains no HPIPM.
    """

    def __init__(
        self,
        task: Task,
        horizon: int = 10,
        model_error: Values = (),
        bounds: Box | None = None,
        max_iterations: int = 20,
        time_limit: float | None = None,
    ) -> None:
        check_horizon(horizon)
        if bounds is not None:
            expect(bounds, Box, "bounds", 'such as Box("tank", {"level": (0.0, 2.0)})')
        self._most = expect_whole(max_iterations, "max_iterations", least=1)
        self.model, self.task = EstimationModel(task, model_error), task
        expect_no_forecast(task, "moving horizon estimation")
        limit = max(SLOWEST * task.dt, LEAST) if time_limit is None else time_limit
        self.time_limit = float(expect_number(limit, "time_limit", above=0.0, hint="in seconds, or None"))
        self._arguments = (task, horizon, model_error, bounds, max_iterations, time_limit)
        self.horizon = horizon
        if bounds is not None:
            with located("bounds"):
                for name in bounds.bounds:
                    task.plant.state.where(name)
        self._window = Window(self.model, horizon, task.domain if bounds is None else bounds)
        linearised = () if self.model.is_affine else ("takes the arrival cost from the linearisation at the estimate",)
        self.approximations = (*linearised, *self.model.approximations)
        self.reset()

    def __repr__(self) -> str:
        name = f"{type(self).__name__}(task '{self.task.name}', horizon={self.horizon})"
        return described(name, self.approximations)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self._arguments

    def reset(self) -> None:
        """Forgets the past: a new run begins."""
        self._z, self._P = self.model.mean.copy(), self.model.covariance.copy()
        self._before, self._records = self.model.first_input, list[Record]()
        self._is_first = True

    @np.errstate(all="ignore")  # numbers that are not finite are looked for
    def update(self, y: np.ndarray, u: np.ndarray, k: int) -> Estimate:
        """The estimate at sample ``k``; see :class:`ctrl.estimation.Estimator`.

        Args:
            y: (p,), NaN where a signal is not reported. u: (m,), the input of the sample before. k: the sample.

        Raises:
            DimensionMismatch, InvalidValue: arguments of another shape or kind.
        """
        began = perf_counter()
        y, _ = measured_outputs(y, self.model.signals), sample_index(k)
        u = self.model.applied(u, self._before)
        is_predicted = self._is_first or self._predict(u)
        self._is_first, self._before = False, u
        if not is_predicted:  # the past is of no use any more
            self._records = []
        mean, covariance = self._z, self._P
        used = self._filter(y)
        status = Status.SOLVED if is_predicted and used == np.isfinite(y).sum() else Status.NUMERICAL
        self._records = [*self._records[-self.horizon :], Record(mean, covariance, u, y, self._z)]
        try:
            ended, states = self._window.solve(self._records, self._most, began + self.time_limit)
        except np.linalg.LinAlgError:
            return self._estimate(Status.NUMERICAL, used)
        if ended.status is not Status.SOLVED or not np.isfinite(states).all():
            return self._estimate(Status.NUMERICAL if ended.status is Status.SOLVED else ended.status, used)
        self._records = [r._replace(guess=z) for r, z in zip(self._records, states, strict=True)]
        self._z = states[-1].copy()
        return self._estimate(status, used)

    def _estimate(self, status: Status, used: int) -> Estimate:
        n = self.model.n
        return Estimate(self._z[:n].copy(), self._P[:n, :n].copy(), status, used)

    def _predict(self, u: np.ndarray) -> bool:
        """One sample ahead from the last estimate; whether that gave numbers."""
        after, A, Q = self.model.linearised(self._z, u, self._before)
        P = A @ self._P @ A.T + Q
        if not (np.isfinite(after).all() and np.isfinite(P).all()):
            return False
        self._z, self._P = after, 0.5 * (P + P.T)
        return True

    def _filter(self, y: np.ndarray) -> int:
        """Corrects by the extended Kalman filter; the number of signals that were used."""
        reported = np.isfinite(y)
        expected, C = self.model.read(self._z, self._before)
        cross = self._P @ C.T
        S = (C @ cross + self.model.R)[np.ix_(reported, reported)]
        if not reported.any() or not np.isfinite(S).all():
            return 0
        K = gain(cross[:, reported], S)
        z = self._z + K @ self.model.signals.deviation(np.where(reported, y, expected), expected)[reported]
        P = self._P - K @ S @ K.T
        if not (np.isfinite(z).all() and np.isfinite(P).all()):
            return 0
        self._z, self._P = z, 0.5 * (P + P.T)
        return int(reported.sum())
