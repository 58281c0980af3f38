"""The problem that all controllers of a comparison face, in one line."""

from __future__ import annotations

import math

from ctrl.comparison.data import ComparisonData
from systems import Task

__all__ = ["difference", "problem"]


def problem(comparison: ComparisonData) -> str:
    """Task, steps, starts, seeds and true plant in one line."""
    task, seeds = comparison.task, comparison.seeds
    steps = f"{task.steps} steps of {task.dt:g} s ({task.true_dynamics})"
    seed = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    count = len(comparison.starts)
    return f"{task.name} · {steps} · {count} start{'s' if count != 1 else ''} · {seed} · {difference(task)}"


def difference(task: Task) -> str:
    """The difference between the true plant and the controllers' model, in words."""
    drawn = ""
    if task.variation is not None:
        ends = zip(task.varied.names, *task.variation.support(task.varied), strict=True)
        drawn = ", drawn for every run: " + ", ".join(f"{name} in [{low:g}, {high:g}]" for name, low, high in ends)
    return _fixed_difference(task) + drawn


def _fixed_difference(task: Task) -> str:
    if task.truth is None or task.truth == task.plant:
        return "true plant = nominal"
    true, known = task.truth.parameters, task.plant.parameters
    changes = [f"{name} {known[name]:g} -> {true[name]:g}" for name in known if known[name] != true.get(name, math.nan)]
    return f"true plant = nominal with {', '.join(changes)}" if changes else f"true plant: another {task.truth.name}"
