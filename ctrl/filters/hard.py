"""A task with hard constraints in place of others, so that a filter enforces them."""

from __future__ import annotations

import dataclasses

from systems import Hard, Task, UnknownName
from systems.errors import expect

__all__ = ["with_hard_constraints"]


def with_hard_constraints(task: Task, *names: str) -> Task:
    """The same task with constraints that must hold at every sample, whatever their requirement was before.

    Args:
        task: with budgets, chance constraints or penalties.
        names: of the constraints; default: all.

    Raises:
        UnknownName: no such constraint.
    """
    expect(task, Task, "the task of with_hard_constraints", "such as systems.library.braking()")
    known = [constraint.name for constraint in task.constraints]
    for name in names:
        if name not in known:
            raise UnknownName.among(name, known, f"constraint of task '{task.name}'")
    return dataclasses.replace(
        task,
        constraints=tuple(
            dataclasses.replace(c, requirement=Hard()) if c.name in (names or known) else c for c in task.constraints
        ),
    )
