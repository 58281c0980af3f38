"""`trivium check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from ctrl.commands.misuse import short_name

__all__ = ["Check"]


@dataclass(frozen=True)
class Check:
    """Check a plant, a task or a controller of your own, and explain how to fix any defects.

    For example:
      trivium check my_plant.py:Mass
      trivium check my_plant.py:task
      trivium check my_plant.py:task --controllers lqr linear-mpc nonlinear-mpc
      trivium check my_controller.py:Relay --task my_plant.py:task

    Exit status: 0 no check failed; 1 one did; 2 misuse.
    """

    thing: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="THING")]
    """Name of a task, or path/to/file.py:Thing, or module:Thing: a plant, a task, a controller or its factory."""
    task: Annotated[str | None, tyro.conf.arg(metavar="TASK")] = None
    """The task on which to check a controller."""
    controllers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """For a task: also show how these controllers treat it (exactly, with which approximations, or not at all)."""

    def run(self) -> int:
        report = self._report()
        print(report)
        if self.controllers:
            print(self._readings())
        return 0 if report.passed else 1

    def _readings(self) -> Any:
        from ctrl.check import check_readings
        from ctrl.discovery import load, load_task

        made = {short_name(name): load("trivium.controllers", name) for name in self.controllers}
        return check_readings(load_task(self.thing), made)

    def _report(self) -> Any:
        from ctrl.check import check_controller, check_plant, check_task
        from ctrl.discovery import UnknownObject, load, load_task, place
        from systems import Plant, Task

        if self.task is not None:
            return check_controller(load("trivium.controllers", self.thing), load_task(self.task))
        if ":" not in self.thing:
            return check_task(load_task(self.thing))
        thing = place(self.thing)
        if isinstance(thing, Plant) or (isinstance(thing, type) and issubclass(thing, Plant)):
            return check_plant(thing)
        if isinstance(thing, Task) or (callable(thing) and not isinstance(thing, type)):
            return check_task(load_task(self.thing))
        raise UnknownObject(f"'{self.thing}' is neither a plant nor a task; to check a controller, add --task TASK")
