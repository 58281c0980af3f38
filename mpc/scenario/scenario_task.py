"""Several scenarios of a task as one task, with a copy of the plant for each and common first inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np

from systems import (
    Constraint,
    Cost,
    Discretisation,
    Fixed,
    Forecast,
    InvalidValue,
    Plant,
    Reference,
    Signal,
    Signals,
    Soft,
    Task,
    Vector,
)
from systems.arguments import expect_number
from systems.carrying_plant import carried
from systems.errors import expect
from systems.reading.conditions import is_input_box
from systems.signals import Values, expect_values

__all__ = ["Scenario", "scenario_task"]

_PULL = 1e-3  # weight on the difference between inputs that are not applied and the one that is


@final
@dataclass(frozen=True)
class Scenario:
    """A plant and a disturbance that may occur over the horizon.

    Args:
        plant: of the task, or the one before transformations such as :func:`systems.inputs.limit_changes`, which are
            then applied to it; default: the nominal one.
        disturbance: constant over the horizon, by name (others zero) or in order; default: zero.
        weight: probability of the scenario, up to a common factor; default: 1.
    """

    plant: Plant | None = None
    disturbance: Values = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.plant is not None:
            expect(self.plant, Plant, "the plant of a scenario", "such as CartPole(pole_mass=0.2)")
        expect_values(self.disturbance, "disturbance of a scenario")
        object.__setattr__(self, "weight", expect_number(self.weight, "the weight of a scenario", above=0.0))


@final
@dataclass(frozen=True)
class _Copies(Plant):
    """The plant of every scenario, with the inputs of the first applied to all in the first samples of a prediction.

    Its last states are a shift register of flags "inputs are shared", all 1 at the beginning of a prediction.

    Args:
        samplings: of the plant of each scenario.
        disturbances: (q,), of each.
        shared: number of samples in which inputs are shared.
        bounds_of_inputs: of each input.
    """

    samplings: tuple[Discretisation, ...]
    disturbances: tuple[tuple[float, ...], ...]
    shared: int
    bounds_of_inputs: tuple[tuple[float, float], ...]

    @property
    def inner(self) -> Plant:
        return self.samplings[0].plant

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def dt(self) -> float:  # type: ignore[override]
        return self.samplings[0].dt

    @property
    def forecast(self) -> Forecast | None:
        """That of the task, for the signals of every scenario."""
        inner, count = self.inner.forecast, len(self.samplings)
        if inner is None:
            return None
        copies = Signals(signal for i in range(count) for signal in _named(inner.signals, i))
        return dataclasses.replace(inner, signals=copies, predicted=np.tile(inner.predicted, (1, count)), actual=None)

    @property
    def state(self) -> Signals:  # type: ignore[override]
        copies = [self.states_of(i) for i in range(len(self.samplings))]
        flags = [Signal(f"shared_{j}") for j in range(self.shared)]
        return Signals(signal for group in (*copies, flags) for signal in group)

    @property
    def input(self) -> Signals:  # type: ignore[override]
        return Signals(signal for i in range(len(self.samplings)) for signal in _named(self.inner.input, i))

    @property
    def disturbance(self) -> Signals:  # type: ignore[override]
        return Signals()

    def limits(self) -> dict[str, tuple[float, float]]:
        pairs = self.bounds_of_inputs * len(self.samplings)
        return {s.name: pair for s, pair in zip(self.input, pairs, strict=True) if np.isfinite(pair).any()}

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        following = []
        for i, (sampling, disturbance) in enumerate(zip(self.samplings, self.disturbances, strict=True)):
            x_i, u_i = self.of(i, x, u)
            following.append(sampling.function()(x_i, u_i, ca.DM(disturbance), ca.SX(0, 1)))
        flags = [x[f"shared_{j}"] for j in range(1, self.shared)] + [ca.SX(0)]
        return ca.vertcat(*following, *flags)

    def states_of(self, i: int) -> Signals:
        """The states of scenario ``i``; those that are known ahead have the names that the forecast gives them."""
        named, inner = _named(self.inner.state, i), self.inner.forecast
        if inner is None:
            return named
        own = dataclasses.replace(inner, signals=_named(inner.signals, i), actual=None)
        known = dict(zip(inner.states.names, own.states, strict=True))
        return Signals(known.get(s.name, n) for s, n in zip(self.inner.state, named, strict=True))

    def of(self, i: int, x: Any, u: Any) -> tuple[Any, Any]:
        """State (n, 1) of scenario ``i`` and the input (m, 1) that is applied in it."""
        n, m = len(self.inner.state), len(self.inner.input)
        own, first, is_shared = u.column[i * m : (i + 1) * m], u.column[:m], x["shared_0"]
        return x.column[i * n : (i + 1) * n], own if i == 0 else own + is_shared * (first - own)


def _named(declared: Signals, i: int) -> Signals:
    """The signals of scenario ``i``."""
    return Signals(
        dataclasses.replace(s, name=f"{s.name}_{i}", quaternion=s.quaternion and f"{s.quaternion}_{i}")
        for s in declared
    )


@final
@dataclass(frozen=True, eq=False)
class _Expected(Cost):
    """The mean of a cost over the scenarios.

    Args:
        task: whose cost it is. copies: its plant in every scenario. weights: with sum 1.
    """

    task: Task
    copies: _Copies
    weights: tuple[float, ...]

    def stage(self, x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        n, m, cost = len(self.copies.inner.state), len(self.copies.inner.input), self.task.stage_cost
        total, scale = ca.SX(0), self._scale
        for i, weight in enumerate(self.weights):
            x_i, u_i = self.copies.of(i, x, u)
            its, own = slice(i * n, (i + 1) * n), slice(i * m, (i + 1) * m)
            # Each copy has its own reference, since periodic ones are taken nearest to its state.
            total += weight * cost(x_i, u_i, x_ref.column[its], u_ref.column[own])
            if i:  # determines inputs that are not applied; the difference is zero in a solution
                unused = x["shared_0"] * (u.column[own] - u.column[:m]) / scale
                total += weight * _PULL * self.task.reading.cost_size * ca.sumsqr(unused)
        return total

    def terminal(self, x: Vector, x_ref: Vector) -> Any:
        n, cost = len(self.copies.inner.state), self.task.terminal_cost
        total = ca.SX(0)
        for i, weight in enumerate(self.weights):
            its = slice(i * n, (i + 1) * n)
            total += weight * cost(x.column[its], x_ref.column[its])
        return total

    @property
    def _scale(self) -> np.ndarray:
        return self.task.reading.path.sizes[1]


@final
@dataclass(frozen=True, eq=False)
class _InScenario(Constraint):
    """A constraint in one scenario.

    Args:
        constraint: of the task. copies: its plant in every scenario. i: number of the scenario.
    """

    constraint: Constraint
    copies: _Copies
    i: int

    def expression(self, x: Vector, u: Vector) -> Any:
        inner = self.copies.inner
        x_i, u_i = self.copies.of(self.i, x, u)
        return self.constraint.expression(
            Vector(inner.state, x_i, "state of a scenario"), Vector(inner.input, u_i, "input of a scenario")
        )


@final
@dataclass(frozen=True, eq=False)
class _Repeated(Reference):
    """The reference of a task in every scenario.

    Args:
        task: whose reference it is. copies: its plant in every scenario.
    """

    task: Task
    copies: _Copies

    @property
    def is_constant(self) -> bool:
        return self.task.reference.is_constant

    def at(self, plant: Plant, k: int | Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, u = self.task.reference.at(self.copies.inner, k)
        count = len(self.copies.samplings)
        none = np.zeros((*x.shape[:-1], self.copies.shared))
        return np.concatenate([x] * count + [none], axis=-1), np.concatenate([u] * count, axis=-1)


def scenario_task(task: Task, scenarios: Sequence[Scenario], shared: int) -> Task:
    """The task whose plant consists of one copy of the task's plant for every scenario.

    Its stage and terminal costs are means over the scenarios, and every constraint must hold in each of them.

    Args:
        task: the nominal task.
        scenarios: at least one.
        shared: number of first samples of a prediction with the same inputs in all scenarios.

    Raises:
        InvalidValue: a plant whose signals differ from the task's, or with tighter limits of its inputs.
    """
    plant, count = task.plant, len(scenarios)
    plants = [plant if scenario.plant is None else carried(plant, scenario.plant) for scenario in scenarios]
    for own in plants:
        if (own.state, own.input, own.disturbance) != (plant.state, plant.input, plant.disturbance):
            raise InvalidValue(
                f"the signals of {own.name} in a scenario differ from those of {plant.name}, the task's plant"
            )
        _expect_limits(task, own)
    copies = _Copies(
        tuple(task.dynamics.replace(own) for own in plants),
        tuple(tuple(plant.disturbance.optional(s.disturbance, "disturbance of a scenario")) for s in scenarios),
        shared,
        tuple(zip(*(bound.tolist() for bound in task.input_bounds), strict=True)),
    )
    largest = max(scenario.weight for scenario in scenarios)  # so that their sum is finite
    total = sum(scenario.weight / largest for scenario in scenarios)
    weights = tuple(scenario.weight / largest / total for scenario in scenarios)
    kept = [c for c in task.constraints if not is_input_box(task, c)]  # those are limits of the copies
    start = np.concatenate([np.tile(task.initial.mean(plant.state), count), np.ones(shared)])
    return Task(
        f"{task.name} in {count} scenarios",
        copies,
        task.dt,
        task.steps,
        _Expected(task, copies, weights),
        Fixed(tuple(start)),
        tuple(_in_scenario(c, copies, i, weight) for c in kept for i, weight in enumerate(weights)),
        _Repeated(task, copies),
        tolerance=dict.fromkeys(copies.states_of(0).names, np.inf),
        discount=task.discount,
    )


def _expect_limits(task: Task, own: Plant) -> None:
    """Raises InvalidValue where the actuators of a scenario's plant would clip an input that the task permits."""
    for signal, low, high, least, most in zip(task.plant.input, *task.input_bounds, *own.bounds, strict=True):
        if least > low or most < high:
            raise InvalidValue(
                f"{own.name} in a scenario limits {signal.name} to [{least:g}, {most:g}], but task '{task.name}' "
                f"permits [{low:g}, {high:g}]; the limits of the task apply in all scenarios: add "
                f'Box("limits", {{"{signal.name}": ({least:g}, {most:g})}}) to its constraints, or give the scenario '
                "its limits"
            )


def _in_scenario(constraint: Constraint, copies: _Copies, i: int, weight: float) -> Constraint:
    """The constraint in scenario ``i``; the penalty of a soft one is its part of the expected cost."""
    requirement = constraint.requirement
    if isinstance(requirement, Soft):
        requirement = dataclasses.replace(requirement, weight=weight * requirement.weight)
    return _InScenario(f"{constraint.name} in scenario {i}", constraint, copies, i, requirement=requirement)
