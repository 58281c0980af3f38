"""Rates as inputs: the controller sets the rate of change of an input."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import casadi as ca
import numpy as np

from systems.arguments import expect_pair
from systems.constraints import Box
from systems.costs import Cost, Weight, expect_weight, weight_matrix
from systems.errors import InvalidValue, expect, shown
from systems.expressions import column
from systems.inputs.augmented_plant import AugmentedPlant, expect_free, part
from systems.inputs.augmented_task import augmented_task
from systems.plant import Plant
from systems.references import Reference
from systems.signals import Signal, Signals, Values, Vector, expect_values, left_out
from systems.task import Task

__all__ = ["RateInputs", "RatesCost", "rates_as_inputs"]


@dataclass(frozen=True)
class RateInputs(AugmentedPlant):
    """A continuous plant with some inputs as states and their rates as inputs: v' = ``v_rate``.

    Args:
        plant: the inner plant.
        rates: (name, lowest, highest rate in its unit per second) of each such input.
    """

    plant: Plant
    rates: tuple[tuple[str, float, float], ...]

    @property
    def inner(self) -> Plant:
        return self.plant

    @property
    def added(self) -> Signals:
        declared = self.inner.input
        return Signals(declared[declared.where(name)] for name, _, _ in self.rates)

    @property
    def input(self) -> Signals:  # type: ignore[override]
        names = self.added.names
        return Signals(
            Signal(f"{s.name}_rate", "1/s" if s.unit == "-" else f"{s.unit}/s") if s.name in names else s
            for s in self.inner.input
        )

    def with_inner(self, plant: Plant) -> Self:
        return dataclasses.replace(self, plant=plant)

    def limits(self) -> Mapping[str, tuple[float, float]]:
        names = self.added.names
        kept = {name: limit for name, limit in self.inner.limits().items() if name not in names}
        return {**kept, **{f"{name}_rate": (low, high) for name, low, high in self.rates}}

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        written = self.plant.ode(part(self.inner.state, x), part(self.inner.input, u, x), w)
        derivative = column(written, f"{self.name}.ode", "one expression per state")
        return ca.vertcat(derivative, *[u[f"{name}_rate"] for name, _, _ in self.rates])

    def added_reference(self, reference: Reference, k: np.ndarray) -> np.ndarray:
        return np.asarray(reference.at(self.inner, k)[1][..., self._at()])

    def input_reference(self, reference: Reference, k: np.ndarray, dt: float) -> np.ndarray:
        current, following = (reference.at(self.inner, sample)[1] for sample in (k, np.asarray(k) + 1))
        inputs = np.array(current)
        inputs[..., self._at()] = ((following - current) / dt)[..., self._at()]
        return inputs

    def _at(self) -> list[int]:
        return [self.inner.input.where(name) for name, _, _ in self.rates]


@dataclass(frozen=True, eq=False)
class RatesCost(Cost):
    """A cost, and v' S v of the rates v.

    Args:
        cost: of the augmented plant. names: of the rates.
        weight: S, (names, names).
    """

    cost: Cost
    names: tuple[str, ...]
    weight: np.ndarray

    def stage(self, x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        rates = ca.vertcat(*[u[name] for name in self.names])
        return self.cost.stage(x, u, x_ref, u_ref) + ca.bilin(ca.SX(self.weight), rates, rates)

    def terminal(self, x: Vector, x_ref: Vector) -> Any:
        return self.cost.terminal(x, x_ref)


def rates_as_inputs(task: Task, rates: Mapping[str, tuple[float, float]], weights: Weight, start: Values = ()) -> Task:
    """The task with the rates of some inputs as its inputs; these become states and change in ramps, not in steps.

    Cost and constraints still use them by name; the limits of their actuators become the constraint ``input limits``.

    Args:
        task: the original task; its plant is continuous.
        rates: (lowest, highest) rate in the unit of the input per second, by name of the input.
        weights: S of the cost v' S v of a sample with the rates v, in the order of the inputs: by name of the input, as
            a diagonal or as a matrix.
        start: the inputs at the start of a run, by name (others zero) or in order; default: the reference of the input.

    Raises:
        UnknownName: an input that the plant does not have.
        InvalidValue: no rate, something else than pairs, or a plant that is discrete.
    """
    expect(task, Task, "the task of rates_as_inputs", "such as systems.library.cartpole()")
    plant = task.plant
    if plant.is_discrete:
        raise InvalidValue(
            f"{plant.name} is discrete by nature, so it has no inputs that move between samples; use limit_changes"
        )
    if not isinstance(rates, Mapping) or not rates:
        raise InvalidValue(f'rates = {shown(rates)}; expected pairs by input, such as {{"valve": (-0.5, 0.5)}}')
    limits = {name: expect_pair(pair, f"rates: {name}") for name, pair in rates.items()}
    for name in limits:
        plant.input.where(name)
    given = tuple((name, *limits[name]) for name in plant.input.names if name in limits)
    names = tuple(name for name, _, _ in given)
    expect_free([f"{name}_rate" for name in names], plant, "rates_as_inputs")
    expect_weight(weights, "weights")
    matrix = weight_matrix(weights, Signals(plant.input[plant.input.where(name)] for name in names), "weights")
    expect_values(start, "start")
    first = task.reference.at(plant, 0)[1] if left_out(start) else plant.input.array(start, what="start")
    at = [plant.input.where(name) for name in names]
    bounds = {name: pair for name, pair in plant.limits().items() if name in names and np.isfinite(pair).any()}
    return augmented_task(
        task,
        lambda inner: RateInputs(inner, given),
        np.asarray(first)[at],
        [Box("input limits", bounds)] if bounds else [],
        lambda cost: RatesCost(cost, tuple(f"{name}_rate" for name in names), matrix),
    )
