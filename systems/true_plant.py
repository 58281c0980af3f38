"""How the plant that runs differs from the nominal one, which controllers know."""

from __future__ import annotations

import math

from systems.abstract_task import AbstractTask

__all__ = ["difference"]


def difference(task: AbstractTask) -> str:
    """The difference between the true plant and the controllers' model, in words."""
    drawn = ""
    if task.variation is not None:
        ends = zip(task.varied.names, *task.variation.support(task.varied), strict=True)
        drawn = ", drawn for every run: " + ", ".join(f"{name} in [{low:g}, {high:g}]" for name, low, high in ends)
    return _fixed_difference(task) + drawn


def _fixed_difference(task: AbstractTask) -> str:
    if task.truth is None or task.truth == task.plant:
        return "true plant = nominal"
    true, known = task.truth.parameters, task.plant.parameters
    changes = [f"{name} {known[name]:g} -> {true[name]:g}" for name in known if known[name] != true.get(name, math.nan)]
    return f"true plant = nominal with {', '.join(changes)}" if changes else f"true plant: another {task.truth.name}"
