"""Descriptions of objects as plain data, for files that record what was run."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any

import casadi as ca
import numpy as np

from systems.abstract_task import AbstractTask
from systems.constraints import Constraint
from systems.costs import Cost
from systems.observations import Observation
from systems.plant import Plant
from systems.signals import Signals

__all__ = ["content", "describe", "fingerprint", "statement"]


def describe(thing: Any) -> Any:
    """The object as numbers, text, lists and dictionaries for JSON, with expressions as CasADi prints them.

    Frozen dataclasses become dictionaries of their fields under their class name; plants, costs, constraints and
    observations of a :class:`Task` include the expressions that were actually used. Infinity and NaN become text.
    """
    if isinstance(thing, (AbstractTask, Plant)):
        with _all_digits():
            return _task(thing) if isinstance(thing, AbstractTask) else _plant(thing)
    if isinstance(thing, Signals):
        return [f"{signal}, integer" if signal.integer else str(signal) for signal in thing]
    if isinstance(thing, Enum):
        return describe(thing.value)
    if thing is None or isinstance(thing, (bool, str)):
        return thing
    if isinstance(thing, (int, np.integer)):
        return int(thing)
    if isinstance(thing, (float, np.floating)):
        return float(thing) if math.isfinite(thing) else str(float(thing))
    if isinstance(thing, np.ndarray):
        return describe(thing.tolist())
    if isinstance(thing, Mapping):
        return {str(key): describe(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple, set, frozenset)):
        return [describe(entry) for entry in thing]
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return _fields(thing)
    if isinstance(thing, (ca.SX, ca.MX, ca.DM)):
        return str(thing)
    return _callable(thing) if callable(thing) else repr(thing)


def fingerprint(task: AbstractTask) -> str:
    """A short text that is equal for two tasks exactly if they are the same for a learner.

    It does not depend on where functions are defined, nor on parts that no learner uses: the name, the true plant, and
    the tolerance of a comparison.
    """
    with _all_digits():
        fields = _task(dataclasses.replace(task, truth=None, tolerance=None))
    fields["name"] = ""
    del fields["arrival"]
    return _digest(_expressions(fields))[:16]


def content(task: AbstractTask) -> str:
    """A text that is equal for two tasks exactly if all of their fields are equal."""
    return _digest(statement(task))


def statement(task: AbstractTask) -> dict[str, Any]:
    """All fields of a task as plain data, of which :func:`content` is a digest; independent of where functions are
    defined."""
    with _all_digits():
        fields: dict[str, Any] = _expressions(_task(task))
    return fields


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


@contextmanager
def _all_digits() -> Iterator[None]:
    """Within, CasADi prints the constants of expressions with 15 digits, whatever the program has set for itself."""
    precision, scientific = ca.SX.get_precision(), ca.SX.get_scientific()
    try:
        ca.SX.set_precision(15)
        ca.SX.set_scientific(False)
        yield
    finally:
        ca.SX.set_precision(precision)
        ca.SX.set_scientific(scientific)


def _expressions(thing: Any) -> Any:
    """The same without the places of functions, whose expressions are given instead."""
    if isinstance(thing, dict):
        return {key: _expressions(value) for key, value in thing.items() if not isinstance(value, _Place)}
    return [_expressions(entry) for entry in thing] if isinstance(thing, list) else thing


class _Place(str):
    """Where a function is defined."""

    __slots__ = ()


def _task(task: AbstractTask) -> dict[str, Any]:
    """A task with its expressions spelt out in the names of its signals."""
    fields: dict[str, Any] = {"class": "Task"}
    for field in dataclasses.fields(task):
        value = getattr(task, field.name)
        fields[field.name] = _plant(value) if isinstance(value, Plant) else describe(value)
    fields["dynamics"] = f"{task.dynamics}"
    fields["cost"] = {
        **_named(task.cost),
        "stage": _stage(task.cost, task.plant),
        "terminal": _terminal(task.cost, task.plant),
    }
    fields["constraints"] = [_constraint(constraint, task.plant) for constraint in task.constraints]
    fields["arrival"] = describe(task.arrival)
    if task.measurement is None:
        del fields["measurement"]  # so that a task without one is described as before there were any
    else:
        outputs = task.measurement.function(task.plant)
        fields["measurement"]["expression"] = str(outputs(_symbols(task.plant.state), _symbols(task.plant.input)))
    if isinstance(task.observation, Observation):
        observed = task.observe_function()
        x, xr = _symbols(task.plant.state), _symbols(task.plant.state, "_reference")
        fields["observation"] = {"signals": describe(task.observation.signals), "expression": str(observed(x, xr))}
    return fields


def _plant(plant: Plant) -> dict[str, Any]:
    x, u, w = (_symbols(declared) for declared in (plant.state, plant.input, plant.disturbance))
    equations = {"next" if plant.is_discrete else "ode": str(plant.casadi()(x, u, w, ca.SX(0, 1)))}
    signals = {role: describe(getattr(plant, role)) for role in ("state", "input", "disturbance")}
    lower, upper = plant.bounds
    fields = _fields(plant) if dataclasses.is_dataclass(plant) else _named(plant)
    return {**fields, **signals, **equations, "input_bounds": describe([lower, upper])}


def _constraint(constraint: Constraint, plant: Plant) -> dict[str, Any]:
    g = constraint.function(plant)(_symbols(plant.state), _symbols(plant.input))
    fields = _fields(constraint) if dataclasses.is_dataclass(constraint) else _named(constraint)
    return {**fields, "g": str(g)}


def _stage(cost: Cost, plant: Plant) -> str:
    stage = cost.stage_function(plant)
    names = [(plant.state, ""), (plant.input, ""), (plant.state, "_reference"), (plant.input, "_reference")]
    return str(stage(*(_symbols(declared, suffix) for declared, suffix in names)))


def _terminal(cost: Cost, plant: Plant) -> str:
    return str(cost.terminal_function(plant)(_symbols(plant.state), _symbols(plant.state, "_reference")))


def _symbols(declared: Signals, suffix: str = "") -> Any:
    return ca.vertcat(*[ca.SX.sym(name + suffix) for name in declared.names]) if declared else ca.SX(0, 1)


def _named(thing: Any) -> dict[str, Any]:
    return {"class": type(thing).__name__, **(_fields(thing) if dataclasses.is_dataclass(thing) else {})}


def _fields(thing: Any) -> dict[str, Any]:
    named = {field.name: describe(getattr(thing, field.name)) for field in dataclasses.fields(thing)}
    return {"class": type(thing).__name__, **named}


def _callable(thing: Any) -> _Place:
    """Where a function is defined; the object that calls it shows its expression."""
    code = inspect.unwrap(thing).__code__ if inspect.isfunction(inspect.unwrap(thing)) else None
    name = getattr(thing, "__qualname__", type(thing).__name__)
    return _Place(f"{name} at line {code.co_firstlineno} of {thing.__module__}" if code else name)
