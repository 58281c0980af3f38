"""Comparisons with given costs, margins and times, for the tests of reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ctrl.comparison import Comparison
from ctrl.comparison.metrics import measure
from ctrl.trajectories import Trajectories
from systems import Task
from systems.library import double_integrator

STEPS = 6


def task() -> Task:
    return dataclasses.replace(double_integrator(), steps=STEPS)


def runs(
    task: Task,
    cost: Sequence[float] | np.ndarray,
    worst: Mapping[str, Sequence[float]] | None = None,
    seconds: float = 1e-3,
) -> Trajectories:
    """Runs at rest with these costs; ``worst`` gives the largest margin of each run by constraint, else -1."""
    b, n, m = len(cost), len(task.plant.state), len(task.plant.input)
    costs = np.zeros((b, task.steps))
    costs[:, 0] = cost
    margins = np.full((b, task.steps, len(task.constraints)), -1.0)
    for i, constraint in enumerate(task.constraints):
        if worst and constraint.name in worst:
            margins[:, 2, i] = worst[constraint.name]
    rest = np.zeros((b, task.steps), dtype=np.int8)
    return Trajectories(
        np.zeros((b, task.steps + 1, n)), np.zeros((b, task.steps, m)), costs, np.zeros(b), margins,
        np.full((b, task.steps), seconds), rest, rest, np.full(b, -1),
    )  # fmt: skip


def comparison(
    task: Task, of: Mapping[str, Trajectories], proved: Mapping[str, float | None] | None = None
) -> Comparison:
    count = len(next(iter(of.values())))
    return Comparison(
        task, (0,), np.zeros((count, len(task.plant.state))), np.zeros((count, task.steps, 0)), dict(of),
        dict(proved or dict.fromkeys(of)), {}, {}, dict.fromkeys(of, 1.0), 1,
        {name: measure(task, each) for name, each in of.items()}, dict.fromkeys(of, ()),
    )  # fmt: skip
