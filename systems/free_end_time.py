"""Runs with a free end time: the length of a sample is an input."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import casadi as ca
import numpy as np

from systems.arguments import expect_array, expect_number, expect_pair
from systems.costs import Cost
from systems.errors import InvalidValue, expect
from systems.expressions import column
from systems.inputs.augmented_plant import AugmentedPlant, expect_free
from systems.inputs.augmented_task import augmented_task
from systems.plant import Plant
from systems.references import Reference
from systems.signals import Signals, Vector, signals
from systems.task import Task

__all__ = ["FreeTimeCost", "TimeScaled", "sample_times", "with_free_end_time"]

_SCALE = signals("time_scale [-]")


@dataclass(frozen=True)
class TimeScaled(AugmentedPlant):
    """A continuous plant in which a sample lasts ``time_scale`` times ``dt``: x' = time_scale f(x, u, w).

    Args:
        plant: the inner plant.
        least, most: the limits of the input ``time_scale``.
    """

    plant: Plant
    least: float
    most: float

    @property
    def inner(self) -> Plant:
        return self.plant

    @property
    def added(self) -> Signals:
        return signals()

    @property
    def input(self) -> Signals:  # type: ignore[override]
        return Signals((*self.inner.input, *_SCALE))

    def with_inner(self, plant: Plant) -> Self:
        return dataclasses.replace(self, plant=plant)

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {**self.inner.limits(), _SCALE[0].name: (self.least, self.most)}

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        written = self.plant.ode(x, self.acting(x, u), w)
        return u.time_scale * column(written, f"{self.name}.ode", "one expression per state")

    def added_reference(self, reference: Reference, k: np.ndarray) -> np.ndarray:
        return np.zeros((*np.shape(k), 0))

    def input_reference(self, reference: Reference, k: np.ndarray, dt: float) -> np.ndarray:
        inner = reference.at(self.inner, k)[1]
        scale = np.full((*inner.shape[:-1], 1), np.clip(1.0, self.least, self.most))
        return np.concatenate([inner, scale], axis=-1)


@dataclass(frozen=True, eq=False)
class FreeTimeCost(Cost):
    """A cost per unit of time with a weight on time: time_scale (l(x, u) + weight dt); longer samples cost more.

    Args:
        cost: of the inner plant, on the signals of the time-scaled one.
        weight: per second.
        dt: seconds of a sample with a time scale of 1.
    """

    cost: Cost
    weight: float
    dt: float

    def stage(self, x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        return u.time_scale * (ca.SX(self.cost.stage(x, u, x_ref, u_ref)) + self.weight * self.dt)

    def terminal(self, x: Vector, x_ref: Vector) -> Any:
        return self.cost.terminal(x, x_ref)


def with_free_end_time(task: Task, weight: float, scale: tuple[float, float] = (0.01, 10.0)) -> Task:
    """The task with the length of each sample as an input, ``time_scale``, so that the end time is free.

    A run still has ``task.steps`` samples. Each lasts ``time_scale`` times ``task.dt``, and the end time of a plan is
    the sum of its samples. ``limit_changes(task, weights={"time_scale": ...})`` makes samples equally long.

    Args:
        task: with a continuous plant and a constant reference. Its terminal cost specifies the state to be reached: a
            sum of absolute values with sufficiently large weights is an exact penalty.
        weight: of time in the cost, per second; 0 if the stage cost already includes the cost of time.
        scale: lowest and highest time scale, positive; default: 0.01 to 10.

    Raises:
        InvalidValue: a discrete plant, a scale that is not positive, or a part of the task that is specified sample by
            sample: a moving reference, signals known ahead, a measurement, a disturbance.
    """
    expect(task, Task, "the task of with_free_end_time", "such as systems.library.double_integrator()")
    expect_number(weight, "weight", least=0.0, hint="the cost of a second")
    least, most = expect_pair(scale, "scale")
    if not (least > 0.0 and np.isfinite(most)):
        raise InvalidValue(f"scale = {scale}; expected two positive numbers, such as (0.1, 10.0)")
    plant = task.plant
    if plant.is_discrete:
        raise InvalidValue(
            f"{plant.name} is discrete by nature, so its behaviour over a longer sample is unknown; define "
            "ode(x, u, w), and apply with_free_end_time before limit_changes and delay_inputs"
        )
    low, high = task.disturbance.support(plant.disturbance)
    for given, what, fix in (
        (not task.reference.is_constant, "a moving reference", "use a set-point"),
        (plant.forecast is not None, "signals that are known ahead", "omit them"),
        (task.measurement is not None, "a measurement", "omit it"),
        (bool((low != high).any()), "a disturbance that is drawn at each sample", "omit it"),
    ):
        if given:
            raise InvalidValue(
                f"task '{task.name}' has {what}, which requires samples of fixed length; {fix}, or keep the end "
                "time fixed"
            )
    expect_free(_SCALE.names, plant, "with_free_end_time")
    if task.integrator == "exact":
        task = dataclasses.replace(task, integrator="rk4")  # time scale times state is not affine
    return augmented_task(
        task,
        lambda inner: TimeScaled(inner, least, most),
        np.zeros(0),
        cost=lambda cost: FreeTimeCost(cost, float(weight), task.dt),
    )


def sample_times(task: Task, inputs: np.ndarray) -> np.ndarray:
    """Times (..., samples + 1), in seconds from zero, at which the samples of a plan or a run begin and end.

    Args:
        task: of :func:`with_free_end_time`.
        inputs: (..., samples, m).

    Raises:
        InvalidValue: a task with samples of fixed length.
        DimensionMismatch: inputs of another size.
    """
    expect(task, Task, "the task of sample_times", "made by with_free_end_time")
    names = task.plant.input.names
    if _SCALE[0].name not in names:
        raise InvalidValue(f"task '{task.name}' has no input time_scale; make it by with_free_end_time")
    given = expect_array(inputs, "inputs", (*("...",) * max(np.ndim(inputs) - 1, 1), len(names)))
    lengths = task.dt * given[..., names.index(_SCALE[0].name)]
    return np.concatenate([np.zeros((*lengths.shape[:-1], 1)), np.cumsum(lengths, axis=-1)], axis=-1)
