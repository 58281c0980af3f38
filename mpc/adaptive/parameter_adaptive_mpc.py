"""Predictive control with parameters of the plant that are estimated online."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, final

import numpy as np

from ctrl.answers import announced, described
from ctrl.controller import Controller, Decision, Status
from ctrl.estimation.estimator import Estimate, Estimator, measured_outputs
from ctrl.estimation.kalman import ExtendedKalmanFilter
from ctrl.knowledge import Knowledge
from mpc.adaptive.tunable import adapted_knowledge, tunable
from mpc.nonlinear.nonlinear_mpc import NonlinearMPC
from systems import InvalidValue, Task, estimate_parameters
from systems.arguments import expect_factory
from systems.errors import shown

__all__ = ["ParameterAdaptiveMPC"]


@final
class ParameterAdaptiveMPC:
    """Predictive control whose plant has the parameters of the latest estimate: certainty-equivalent adaptive control.

    An estimator infers state and parameters from the measurements (:func:`systems.estimate_parameters`). The
    parameters, kept within their intervals, are those of the predictions from this sample on. Terminal cost and backup
    control law follow them in LinearMPC, which keeps the last model where it finds no regulator for an estimate; in
    NonlinearMPC they remain those of the nominal plant. It is a :class:`ctrl.Controller` of the measured outputs, NaN
    where a signal is not reported.

    Args:
        task: the controlled task, with a measurement.
        intervals: lowest and highest value of each estimated parameter, by name, around its nominal value.
        drift: standard deviation of a parameter's change per sample, by name; default: 0.1 % of the interval's width.
        estimator: constructs the estimator of a task; default: the extended Kalman filter.
        predictive: constructs the controller, by ``predictive(task, parameters=names)``; default: NonlinearMPC.

    Attributes:
        controller, estimator: that were constructed.
        measurement: of the task.
        estimate: the last estimate of the state; None before the first.
        parameters: the parameters (v,) of the last decision; at first the nominal ones.
        approximations: of both, in words; None where one of them does not say.

    Raises:
        InvalidValue: what ``systems.estimate_parameters`` refuses, or a controller without parameters.
        NotApplicable: the controller or the estimator cannot take this task.
    """

    def __init__(
        self,
        task: Task,
        intervals: Mapping[str, tuple[float, float]],
        drift: Mapping[str, float] | None = None,
        estimator: Callable[[Task], Estimator] = ExtendedKalmanFilter,
        predictive: Callable[..., Controller] = NonlinearMPC,
    ) -> None:
        self._arguments = (task, intervals, drift, estimator, predictive)
        augmented = estimate_parameters(task, intervals, drift)
        self.task, self.measurement, self.names = task, task.measurement, tuple(intervals)
        expect_factory(estimator, "task", "estimator", "a factory of estimators, such as ExtendedKalmanFilter")
        made = estimator(augmented)
        if isinstance(made, type) or not isinstance(made, Estimator):
            raise InvalidValue(f"estimator made {shown(made)}; expected a factory of estimators: ExtendedKalmanFilter")
        self.estimator = made
        self.controller = controller = tunable(predictive, task, self.names)
        announcements = announced(controller), announced(made)
        own = f"takes the estimates of {', '.join(self.names)} for exact"
        own += f"; {controller.unchanged} are nominal" if controller.unchanged else ""
        self.approximations = (
            None
            if announcements[0] is None or announcements[1] is None
            else tuple(dict.fromkeys((*announcements[0], own, *(f"estimator: {text}" for text in announcements[1]))))
        )
        self._n = len(task.plant.state)
        self._within = np.array([intervals[name] for name in self.names], dtype=float).T
        self._nominal = np.array([float(task.plant.parameters[name]) for name in self.names])
        self._bounds, self._first = task.plant.bounds, task.reading.start[1]
        self.reset()

    def __repr__(self) -> str:
        return described(f"ParameterAdaptiveMPC of {self.controller!r}, which estimates {', '.join(self.names)}", ())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments

    @property
    def knowledge(self) -> Knowledge | None:
        """That of the controller; its parameters are estimated in addition."""
        return adapted_knowledge(self.controller)

    def reset(self) -> None:
        """Starts a new run, with the nominal parameters."""
        self.controller.reset()
        self.estimator.reset()
        self.estimate: Estimate | None = None
        self.parameters, self._input = self._nominal.copy(), self._first

    def step(self, y: np.ndarray, k: int) -> Decision:
        """Estimates state and parameters, and decides, at sample ``k`` from the measurement ``y`` (p,).

        Raises:
            DimensionMismatch, InvalidValue: arguments of another shape or kind.
        """
        began, n = perf_counter(), self._n
        assert self.measurement is not None
        both = self.estimator.update(measured_outputs(y, self.measurement.signals), self._input, k)
        covariance = None if both.covariance is None else both.covariance[:n, :n].copy()
        self.estimate = Estimate(both.state[:n].copy(), covariance, both.status, both.used)
        self.parameters = np.clip(both.state[n:], *self._within)
        self.controller.set_parameters(self.parameters)
        decision = self.controller.step(both.state[:n].copy(), k)
        self._input = np.clip(decision.input, *self._bounds)
        status = decision.status if both.status is Status.SOLVED else both.status
        return dataclasses.replace(decision, status=status, seconds=perf_counter() - began)
