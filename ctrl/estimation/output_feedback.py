"""Output feedback: a state-feedback controller combined with an estimator."""

from __future__ import annotations

from time import perf_counter
from typing import final

import numpy as np

from ctrl.answers import announced
from ctrl.controller import Controller, Decision, NotApplicable, Status, expect_sample_time
from ctrl.estimation.estimator import Estimate, Estimator, measured_outputs
from ctrl.estimation.kalman import ExtendedKalmanFilter, KalmanFilter
from ctrl.estimation.model import EstimationModel
from ctrl.knowledge import knowledge_of
from ctrl.training_log import training_log
from systems import InvalidValue, Task
from systems.errors import shown

__all__ = ["OutputFeedback", "standard_estimator"]


@final
class OutputFeedback:
    """An output-feedback controller: an estimator, and a state-feedback controller that uses its estimate as the state.

    It is a :class:`ctrl.Controller` of the measured outputs, NaN where a signal is not reported. The estimator receives
    the decided input, within the limits of the nominal plant's actuators.

    Args:
        controller: of the state.
        estimator: of the controlled task, which must have a measurement.

    Attributes:
        measurement: the outputs passed to ``step``; the measurement of the estimator's task.
        estimate: the last :class:`ctrl.estimation.Estimate`; None before the first.
        approximations: those of both, in words; None where one of them does not say.
        knowledge: that of the controller; None where it does not say.
        training_log: that of the controller; None where it has none.

    Raises:
        InvalidValue: not a controller and an estimator.
        NotApplicable: a controller that takes measurements itself, or was made for another sample time.
    """

    def __init__(self, controller: Controller, estimator: Estimator) -> None:
        if isinstance(controller, type) or not isinstance(controller, Controller):
            raise InvalidValue(f"the controller = {shown(controller)}; expected a controller, such as LQR(task)")
        if isinstance(estimator, type) or not isinstance(estimator, Estimator):
            raise InvalidValue(f"the estimator = {shown(estimator)}; expected an estimator, such as KalmanFilter(task)")
        if getattr(controller, "measurement", None) is not None:
            raise NotApplicable(f"{type(controller).__name__} already uses measurements; use it as it is")
        expect_sample_time(estimator.task, controller)
        self.controller, self.estimator, self.task = controller, estimator, estimator.task
        self.measurement = estimator.task.measurement
        if self.measurement is None:
            raise NotApplicable(f"task '{self.task.name}' has no measurement, so there is nothing to estimate")
        of_both = announced(controller), announced(estimator)
        self.approximations = (
            None
            if None in of_both
            else tuple(dict.fromkeys((*(of_both[0] or ()), *(f"estimator: {text}" for text in of_both[1] or ()))))
        )
        self.knowledge = knowledge_of(controller)
        self.training_log = training_log(controller)
        self.estimate: Estimate | None = None
        self._first = self.task.reading.start[1]
        self._bounds = self.task.plant.bounds
        self._input = self._first

    def __repr__(self) -> str:
        return f"<OutputFeedback of {self.controller!r} by {self.estimator!r}>"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.controller, self.estimator)

    def reset(self) -> None:
        """Forgets the past: a new run begins."""
        self.controller.reset()
        self.rewind()

    def rewind(self) -> None:
        """Forgets what was measured and applied; the controller keeps its plan. See :class:`ctrl.Informed`."""
        self.estimator.reset()
        self.estimate, self._input = None, self._first

    def inform(self, u: np.ndarray) -> None:
        """The estimator is given the input u (m,) in place of the decided one."""
        self._input = np.clip(u, *self._bounds)

    def observe(self, y: np.ndarray, k: int) -> None:
        """Updates the estimate at sample ``k`` with the measurement ``y`` (p,), without a decision.

        Raises:
            DimensionMismatch, InvalidValue: arguments of another shape or kind.
        """
        assert self.measurement is not None
        self.estimate = self.estimator.update(measured_outputs(y, self.measurement.signals), self._input, k)

    def step(self, y: np.ndarray, k: int) -> Decision:
        """Decides at sample ``k`` from the measurement ``y`` (p,).

        Raises:
            DimensionMismatch, InvalidValue: arguments of another shape or kind.
        """
        began = perf_counter()
        self.observe(y, k)
        estimate = self.estimate
        assert estimate is not None
        decision = self.controller.step(estimate.state.copy(), k)
        self.inform(decision.input)
        status = decision.status if estimate.status is Status.SOLVED else estimate.status
        return Decision(
            decision.input, status, decision.source, decision.iterations, decision.residual, perf_counter() - began
        )


def standard_estimator(task: Task) -> Estimator:
    """The estimator that comparisons combine with state-feedback controllers: a Kalman filter, extended if plant or
    measurement are not affine.

    Args:
        task: with a measurement.
    """
    return (KalmanFilter if EstimationModel(task).is_affine else ExtendedKalmanFilter)(task)
