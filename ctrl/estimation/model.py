"""The model of an estimator: nominal plant, measurement, and the covariances of their errors."""

from __future__ import annotations

from functools import cached_property
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from systems import Task
from systems.errors import DimensionMismatch, InvalidValue, expect, located, shown
from systems.lowering.buffered import Buffered
from systems.signals import Values, expect_values

__all__ = ["EstimationModel"]


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
                'dataclasses.replace(task, measurement=Measurement(signals("angle [rad]"), noise=...))'
            )
        if task.plant.forecast is not None:
            raise NotApplicable(
                f"task '{task.name}' has signals that are known ahead, which estimators do not take; control it by its "
                "state: dataclasses.replace(task, measurement=None)"
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
        self.input_bounds = plant.bounds
        self.first_input = task.reading.start[1]
        self.F, self.H = self._functions()
        self._bind()

    def _functions(self) -> tuple[ca.Function, ca.Function]:
        """``F(z, u, v, w) -> z+`` and ``H(z, v) -> y``."""
        plant, n = self.task.plant, self.n
        z, u, v = ca.SX.sym("z", self.size), plant.input.symbol(), plant.input.symbol()
        w = plant.disturbance.symbol()
        now = ca.vertsplit(self.measurement.function(plant)(z[:n], v))
        after, reported, at = [self.task.dynamics.function()(z[:n], u, w, ca.SX(0, 1))], [], n
        for value, delay in zip(now, self.measurement.delays, strict=True):
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

    def linearised(self, z: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """z+ (size,), dz+/dz (size, size) and the covariance (size, size) of what the prediction does not know."""
        self._z[:], self._u[:], self._v[:] = z, u, v
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
        z, v = self.H.sx_in()
        return not ca.symvar(ca.jacobian(self.H(z, v), ca.vertcat(z, v)))

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
        if task.plant.state.quaternions:
            texts.append("takes the components of a quaternion for independent numbers")
        return tuple(texts)
