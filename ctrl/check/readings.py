"""How controllers handle a task: exactly, by approximations that they announce, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ctrl.answers import announced
from ctrl.check.report import Check, Report
from ctrl.controller import Controller, NotApplicable
from systems import Task

__all__ = ["check_readings"]


def check_readings(task: Task, controllers: Mapping[str, Callable[[Task], Controller]]) -> Report:
    """Reports how each controller handles the task, without a run.

    Args:
        task: the task.
        controllers: by name, functions of the task that return a controller.
    """
    return Report(
        f"task '{task.name}' as controllers take it", tuple(_reading(task, *item) for item in controllers.items())
    )


def _reading(task: Task, name: str, make: Callable[[Task], Controller]) -> Check:
    try:
        approximations = announced(make(task))
    except NotApplicable as reason:
        return Check(name, False, f"refuses it: {reason}", warning=True)
    except Exception as error:  # a controller of the user's may do anything
        return Check(name, False, f"{type(error).__name__}: {error}")
    if approximations is None:
        return Check(
            name, False, "does not announce its approximations; give it an attribute approximations", warning=True
        )
    return Check(name, True, "; ".join(approximations) if approximations else "takes it as it is written")
