"""The constraints of a task as rows lower <= v(x, u) <= upper with a weight on their violation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.abstract_task import AbstractTask
from systems.constraints import Box, Budget, ChangeLimit, Constraint, Hard, Polytope, Soft
from systems.nonsmooth import branches, kinks
from systems.reading.reference import ReferencePath, values_at
from systems.signals import Vector

__all__ = [
    "Conditions",
    "budgets_excess",
    "conditions",
    "inputs_beyond",
    "is_input_box",
    "not_affine",
    "violated_constraints",
    "violated_names",
]

ROUNDING = 1e-9
"""A reference counts as beyond a bound if the excess is larger than this, relative to the size of the quantity (the
``sizes`` of the reference, which follow the units of the signals)."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """lower <= v(x, u) <= upper, row by row, in addition to the input bounds of the task.

    Hard constraints have an infinite weight. So do chance constraints and budgets of violated samples, which a
    prediction without disturbance satisfies at every sample. Budgets of accumulated excess have no row.

    Args:
        value: ``v(x, u) -> (rows, 1)``. lower, upper: (rows,), each row with a finite bound.
        weight: (rows,), per unit of violation and step. names: of the constraint each row belongs to.
        group: (rows,), equal for soft rows of which only the largest violation is charged.
        on_state, on_input: masks (rows,), what the row depends on.
        kinks: operations that make a row or its derivative jump, by constraint.
    """

    value: ca.Function
    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray
    names: tuple[str, ...]
    group: np.ndarray
    on_state: np.ndarray
    on_input: np.ndarray
    kinks: dict[str, tuple[str, ...]]

    def imposed(self, k: int, horizon: int) -> np.ndarray:
        """Indices of the rows imposed at stage ``k`` of 0..horizon.

        The measured state cannot be changed, so rows of the state alone start at stage 1; the last stage has no input.
        """
        if k == 0:
            return np.flatnonzero(self.on_input)
        return np.flatnonzero(~self.on_input if k == horizon else np.ones(len(self.names), dtype=bool))


def conditions(task: AbstractTask) -> Conditions:
    """The conditions of a task as two-sided rows; a hard box on inputs is left to ``task.input_bounds``.

    A box gives one row per signal, and a limit on changes one per input, so that both sides share one violation. A
    maximum of smooth functions gives one row for each of them. The task's domain is not a condition.
    """
    plant = task.plant
    x, u = plant.state.symbol(), plant.input.symbol()
    values: list[Any] = []
    lower, upper, weight, names = [], [], [], []
    group: list[int] = []
    rough: dict[str, tuple[str, ...]] = {}
    for constraint, g in zip(task.constraints, task.constraint_functions, strict=True):
        requirement = constraint.requirement
        if budgets_excess(constraint):
            continue
        if isinstance(constraint, Box):
            rows, low, high = _box(constraint, task, x, u)
            groups = list(range(len(rows)))
        elif isinstance(constraint, ChangeLimit):
            rows = constraint.changes(Vector(plant.state, x, "state"), Vector(plant.input, u, "input"))
            low, high = ([float(bound[side]) for bound in constraint.bounds.values()] for side in (0, 1))
            groups = list(range(len(rows)))
        else:
            rows, low, high, groups = _inequality(constraint, g, x, u, rough)
        start = max(group, default=-1) + 1
        values += rows
        lower += low
        upper += high
        group += [start + g for g in groups]
        weight += [requirement.weight if isinstance(requirement, Soft) else np.inf] * len(rows)
        names += [constraint.name] * len(rows)
    depends = [[bool(ca.depends_on(row, z)) for row in values] for z in (x, u)]
    value = ca.Function("conditions", [x, u], [ca.vertcat(*values) if values else ca.SX(0, 1)], ["x", "u"], ["v"])
    return Conditions(
        value,
        np.array(lower, dtype=float),
        np.array(upper, dtype=float),
        np.array(weight, dtype=float),
        tuple(names),
        np.array(group, dtype=int),
        np.array(depends[0], dtype=bool),
        np.array(depends[1], dtype=bool),
        rough,
    )


def _box(box: Box, task: AbstractTask, x: Any, u: Any) -> tuple[list[Any], list[float], list[float]]:
    plant = task.plant
    signals = dict(zip((*plant.state.names, *plant.input.names), ca.vertsplit(ca.vertcat(x, u)), strict=True))
    left_to_bounds = plant.input.names if isinstance(box.requirement, Hard) else ()
    kept = [name for name, bound in box.bounds.items() if name not in left_to_bounds and np.isfinite(bound).any()]
    low, high = ([float(box.bounds[name][side]) for name in kept] for side in (0, 1))
    return [box._near(signals[name], name, plant.state) for name in kept], low, high


def _inequality(
    constraint: Constraint, g: ca.Function, x: Any, u: Any, rough: dict[str, tuple[str, ...]]
) -> tuple[list[Any], list[float], list[float], list[int]]:
    rows: list[Any] = []
    groups: list[int] = []
    symbols = g.sx_in()
    for i, row in enumerate(ca.vertsplit(g(*symbols))):
        if isinstance(constraint, Polytope) and not np.isfinite(constraint.h[i]):
            continue
        whole = ca.Function("g", symbols, [row], ["x", "u"], ["g"])
        split = branches(whole)
        if split is None:
            rough[constraint.name] = tuple(sorted({*rough.get(constraint.name, ()), *kinks(whole)}))
            split = whole
        pieces = ca.vertsplit(split(x, u))
        rows += pieces
        groups += [i] * len(pieces)
    return rows, [-np.inf] * len(rows), [0.0] * len(rows), groups


def not_affine(rule: Conditions) -> tuple[str, ...]:
    """Names of the constraints with a row that is not affine in state and input."""
    x, u = rule.value.sx_in()
    slopes = ca.jacobian(rule.value(x, u), ca.vertcat(x, u))
    return tuple(dict.fromkeys(name for i, name in enumerate(rule.names) if ca.symvar(slopes[i, :])))


def budgets_excess(constraint: Constraint) -> bool:
    """Whether a constraint has a budget of accumulated excess."""
    return isinstance(constraint.requirement, Budget) and constraint.requirement.of == "excess"


def is_input_box(task: AbstractTask, constraint: Constraint) -> bool:
    """Whether a constraint is a hard box on inputs alone, which is part of the input bounds."""
    names = set(task.plant.input.names)
    return (
        isinstance(constraint, Box) and isinstance(constraint.requirement, Hard) and names.issuperset(constraint.bounds)
    )


def violated_constraints(path: ReferencePath) -> tuple[Constraint, ...]:
    """The constraints that the reference violates by more than rounding, whatever their requirement."""
    task = path.task
    x, u = path.window(0, 1 if task.reference.is_constant else task.steps + 1)
    (margins,) = values_at(task.margin_function(), x, u)
    over = ~(margins <= 0.0).all(axis=1)
    if over.any():
        margins[over] -= ROUNDING * _margin_sizes(path, x[over], u[over])
    kept: list[bool] = np.all(margins <= 0.0, axis=0).tolist()
    return tuple(constraint for constraint, keeps in zip(task.constraints, kept, strict=True) if not keeps)


def _margin_sizes(path: ReferencePath, x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Sizes of the margins (samples, constraints) in the units of states (samples, n) and inputs (samples, m): their
    first-order change if these change by their whole size; 0 where it is unknown."""
    margins = path.task.margin_function()
    z = ca.vertcat(*margins.sx_in())
    try:
        slopes = ca.jacobian(margins(*margins.sx_in()), z)
        f = ca.Function("sizes", margins.sx_in(), [ca.fabs(slopes) @ ca.DM(np.concatenate(path.sizes))])
        (sizes,) = values_at(f, x, u)
    except RuntimeError:  # without derivatives, such as a callback
        return np.zeros((len(x), margins.size1_out(0)))
    return np.where(np.isfinite(sizes), sizes, 0.0)


def inputs_beyond(path: ReferencePath) -> np.ndarray:
    """Which inputs, (m,) of bool, have a reference beyond their bounds by more than rounding."""
    task = path.task
    _, u = path.window(0, 1 if task.reference.is_constant else task.steps + 1)
    least, most = task.input_bounds
    rounding = ROUNDING * path.sizes[1]
    return np.any((u < least - rounding) | (u > most + rounding), axis=0)


def violated_names(path: ReferencePath, violated: tuple[Constraint, ...]) -> tuple[str, ...]:
    """Names of the given constraints that are neither soft nor budgets of excess, and of the inputs whose
    reference is beyond its bounds."""
    names = [c.name for c in violated if not isinstance(c.requirement, Soft) and not budgets_excess(c)]
    outside = inputs_beyond(path).tolist()
    return (*names, *(name for name, out in zip(path.task.plant.input.names, outside, strict=True) if out))
