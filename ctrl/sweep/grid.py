"""The cells of a sweep: every combination, in the order of its table."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ctrl.cells.identity import Identified
from ctrl.sweep.cell import SweepCell
from systems import InvalidValue, Task, UnknownName
from systems.arguments import expect_seed, expect_whole

__all__ = ["grid"]


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

    Raises:
        UnknownName: a plant without such a parameter, no such controller, or a factory without such an argument.
        InvalidValue: nothing to run.
    """
    starts = expect_whole(starts, "starts", least=1)
    seeds = [expect_seed(seed, "a seed") for seed in seeds]
    true, settings = true or {}, settings or {}
    for name, values in settings.items():
        if name not in controllers:
            raise UnknownName.among(name, controllers, "controller of the sweep")
        _expect_arguments(name, controllers[name], values)
    cells = []
    for task, changes in itertools.product(tasks, _combinations(true)):
        changed = _changed(task, changes)
        said = ", ".join(f"{name} = {value:g}" for name, value in changes.items())
        for name, factory in controllers.items():
            for chosen in _combinations(settings.get(name, {})):
                set_up = dataclasses.replace(factory, settings=tuple((dict(factory.settings) | chosen).items()))
                cells += [SweepCell(changed, said, name, set_up, starts, seed) for seed in seeds]
    if not cells:
        raise InvalidValue("nothing to run; expected at least one task, controller and seed")
    return cells


def _combinations(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


def _changed(task: Task, changes: Mapping[str, float]) -> Task:
    """The task with other parameters of its true plant."""
    plant = task.truth or task.plant
    for name in changes:
        if name not in plant.parameters:
            raise UnknownName.among(name, plant.parameters, f"parameter of {plant.name}")
    return task.with_truth(dataclasses.replace(plant, **changes)) if changes else task  # type: ignore[type-var]


def _expect_arguments(name: str, given: Identified, values: Mapping[str, Any]) -> None:
    known = list(inspect.signature(given.factory).parameters.values())[1:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
        return
    for value in values:
        if value not in [parameter.name for parameter in known]:
            raise UnknownName.among(value, [parameter.name for parameter in known], f"setting of {name}")
