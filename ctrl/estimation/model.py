"""The model of an estimator: nominal plant, measurement, and the covariances of their errors."""

from __future__ import annotations

from functools import cached_property
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from systems import Task
from systems.affine import affine_matrices
from systems.errors import DimensionMismatch, InvalidValue, expect, located, shown
from systems.lowering.buffered import Buffered
from systems.signals import Values, expect_values

__all__ = ["EstimationModel", "expect_no_forecast"]

DOUBT = 1e-3  # least deviation per sample of a signal known ahead from its forecast, relative to the forecast's range


@final
class EstimationModel:
    """z+ = F(z, u, v, w) + e and y = H(z, v) + noise, with the input u of a sample and v of the sample before.

    z is the state of the plant, followed by the past outputs of each signal with a delay, the latest first: a delayed
    measurement is then one of z, and a filter of z takes it exactly.

    Args:
        task: with a measurement; its nominal plant is the model.
        model_error: standard deviations of the process noise e per sample, by name of the state (others zero) or in
            order; default: none beside the task's disturbance.

    Attributes:
        n: states of the plant. size: of z.
        mean (size,), covariance (size, size): of z before the first measurement: the task's initial distribution.
        W (q, q): covariance of the disturbance. E (size, size): that of e. R (p, p): that of the noise.

    Raises:
        NotApplicable: a task without a measurement.
        InvalidValue: a deviation that is negative.
    """

    def __init__(self, task: Task, model_error: Values = ()) -> None:
        expect(task, Task, "the task of an estimator", "such as Task(..., measurement=Measurement(...))")
        if task.measurement is None:
            raise NotApplicable(
                f"task '{task.name}' has no measurement, so its state is known; give it one: "
                f'dataclasses.replace(task, measurement=Measurement(signals("{task.plant.state[0]}"), noise=...))'
            )
        expect_values(model_error, "model_error")
        plant, measurement = task.plant, task.measurement
        with located("model_error"):
            deviations = plant.state.optional(model_error, "model_error")
        if (deviations < 0).any():
            raise InvalidValue(f"model_error = {model_error}; expected standard deviations of at least 0")
        self.task, self.measurement = task, measurement
        self.n, self.size = len(plant.state), len(plant.state) + int(measurement.delays.sum())
        self.outputs, self.signals = len(measurement.signals), measurement.signals
        self.mean, self.covariance = np.zeros(self.size), np.zeros((self.size, self.size))
        self.mean[: self.n] = task.initial.mean(plant.state)
        self.covariance[: self.n, : self.n] = task.initial.covariance(plant.state)
        self.W = task.disturbance.covariance(plant.disturbance)
        self.w = task.disturbance.mean(plant.disturbance)
        self.E = np.zeros((self.size, self.size))
        self.E[: self.n, : self.n] = np.diag(deviations**2)
        self.R, self.bias = measurement.covariance, measurement.mean
        self._driven: list[int] = []
        if plant.forecast is not None:
            self._driven = [plant.disturbance.where(name) for name in plant.forecast.disturbances.names]
            self._doubt_forecast()
        self.input_bounds = plant.bounds
        self.first_input = task.reading.start[1]
        self.F, self.H = self._functions()
        self._bind()

    def _doubt_forecast(self) -> None:
        """Gives every signal known ahead without a declared forecast error a small one: a filter that took the forecast
        for exact would ignore the measured value of such a signal."""
        forecast, plant = self.task.plant.forecast, self.task.plant
        assert forecast is not None
        self.W = self.W.copy()
        for i, name in enumerate(forecast.signals.names):
            at, series = plant.disturbance.where(f"{name}_next"), forecast.predicted[:, i]
            size = float(np.ptp(series)) or float(np.abs(series).max()) or 1.0
            self.W[at, at] = max(self.W[at, at], (DOUBT * size) ** 2)

    def _functions(self) -> tuple[ca.Function, ca.Function]:
        """``F(z, u, v, w) -> z+`` and ``H(z, v) -> y``."""
        plant, n = self.task.plant, self.n
        z, u, v = ca.SX.sym("z", self.size), plant.input.symbol(), plant.input.symbol()
        w = plant.disturbance.symbol()
        outputs = ca.vertsplit(self.measurement.function(plant)(z[:n], v))
        after, reported, at = [self.task.dynamics.function()(z[:n], u, w, ca.SX(0, 1))], [], n
        for value, delay in zip(outputs, self.measurement.delays, strict=True):
            if delay:
                after += [value, z[at : at + delay - 1]]
                value = z[at + delay - 1]
                at += int(delay)
            reported.append(value)
        return (
            ca.Function("next", [z, u, v, w], [ca.densify(ca.vertcat(*after))]),
            ca.Function("outputs", [z, v], [ca.densify(ca.vertcat(*reported) + ca.DM(self.bias))]),
        )

    def _bind(self) -> None:
        """Arrays that the functions read and write."""
        size, m, q = self.size, len(self.task.plant.input), len(self.w)
        self._z, self._u, self._v, self._w = np.zeros(size), np.zeros(m), np.zeros(m), self.w.copy()
        self._next, self._y = np.zeros(size), np.zeros(self.outputs)
        # CasADi writes matrices by columns: an array of the transpose holds them.
        self._A, self._G, self._C = np.zeros((size, size)), np.zeros((q, size)), np.zeros((size, self.outputs))
        z, u, v, w = self.F.sx_in()
        after, outputs = self.F(z, u, v, w), self.H(z, v)
        jacobians = [ca.densify(ca.jacobian(after, a)) for a in (z, w)]
        linearised = ca.Function("linearised", [z, u, v, w], [after, *jacobians])
        read = ca.Function("read", [z, v], [outputs, ca.densify(ca.jacobian(outputs, z))])
        self._forward = Buffered(linearised, [self._z, self._u, self._v, self._w], [self._next, self._A, self._G])
        self._backward = Buffered(read, [self._z, self._v], [self._y, self._C])

    def acting(self, k: int) -> np.ndarray:
        """The disturbance (q,) that is expected in sample ``k``: its mean, and what drives the signals known ahead."""
        if not self._driven:
            return self.w
        w = self.w.copy()
        w[self._driven] += self.task.plant.forecast.driving(k)  # type: ignore[union-attr]
        return w

    def linearised(
        self, z: np.ndarray, u: np.ndarray, v: np.ndarray, k: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """z+ (size,), dz+/dz (size, size) and the covariance (size, size) of what the prediction of sample ``k`` + 1
        does not know; the sample only matters to signals known ahead."""
        self._z[:], self._u[:], self._v[:], self._w[:] = z, u, v, self.acting(k)
        self._forward.run()
        return self._next.copy(), self._A.T.copy(), self._G.T @ self.W @ self._G + self.E

    def read(self, z: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """y (p,) and dy/dz (p, size)."""
        self._z[:], self._v[:] = z, v
        self._backward.run()
        return self._y.copy(), self._C.T.copy()

    def applied(self, u: Any, before: np.ndarray) -> np.ndarray:
        """An input (m,) within the limits of the actuators; ``before`` (m,) where its numbers are not finite.

        Raises:
            InvalidValue: it holds no real numbers.
            DimensionMismatch: another shape.
        """
        array, names = np.asarray(u), ", ".join(self.task.plant.input.names)
        if array.dtype.kind not in "fiu":
            raise InvalidValue(f"input u = {shown(u)}; expected real numbers: {names}")
        if array.shape != before.shape:
            raise DimensionMismatch(f"input of shape {array.shape}; expected {before.shape}: {names}")
        return np.clip(np.where(np.isfinite(array), array, before), *self.input_bounds)

    @cached_property
    def at_reference(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """dz+/dz (size, size), dy/dz (p, size) and the covariance of the prediction (size, size), at the reference of
        sample 0."""
        x, u = self.task.reading.start
        z = np.concatenate([x, np.zeros(self.size - self.n)])
        _, A, Q = self.linearised(z, u, u)
        return A, self.read(z, u)[1], Q

    @cached_property
    def is_affine(self) -> bool:
        """Whether plant and measurement are affine in state and input."""
        if not self.task.reading.is_affine:
            return False
        if self._driven:  # a product with a signal known ahead is not affine in an estimate of that signal
            states, inputs = self.F.sx_in()[:2]
            slopes = ca.jacobian(self.F(*self.F.sx_in()), ca.vertcat(states, inputs))
            if ca.symvar(slopes):
                return False
        return affine_matrices(self.H, range(2)) is not None

    @property
    def _unread(self) -> tuple[str, ...]:
        """Signals known ahead whose present values no output reports."""
        forecast, plant = self.task.plant.forecast, self.task.plant
        if forecast is None:
            return ()
        reads = ca.DM(self.measurement.function(plant).jac_sparsity(0, 0), 1).full().any(axis=0)
        return tuple(name for name in forecast.signals.names if not reads[plant.state.where(name)])

    @property
    def approximations(self) -> tuple[str, ...]:
        """The approximations of every estimator that uses only means and covariances, in words."""
        task, shaped = self.task, []
        for what, distribution, declared in (
            ("initial state", task.initial, task.plant.state),
            ("disturbance", task.disturbance, task.plant.disturbance),
            ("noise", self.measurement.noise, self.measurement.signals),
        ):
            affine = distribution.affine(declared)
            if affine.base != "normal" and affine.factor.any():
                shaped.append(what)
        texts = [f"takes {' and '.join(shaped)} for Gaussian, of the same mean and covariance"] if shaped else []
        if self.measurement.quanta.any():
            texts.append("takes the rounding of a measurement for noise")
        if unread := self._unread:
            texts.append(f"predicts {', '.join(unread)} from the forecast alone, which no measured output corrects")
        if task.plant.state.quaternions:
            texts.append("takes the components of a quaternion for independent numbers")
        return tuple(texts)


def expect_no_forecast(task: Task, what: str) -> None:
    """Raises NotApplicable if the task has signals known ahead, which ``what`` does not support."""
    if task.plant.forecast is not None:
        names = ", ".join(task.plant.forecast.signals.names)
        raise NotApplicable(
            f"task '{task.name}' has signals known ahead ({names}), which {what} does not support; use "
            "OutputFeedback(controller, ExtendedKalmanFilter(task))"
        )
