"""Combines state-feedback controllers with an estimator on tasks with a measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from ctrl.comparison.spec import Factory
from ctrl.controller import Controller
from ctrl.estimation import OutputFeedback, standard_estimator
from systems import Task

__all__ = ["paired"]


@final
@dataclass(frozen=True)
class _Pairing:
    """Makes the controller of a task, and pairs it.

    Args:
        factory: makes a controller of the state.
    """

    factory: Factory

    def __call__(self, task: Task) -> Controller:
        return OutputFeedback(self.factory(task), standard_estimator(task))


def paired(controller: Controller, given: Any, task: Task) -> tuple[Controller, Any]:
    """The controller, with an estimator if necessary, and a factory that constructs it again in another process.

    Args:
        controller: made for the task. given: the controller or its factory. task: the controlled task.
    """
    if task.measurement is None or getattr(controller, "measurement", None) is not None:
        return controller, given
    pair = OutputFeedback(controller, standard_estimator(task))
    return pair, pair if controller is given else _Pairing(given)
