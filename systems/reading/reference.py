"""The reference of a task in continuous coordinates, and which of its signals are periodic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import casadi as ca
import numpy as np

from systems.abstract_task import AbstractTask
from systems.forecast import with_known
from systems.signals import Signals

__all__ = ["STILL", "ReferencePath", "changed_by_turning", "values_at"]

STILL = 1e-6
"""Largest change per sample, relative to the size of the state, at which the plant counts as at rest, or largest error
at which it counts as following a reference."""


@dataclass(frozen=True, eq=False)
class ReferencePath:
    """States and inputs of a task's reference, continuous in periodic signals.

    Args:
        task: whose reference this is.
    """

    task: AbstractTask

    @cached_property
    def state(self) -> Signals:
        """The state's signals with their periods: those declared, and a full turn for every angle in rad or deg if it
        changes neither plant nor cost nor constraints."""
        task, declared = self.task, self.task.plant.state
        turns = {"rad": 2.0 * np.pi, "deg": 360.0}
        angles = [i for i, s in enumerate(declared) if s.unit in turns and np.isinf(s.period)]
        if not angles:
            return declared
        periods = {i: turns[declared[i].unit] for i in angles}
        free = {i for i in angles if not changed_by_turning(task, i, periods[i])}
        return Signals(replace(s, period=periods[i]) if i in free else s for i, s in enumerate(declared))

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """States and inputs of the reference at twice as many samples as the run has, continuous in periodic
        signals."""
        task = self.task
        count = 1 if task.reference.is_constant else 2 * task.steps + 2
        x, u = task.reference.at(task.plant, np.arange(count))
        x = np.array(x, dtype=float)
        x[0] = Signals(replace(s, quaternion="") for s in self.state).nearest(x[0], np.zeros(x.shape[1]))
        return self.state.continuous(x), np.array(u, dtype=float)

    @cached_property
    def _repeated(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Windows of a constant reference by their number of samples; used in every control step."""
        return {}

    def window(self, k: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The reference at the samples k .. k + count - 1: states (count, n) and inputs (count, m), continuous in
        periodic signals."""
        x, u = self._table
        if self.task.reference.is_constant:
            if count not in self._repeated:
                of_x, of_u = (np.broadcast_to(a[0], (count, a.shape[1])) for a in (x, u))
                self._repeated[count] = of_x, of_u
            return self._repeated[count]
        if k >= 0 and k + count <= len(x):
            return x[k : k + count], u[k : k + count]
        plant = self.task.plant
        states, inputs = self.task.reference.at(plant, np.arange(k, k + count))
        anchored = np.array(states, dtype=float)
        anchored[0] = self.state.nearest(anchored[0], x[min(max(k, 0), len(x) - 1)])
        return self.state.continuous(anchored), np.asarray(inputs, dtype=float)

    @cached_property
    def start(self) -> tuple[np.ndarray, np.ndarray]:
        """The reference at sample 0: state (n,) and input (m,)."""
        x, u = self.window(0, 1)
        return x[0], u[0]

    @cached_property
    def follows(self) -> bool:
        """Whether the undisturbed plant, given the inputs of the reference, follows its states; for a constant
        reference, whether it is an equilibrium."""
        return self.is_followed(self.task.dynamics.function(), np.zeros(0))

    def is_followed(self, step: ca.Function, values: np.ndarray) -> bool:
        """The same for the map F(x, u, w, p) of a sample at the values (parameters,) of its p."""
        steps = 1 if self.task.reference.is_constant else self.task.steps
        x, u = self.window(0, steps + 1)
        disturbances = with_known(self.task.plant, np.zeros((steps, len(self.task.plant.disturbance))))
        (after,) = values_at(step, x[:-1], u[:-1], disturbances, np.broadcast_to(values, (steps, len(values))))
        gap = np.abs(self.state.deviation(after, x[1:]))
        size = np.minimum(1.0 + np.abs(x[:-1]).max(axis=1, initial=0.0)[:, None], self.sizes[0])
        return bool((gap <= STILL * size).all())

    @cached_property
    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Typical sizes of states (n,) and inputs (m,), from reference, initial states, domain and limits; 1 where
        these give none."""
        task, (x, u) = self.task, self._table
        declared = task.plant.state
        spread = 3.0 * np.sqrt(np.diag(task.initial.covariance(declared)))
        sizes = []
        for points, away, (least, most) in (
            (x, np.abs(task.initial.mean(declared) - x[0]) + spread, task.domain_bounds),
            (u, np.zeros(u.shape[1]), task.input_bounds),
        ):
            wide = 0.5 * (most - least)
            largest = np.max([np.abs(points).max(axis=0), away, np.where(np.isfinite(wide), wide, 0.0)], axis=0)
            sizes.append(np.where(largest > 0.0, largest, 1.0))
        return sizes[0], sizes[1]


def values_at(f: ca.Function, *points: np.ndarray) -> tuple[np.ndarray, ...]:
    """The outputs (count, k) of a CasADi function of columns at some points, (count, n) per input.

    For functions that are evaluated only once; functions that are evaluated often are lowered.
    """
    count = len(points[0])
    return tuple(np.array(value).T for value in f.map(count).call([ca.DM(point.T) for point in points]))


def changed_by_turning(task: AbstractTask, which: int | list[int], period: float) -> str:
    """Name of the part of a task that changes if state ``which`` is shifted by periods, or the sign of a quaternion is
    changed; empty if none does. Plant, costs and constraints are compared at random points."""
    plant, reference = task.plant, task.reference
    generator = np.random.default_rng(0)
    x, u, w = (generator.standard_normal((16, len(s))) for s in (plant.state, plant.input, plant.disturbance))
    turns = np.outer([1.0, -1.0], 2.0 ** np.arange(8)).ravel()  # also many periods, where a constraint may act
    x_ref, u_ref = reference.at(plant, np.zeros(16, dtype=int))

    def turned(states: np.ndarray) -> np.ndarray:
        moved = np.array(states)
        moved[:, which] = -moved[:, which] if isinstance(which, list) else moved[:, which] + period * turns
        return moved

    step, stage = task.dynamics.function(), task.stage_cost_function()
    terminal, margins = task.terminal_cost_function(), task.margin_function()
    p = np.zeros((16, 0))
    # Costs are charged for the representative of the reference nearest to the state; see Task.stage_cost_function.
    here, there = (plant.state.nearest(x_ref, states) for states in (x, turned(x)))
    pairs = {
        "the plant": (turned(values_at(step, x, u, w, p)[0]), values_at(step, turned(x), u, w, p)[0]),
        "the stage cost": (values_at(stage, x, u, here, u_ref)[0], values_at(stage, turned(x), u, there, u_ref)[0]),
        "the terminal cost": (values_at(terminal, x, here)[0], values_at(terminal, turned(x), there)[0]),
    }
    for name, (before, after) in pairs.items():
        if not np.allclose(before, after, rtol=1e-6, atol=1e-9, equal_nan=True):
            return name
    (before,), (after,) = values_at(margins, x, u), values_at(margins, turned(x), u)
    differ = ~np.isclose(before, after, rtol=1e-6, atol=1e-9, equal_nan=True).all(axis=0)
    names = [constraint.name for constraint, wrong in zip(task.constraints, differ, strict=True) if wrong]
    return f"the constraint '{names[0]}'" if names else ""
