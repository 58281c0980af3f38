"""A controller with a safety filter."""

from __future__ import annotations

from collections import Counter
from time import perf_counter
from typing import final

import numpy as np

from ctrl.answers import announced
from ctrl.controller import (
    Controller,
    Decision,
    NotApplicable,
    Source,
    Status,
    expect_sample_time,
    measured_state,
    sample_index,
)
from ctrl.filters.safety_filter import Interventions, Reason, SafetyFilter
from ctrl.knowledge import Knowledge, knowledge_of
from systems import InvalidValue
from systems.errors import expect, shown

__all__ = ["Filtered"]

_STATUSES = {
    Reason.UNSAFE_INPUT: Status.SOLVED,
    Reason.NO_INPUT: Status.NUMERICAL,
    Reason.NO_STATE: Status.NUMERICAL,
    Reason.OUTSIDE: Status.INFEASIBLE,
    Reason.INFEASIBLE: Status.INFEASIBLE,
}


@final
class Filtered:
    """A controller whose inputs pass through a safety filter: ``Filtered(policy, Shield(task, certificate))``.

    If the filter intervenes, the decision's source is the backup, and its status tells whether the filter's claim
    holds: solved if an unsafe input was replaced, infeasible if the state was outside the safe set.

    Args:
        controller: any controller of the state; its inputs are clipped to the task's bounds before they are filtered.
        safety_filter: decides which of the controller's inputs are applied.

    Attributes:
        controller, safety_filter: as given.

    Raises:
        InvalidValue: not a controller. NotApplicable: a controller of measurements, or of another sample time.
    """

    def __init__(self, controller: Controller, safety_filter: SafetyFilter) -> None:
        if isinstance(controller, type) or not isinstance(controller, Controller):
            raise InvalidValue(
                f"the controller of Filtered is {shown(controller)}; expected an object with reset() and step(x, k), "
                "such as LQR(task), or from_function(f)(task) for a function of the observation"
            )
        expect(safety_filter, SafetyFilter, "the filter of Filtered", "such as Shield(task, certificate)")
        if getattr(controller, "measurement", None) is not None:
            raise NotApplicable(
                f"{type(controller).__name__} takes measurements, but a filter needs the state: filter its inner "
                "controller instead: OutputFeedback(Filtered(controller, safety_filter), estimator)"
            )
        expect_sample_time(safety_filter.task, controller)
        self.controller, self.safety_filter = controller, safety_filter
        self._steps, self._reasons = 0, Counter[Reason]()

    @property
    def statistics(self) -> Interventions:
        """How often the filter intervened, and why, in all runs so far."""
        return Interventions(self._steps, dict(self._reasons))

    @property
    def approximations(self) -> tuple[str, ...] | None:
        """Those of the controller; the filter adds none."""
        texts = announced(self.controller)
        return None if texts is None else tuple(f"its controller {text}" for text in texts)

    @property
    def knowledge(self) -> Knowledge | None:
        """That of the controller."""
        return knowledge_of(self.controller)

    def __repr__(self) -> str:
        return f"<{type(self.controller).__name__} behind {self.safety_filter!r}; {self.statistics}>"

    def reset(self) -> None:
        """Starts a new run; the statistics are kept."""
        self.controller.reset()
        self.safety_filter.reset()

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides at sample k in state x (n,): the controller's input if it is safe, otherwise the filter's."""
        began = perf_counter()
        x, k = measured_state(x, self.safety_filter.task.plant.state), sample_index(k)
        decision = self.controller.step(x.copy(), k)
        correction = self.safety_filter.correct(x, decision.input, k)
        self._steps += 1
        if correction.reason is None:
            return Decision(
                correction.input,
                decision.status,
                decision.source,
                decision.iterations,
                decision.residual,
                perf_counter() - began,
            )
        self._reasons[correction.reason] += 1
        status = _STATUSES[correction.reason]
        return Decision(correction.input, status, Source.BACKUP, correction.iterations, seconds=perf_counter() - began)
