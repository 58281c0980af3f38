"""Limits and weights on the change of inputs from sample to sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.arguments import expect_number, expect_pair
from systems.constraints import PREVIOUS, ChangeLimit
from systems.costs import Cost, Weight, expect_weight, weight_matrix
from systems.discretise import Discretisation
from systems.errors import InvalidValue, expect, shown
from systems.inputs.augmented_plant import SampledPlant, expect_free, inputs_before
from systems.inputs.augmented_task import augmented_task
from systems.references import Reference
from systems.requirements import Hard, Requirement
from systems.signals import Signal, Signals, Values, Vector, expect_values, left_out
from systems.task import Task

__all__ = ["ChangesCost", "PreviousInputs", "limit_changes"]


@dataclass(frozen=True)
class PreviousInputs(SampledPlant):
    """A plant whose states include its inputs one sample before: u_(k-1).

    Args:
        sampling: the inner plant at samples.
        names: of the inputs that are kept.
    """

    sampling: Discretisation
    names: tuple[str, ...]

    @property
    def added(self) -> Signals:
        declared = self.inner.input
        return Signals(Signal(PREVIOUS + name, declared[declared.where(name)].unit) for name in self.names)

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        inner, _ = self.split(x)
        return ca.vertcat(self.advance(inner, u.column, w), *[u[name] for name in self.names])

    def added_reference(self, reference: Reference, k: np.ndarray) -> np.ndarray:
        u = inputs_before(reference, self.inner, k, 1)
        return np.asarray(u[..., [self.inner.input.where(name) for name in self.names]])


@dataclass(frozen=True, eq=False)
class ChangesCost(Cost):
    """A cost, and du' S du of the changes du = u - u_(-1).

    Args:
        cost: of the augmented plant.
        names: of the inputs whose changes are weighted.
        weight: S, (names, names).
    """

    cost: Cost
    names: tuple[str, ...]
    weight: np.ndarray

    @property
    def is_distance(self) -> bool:
        return self.cost.is_distance

    def stage(self, x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        change = [u[name] - x[PREVIOUS + name] for name in self.names]
        total = self.cost.stage(x, u, x_ref, u_ref)
        for i, row in enumerate(np.asarray(self.weight).tolist()):
            for j, weight in enumerate(row):
                if weight:
                    total = total + weight * (change[i] ** 2 if i == j else change[i] * change[j])
        return total

    def terminal(self, x: Vector, x_ref: Vector) -> Any:
        return self.cost.terminal(x, x_ref)


def limit_changes(
    task: Task,
    rates: Mapping[str, float | tuple[float, float]] | None = None,
    weights: Weight | None = None,
    previous: Values = (),
    requirement: Requirement = Hard(),  # noqa: B008  # frozen
) -> Task:
    """The task with limits and weights on the change of its inputs, u_k - u_(k-1).

    The previous input becomes a state of the task: predictive controllers handle limits and weights exactly, the
    linear-quadratic regulator handles the weights exactly and applies the limits afterwards, and learners observe the
    previous input and are charged. A comparison counts violations of the constraint ``rate limits``.

    Args:
        task: the task whose inputs are limited.
        rates: largest rate of an input in its unit per second, by name: one number, or (lowest, highest); default:
            none.
        weights: S of the cost (u_k - u_(k-1))' S (u_k - u_(k-1)) of a sample: by name, as a diagonal or as a matrix;
            default: none.
        previous: u_(-1) at the start of a run, by name (others zero) or in order; default: the reference of the input.
        requirement: on the limits: ``Hard()``, ``Soft(weight)`` per unit of change beyond the limit, ``Chance`` or
            ``Budget``; default: Hard().

    Raises:
        UnknownName: an input that the plant does not have.
        InvalidValue: neither limits nor weights; limits that exclude an input at rest.
    """
    expect(task, Task, "the task of limit_changes", "such as systems.library.cartpole()")
    plant = task.plant
    limits = {} if rates is None else _limits(rates, plant.input)
    matrix = np.zeros((len(plant.input),) * 2)
    if weights is not None:
        expect_weight(weights, "weights")
        matrix = weight_matrix(weights, plant.input, "weights")
    weighted = [name for name, row in zip(plant.input.names, matrix, strict=True) if row.any()]
    names = tuple(name for name in plant.input.names if name in limits or name in weighted)
    if not names:
        raise InvalidValue('limit_changes without any limit or weight; give rates={"input": 1.0}, or weights')
    expect_free([PREVIOUS + name for name in names], plant, "limit_changes")
    expect_values(previous, "previous")
    before = task.reference.at(plant, 0)[1] if left_out(previous) else plant.input.array(previous, what="previous")
    at = [plant.input.where(name) for name in names]
    constraints = []
    if limits:
        steps = {name: (low * task.dt, high * task.dt) for name, (low, high) in limits.items()}
        constraints.append(ChangeLimit("rate limits", steps, requirement=requirement))
    charged = [plant.input.where(name) for name in weighted]

    def cost(carried: Cost) -> Cost:
        return ChangesCost(carried, tuple(weighted), matrix[np.ix_(charged, charged)]) if weighted else carried

    return augmented_task(
        task,
        lambda inner: PreviousInputs(task.dynamics.replace(inner), names),
        np.asarray(before)[at],
        constraints,
        cost,
    )


def _limits(rates: Any, inputs: Signals) -> dict[str, tuple[float, float]]:
    if not isinstance(rates, Mapping):
        raise InvalidValue(f'rates = {shown(rates)}; expected limits by input, such as {{"pump": 0.5}}')
    limits = {}
    for name, given in rates.items():
        inputs.where(name)
        what = f"rates: {name}"
        if isinstance(given, (list, tuple)):
            low, high = expect_pair(given, what)
        else:
            high = expect_number(given, what, above=0.0, hint="the largest rate, or (lowest, highest)")
            low = -high
        if low > 0.0 or high < 0.0:
            raise InvalidValue(f"{what} = ({low}, {high}) excludes a constant input; expected lowest <= 0 <= highest")
        limits[name] = (float(low), float(high))
    return limits
