"""Controllers whose model has parameters that may change while they run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from ctrl.controller import Controller
from ctrl.knowledge import Knowledge, knowledge_of
from systems import InvalidValue, Task
from systems.errors import shown

__all__ = ["Tunable", "adapted_knowledge", "tunable"]


@runtime_checkable
class Tunable(Controller, Protocol):
    """A controller whose model has parameters that may change from sample to sample.

    Attributes:
        parameters: their names.
        unchanged: what of it remains that of the task's parameters, in words; empty where all follows.
    """

    @property
    def parameters(self) -> tuple[str, ...]: ...

    @property
    def unchanged(self) -> str: ...

    def set_parameters(self, values: np.ndarray) -> None:
        """Predicts with these values (parameters,) from the next sample on."""


def tunable(predictive: Callable[..., Controller], task: Task, names: Sequence[str]) -> Tunable:
    """A controller of a task whose plant's parameters with these names may change.

    Args:
        predictive: constructs it, by ``predictive(task, parameters=names)``.
        task: whose plant has the parameters.
        names: of the parameters.

    Raises:
        InvalidValue: not what constructs such a controller.
    """
    if not callable(predictive):
        raise InvalidValue(
            f"predictive = {shown(predictive)}; expected what constructs the controller, such as LinearMPC, "
            "NonlinearMPC or functools.partial(NonlinearMPC, horizon=15)"
        )
    try:
        controller = predictive(task, parameters=names)
    except TypeError as error:
        raise InvalidValue(
            f"predictive = {shown(predictive)} does not accept a task and parameters=...: {error}; what it makes "
            "is for one plant, so give LinearMPC, NonlinearMPC or functools.partial(NonlinearMPC, horizon=15)"
        ) from error
    if not isinstance(controller, Tunable):
        raise InvalidValue(
            f"predictive made {shown(controller)}, whose parameters cannot be set; give LinearMPC, NonlinearMPC or "
            "functools.partial(NonlinearMPC, horizon=15)"
        )
    if tuple(controller.parameters) != tuple(names):
        raise InvalidValue(
            f"predictive made {shown(controller)}, whose parameters are {', '.join(controller.parameters) or 'none'}; "
            f"expected {', '.join(names)}: pass parameters on to it"
        )
    return controller


def adapted_knowledge(controller: Controller) -> Knowledge | None:
    """The knowledge of a controller whose model is adapted while it runs; None if it states none."""
    inner = knowledge_of(controller)
    return None if inner is None else dataclasses.replace(inner, tuning="the nominal model and the run so far")
