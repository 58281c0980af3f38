"""First-order lag of actuators."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import casadi as ca
import numpy as np

from systems.arguments import expect_number
from systems.errors import InvalidValue, expect, shown
from systems.expressions import column
from systems.inputs.augmented_plant import AugmentedPlant, expect_free
from systems.inputs.augmented_task import augmented_task
from systems.plant import Plant
from systems.references import Reference
from systems.signals import Signal, Signals, Values, Vector, expect_values, left_out
from systems.task import Task

__all__ = ["LaggedInputs", "lag_inputs"]


@dataclass(frozen=True)
class LaggedInputs(AugmentedPlant):
    """A continuous plant whose inputs act through first-order lags: T v' = u - v, and v acts on the plant.

    The lagged value of the input ``valve`` is the state ``valve_lagged``.

    Args:
        plant: the inner plant.
        constants: (name, T in seconds) of each lagged input.
    """

    plant: Plant
    constants: tuple[tuple[str, float], ...]

    @property
    def inner(self) -> Plant:
        return self.plant

    @property
    def added(self) -> Signals:
        declared = self.inner.input
        return Signals(Signal(f"{name}_lagged", declared[declared.where(name)].unit) for name, _ in self.constants)

    def with_inner(self, plant: Plant) -> Self:
        return dataclasses.replace(self, plant=plant)

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        inner, _ = self.split(x)
        written = self.plant.ode(inner, self.acting(x, u), w)
        derivative = column(written, f"{self.name}.ode", "one expression per state")
        return ca.vertcat(derivative, *[(u[name] - x[f"{name}_lagged"]) / T for name, T in self.constants])

    def acting(self, x: Vector, u: Vector) -> Vector:
        lags = dict(self.constants)
        acting = [x[f"{name}_lagged"] if name in lags else u[name] for name in u.names]
        return Vector(self.input, ca.vertcat(*acting), "input")

    def added_reference(self, reference: Reference, k: np.ndarray) -> np.ndarray:
        at = [self.inner.input.where(name) for name, _ in self.constants]
        return np.asarray(reference.at(self.inner, k)[1][..., at])


def lag_inputs(task: Task, time_constants: Mapping[str, float], start: Values = ()) -> Task:
    """The task with first-order actuator lags on some of its inputs.

    Cost, constraints and limits apply to the input that the controller sets.

    Args:
        task: the task whose inputs are lagged; its plant is continuous.
        time_constants: seconds by name of an input.
        start: the lagged inputs at the start of a run, by name of an input (others zero) or in order; default: the
            reference of the input.

    Raises:
        UnknownName: an input that the plant does not have.
        InvalidValue: no time constant, one that is not positive, or a plant that is discrete.
    """
    expect(task, Task, "the task of lag_inputs", "such as systems.library.cartpole()")
    plant = task.plant
    if plant.is_discrete:
        raise InvalidValue(
            f"{plant.name} is discrete by nature, so it does not say what acts between samples; lag the inputs of a "
            "continuous plant, before limit_changes and delay_inputs"
        )
    if not isinstance(time_constants, Mapping) or not time_constants:
        raise InvalidValue(
            f'time_constants = {shown(time_constants)}; expected seconds by input, such as {{"valve": 0.5}}'
        )
    for name, constant in time_constants.items():
        plant.input.where(name)
        expect_number(constant, f"time_constants: {name}", above=0.0, hint="in seconds")
    given = tuple((name, float(time_constants[name])) for name in plant.input.names if name in time_constants)
    expect_free([f"{name}_lagged" for name, _ in given], plant, "lag_inputs")
    expect_values(start, "start")
    acting = task.reference.at(plant, 0)[1] if left_out(start) else plant.input.array(start, what="start")
    at = [plant.input.where(name) for name, _ in given]
    return augmented_task(task, lambda inner: LaggedInputs(inner, given), np.asarray(acting)[at])
