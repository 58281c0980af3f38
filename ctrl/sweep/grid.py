"""The cells of a sweep: every combination, in the order of its table."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ctrl.cells.identity import Identified
from ctrl.comparison.draws import draw_all
from ctrl.sweep.cell import SweepCell
from systems import InvalidValue, Task, UnknownName
from systems.arguments import expect_seed, expect_whole
from systems.describe import describe

__all__ = ["expect_settings", "grid"]


def grid(
    tasks: Sequence[Task],
    controllers: Mapping[str, Identified],
    starts: int,
    seeds: Sequence[int] = (0,),
    true: Mapping[str, Sequence[float]] | None = None,
    settings: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
) -> list[SweepCell]:
    """Every combination of tasks, true parameters, controllers, settings and seeds.

    Args:
        tasks: of the runs.
        controllers: factories by the name that the table shows.
        starts: number of initial states for each seed.
        seeds: of initial states and disturbances; default: 0.
        true: values of parameters of the true plant, which the controllers do not know; default: those of each task.
        settings: by controller, values of arguments of its factory; default: none.

    Seeds with the runs of an earlier one, as of a task in which nothing is drawn, are left out: copies of a run are not
    independent evidence.

    Raises:
        UnknownName: a plant without such a parameter, no such controller, or a factory without such an argument.
        InvalidValue: nothing to run, or the same twice.
    """
    starts = expect_whole(starts, "starts", least=1)
    seeds = [expect_seed(seed, "a seed") for seed in seeds]
    true, settings = true or {}, settings or {}
    _expect_distinct([task.name for task in tasks], "task")
    _expect_distinct(seeds, "seed")
    for name, changed_values in true.items():
        _expect_distinct(changed_values, f"value of {name}")
    for controller, arguments in settings.items():
        for name, values in arguments.items():
            _expect_distinct(values, f"value of {controller}:{name}")
    for controller, arguments in settings.items():
        if controller not in controllers:
            raise UnknownName.among(controller, controllers, "controller of the sweep")
        expect_settings(controller, controllers[controller], arguments)
    cells = []
    for task, changes in itertools.product(tasks, _combinations(true)):
        changed, drawn = _changed(task, changes), _distinct_seeds(task, starts, seeds)
        parameters = ", ".join(f"{name} = {value:g}" for name, value in changes.items())
        for name, factory in controllers.items():
            for chosen in _combinations(settings.get(name, {})):
                set_up = dataclasses.replace(factory, settings=tuple((dict(factory.settings) | chosen).items()))
                cells += [SweepCell(changed, parameters, name, set_up, starts, seed) for seed in drawn]
    if not cells:
        raise InvalidValue("nothing to run; expected at least one task, controller and seed")
    return cells


def _expect_distinct(values: Sequence[Any], what: str) -> None:
    """The table tells lines apart by what varies, and runs that are counted twice make its intervals too narrow."""
    texts = [json.dumps(describe(value)) for value in values]
    for i, value in enumerate(texts):
        if value in texts[:i]:
            raise InvalidValue(f"{what} {values[i]} is given twice; expected each once")


def _distinct_seeds(task: Task, starts: int, seeds: Sequence[int]) -> list[int]:
    if len(seeds) < 2:
        return list(seeds)
    first: dict[bytes, int] = {}
    for seed in seeds:
        drawn = b"".join(part.tobytes() for part in draw_all(task, starts, (seed,)) if part is not None)
        first.setdefault(hashlib.sha256(drawn).digest(), seed)
    return list(first.values())


def _combinations(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


def _changed(task: Task, changes: Mapping[str, float]) -> Task:
    """The task with other parameters of its true plant."""
    plant = task.truth or task.plant
    for name in changes:
        if name not in plant.parameters:
            raise UnknownName.among(name, plant.parameters, f"parameter of {plant.name}")
    return task.with_truth(dataclasses.replace(plant, **changes)) if changes else task  # type: ignore[type-var]


def expect_settings(name: str, given: Identified, values: Mapping[str, Any]) -> None:
    """Checks that a factory has arguments of these names.

    Args:
        name: of the controller, for errors.
        given: its factory.
        values: by name.

    Raises:
        UnknownName: the factory has no such argument.
    """
    known = list(inspect.signature(given.factory).parameters.values())[1:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
        return
    for value in values:
        if value not in [parameter.name for parameter in known]:
            raise UnknownName.among(value, [parameter.name for parameter in known], f"setting of {name}")
