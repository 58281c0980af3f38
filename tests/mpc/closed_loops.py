"""Closed loops of one controller, and what they cost."""

from __future__ import annotations

import numpy as np

from ctrl.controller import Controller, Decision
from systems import Task

__all__ = ["cost_of", "first_state"]


def first_state(task: Task) -> np.ndarray:
    """An initial state (n,) of the task."""
    return np.asarray(task.initial.sample(task.plant.state, np.random.default_rng(0)))


def cost_of(controller: Controller, task: Task, steps: int) -> tuple[float, list[Decision]]:
    """The cost of so many undisturbed samples, and their decisions."""
    after, stage, x = task.dynamics.function(), task.stage_cost_function(), first_state(task)
    total, decisions = 0.0, []
    for k in range(steps):
        decisions.append(controller.step(x, k))
        u = decisions[-1].input
        x_ref, u_ref = (part[0] for part in task.reading.window(k, 1))
        total += float(stage(x, u, x_ref, u_ref))
        x = np.array(after(x, u, 0, []))[:, 0]
    return total, decisions
