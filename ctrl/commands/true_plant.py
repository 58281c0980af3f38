"""Changes of the true plant that commands accept."""

from __future__ import annotations

import dataclasses

from ctrl.commands.misuse import Misuse
from systems import Task, UnknownName
from systems.true_plant import difference

__all__ = ["nominal", "plant_line", "with_true_parameters"]


def nominal(task: Task) -> Task:
    """The task whose true plant is the one that controllers know, the same in every run."""
    return dataclasses.replace(task, truth=None, variation=None)


def plant_line(task: Task, is_nominal: bool) -> str:
    """Which plant a claim is about, and how to ask for the other; empty if the task has one plant alone.

    Args:
        task: with the plant that runs in comparisons.
        is_nominal: whether the claim is about its nominal plant instead.
    """
    if task.truth is None and task.variation is None:
        return ""
    if is_nominal:
        return f"about the nominal plant; without --nominal, about the one that runs ({difference(task)})"
    return f"about the plant that runs ({difference(task)}); --nominal proves a claim about the nominal plant"


def with_true_parameters(task: Task, changes: tuple[str, ...]) -> Task:
    """The task with some parameters of the true plant changed, each given as ``name=value``."""
    if not changes:
        return task
    plant, values = task.truth or task.plant, {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in plant.parameters:
            raise UnknownName.among(name, plant.parameters, f"parameter of {plant.name}")
        try:
            values[name] = float(text)
        except ValueError:
            raise Misuse(f"--true {change}; expected name=value with a number, such as {name}=1.5") from None
    return task.with_truth(plant.with_parameters(values))
