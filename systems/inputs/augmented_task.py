"""Tasks on augmented plants: cost, constraints, reference and initial states are transferred by the names of
signals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from systems.constraints import Box, ChangeLimit, Constraint, Ellipsoid, Polytope
from systems.costs import Cost
from systems.distributions import AffineMap, Distribution
from systems.inputs.augmented_plant import AugmentedPlant, part
from systems.measurement import Measurement
from systems.observations import Observation
from systems.plant import Plant
from systems.references import Reference, SetPoint, Sinusoid
from systems.signals import Signals, Vector
from systems.task import Task

__all__ = ["CarriedConstraint", "CarriedCost", "CarriedReference", "augmented_task"]


def augmented_task(
    task: Task,
    augment: Callable[[Plant], AugmentedPlant],
    start: np.ndarray,
    constraints: Sequence[Constraint] = (),
    cost: Callable[[Cost], Cost] | None = None,
    truth: Plant | None = None,
    disturbance: Distribution | None = None,
) -> Task:
    """The task on the augmented plant.

    Args:
        task: the original task, whose cost and constraints keep using the same signals.
        augment: returns the augmented plant of the nominal plant, and of the true one.
        start: (added,), of the added states.
        constraints: to be added.
        cost: of the augmented task, made of the carried cost; default: the carried cost.
        truth: the augmented plant that really runs; default: the true plant of the task, augmented.
        disturbance: of the augmented plant; default: that of the task.
    """
    true_inner = None if task.truth is None else augment(task.truth)
    inner, plant = task.plant, augment(task.plant)
    charged: Cost = CarriedCost(task.cost, inner.state, inner.input)
    return dataclasses.replace(
        task,
        plant=plant,
        truth=true_inner if truth is None else truth,
        disturbance=task.disturbance if disturbance is None else disturbance,
        cost=charged if cost is None else cost(charged),
        constraints=(*(_carried(c, inner) for c in task.constraints), *constraints),
        reference=_reference(task, plant),
        initial=CarriedStart(task.initial, inner.state, tuple(map(float, start))),
        tolerance=dict(zip(inner.state.names, task.arrival.tolist(), strict=True)),
        observation=_observation(task.observation, plant)
        if isinstance(task.observation, Observation)
        else task.observation,
        measurement=None if task.measurement is None else _measurement(task.measurement, plant),
    )


@dataclass(frozen=True, eq=False)
class CarriedCost(Cost):
    """The cost of another plant, of the signals with the same names.

    Args:
        cost: of the inner plant. state, input: its signals.
    """

    cost: Cost
    state: Signals
    input: Signals

    @property
    def is_distance(self) -> bool:
        return self.cost.is_distance

    def stage(self, x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        of_state, of_input = part(self.state, x), part(self.input, u, x)
        return self.cost.stage(of_state, of_input, part(self.state, x_ref), part(self.input, u_ref, x_ref))

    def terminal(self, x: Vector, x_ref: Vector) -> Any:
        return self.cost.terminal(part(self.state, x), part(self.state, x_ref))


@dataclass(frozen=True, eq=False)
class CarriedConstraint(Constraint):
    """A constraint of another plant, on the signals with the same names.

    Args:
        constraint: of the inner plant. state, input: its signals.
    """

    constraint: Constraint
    state: Signals
    input: Signals

    def expression(self, x: Vector, u: Vector) -> Any:
        return self.constraint.expression(part(self.state, x), part(self.input, u, x))


def _carried(constraint: Constraint, inner: Plant) -> Constraint:
    if isinstance(constraint, Box | ChangeLimit | Ellipsoid | Polytope):
        return constraint  # which read their signals by name
    requirement = constraint.requirement
    return CarriedConstraint(constraint.name, constraint, inner.state, inner.input, requirement=requirement)


@dataclass(frozen=True, eq=False)
class CarriedReference(Reference):
    """The reference of another plant, and what follows from it for the added states.

    Args:
        reference: of the inner plant.
        plant: the augmented plant.
        dt: seconds between samples.
    """

    reference: Reference
    plant: AugmentedPlant
    dt: float

    @property
    def is_constant(self) -> bool:
        return self.reference.is_constant and not self.plant.moves

    def at(self, plant: Plant, k: int | Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, _ = self.reference.at(self.plant.inner, k)
        samples = np.asarray(k)
        states = np.concatenate([x, self.plant.added_reference(self.reference, samples)], axis=-1)
        return states, self.plant.input_reference(self.reference, samples, self.dt)


def _reference(task: Task, plant: AugmentedPlant) -> Reference:
    """As one of the known kinds, which some controllers ask for, where the carried reference is one."""
    carried = CarriedReference(task.reference, plant, task.dt)
    if carried.is_constant:
        x, u = carried.at(plant, 0)
        return SetPoint(x.tolist(), u.tolist())
    if isinstance(task.reference, Sinusoid) and not plant.moves:
        return _sinusoid(task.reference.frequency, carried, plant)
    return carried


def _sinusoid(frequency: float, carried: Reference, plant: AugmentedPlant) -> Reference:
    """The sinusoid through the samples 0, 1 and 2, where that is what all samples are; else the reference itself."""
    samples = np.arange(40)
    basis = np.stack([np.ones(40), np.sin(frequency * samples), np.cos(frequency * samples)], axis=1)
    fitted = []
    for values in carried.at(plant, samples):
        parts = np.linalg.lstsq(basis, values, rcond=None)[0]
        if np.abs(basis @ parts - values).max(initial=0.0) > 1e-9 * (1.0 + np.abs(values).max(initial=0.0)):
            return carried
        fitted += [row.tolist() for row in parts]
    return Sinusoid(frequency, *fitted)


@dataclass(frozen=True, eq=False)
class CarriedStart(Distribution):
    """The initial states of another plant, with known values of the added states.

    Args:
        initial: of the inner plant. state: its signals.
        added: values of the added states.
    """

    initial: Distribution
    state: Signals
    added: tuple[float, ...]

    def affine(self, declared: Signals) -> AffineMap:
        from scipy.linalg import block_diag  # scipy is slow to import and only needed here

        inner = self.initial.affine(self.state)
        count = len(self.added)
        offset = np.concatenate([inner.offset, self.added])
        return AffineMap(inner.base, offset, block_diag(inner.factor, np.zeros((count, count))))

    def sample(self, declared: Signals, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> np.ndarray:
        inner = self.initial.sample(self.state, rng, shape)  # the same starts as without the added states
        return np.concatenate([inner, np.broadcast_to(self.added, (*shape, len(self.added)))], axis=-1)

    def support(self, declared: Signals) -> tuple[np.ndarray, np.ndarray]:
        lower, upper = self.initial.support(self.state)
        return np.concatenate([lower, self.added]), np.concatenate([upper, self.added])


@dataclass(frozen=True)
class _Observed:
    """The expressions of an observation, and the added states."""

    observation: Observation
    state: Signals
    added: Signals

    def __call__(self, x: Vector, xr: Vector) -> Any:
        given = self.observation.expression(part(self.state, x), part(self.state, xr))
        entries = list(given) if isinstance(given, (list, tuple, Vector)) else _entries(given)
        return [*entries, *part(self.added, x)]


def _entries(given: Any) -> list[Any]:
    return [given] if isinstance(given, (int, float)) else [given[i] for i in range(given.shape[0])]


def _observation(observation: Observation, plant: AugmentedPlant) -> Observation:
    observed = Signals((*observation.signals, *plant.added))
    return Observation(observed, _Observed(observation, plant.inner.state, plant.added))


@dataclass(frozen=True)
class _Measured:
    """The expressions of a measurement of the inner plant: its sensors read what acts on it."""

    expression: Callable[[Vector, Vector], Any]
    plant: AugmentedPlant

    def __call__(self, x: Vector, u: Vector) -> Any:
        return self.expression(part(self.plant.inner.state, x), self.plant.acting(x, u))


def _measurement(measurement: Measurement, plant: AugmentedPlant) -> Measurement:
    if measurement.expression is None:
        return measurement  # of states, by their names
    return dataclasses.replace(measurement, expression=_Measured(measurement.expression, plant))
