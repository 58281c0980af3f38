"""What every online controller does with the outcome of a solve: keep the plan, or fall back on the last one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from ctrl.controller import Decision, NotApplicable, Source, Status, measured_state
from ctrl.regulator import LQR
from systems import Task

__all__ = ["Outcome", "Plan", "Recourse"]


@dataclass(frozen=True, eq=False)
class Plan:
    """A prediction from sample ``k``: states x (horizon + 1, n) and inputs u (horizon, m)."""

    x: np.ndarray
    u: np.ndarray
    k: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """How one solve ended.

    Args:
        plan: None where the point cannot be used; a function where the plan is dear and may never be asked for.
        input: (m,), the first of the plan; needed where that is a function.
    """

    status: Status
    plan: Plan | Callable[[], Plan] | None = None
    iterations: int = 0
    residual: float = np.inf
    input: np.ndarray | None = None


class Recourse:
    """Turns outcomes into decisions: accepted plan, else shifted last good plan, else backup law.

    The shifted plan is followed with the feedback of the local regulator around it where there is one, and blindly in
    a sample without a measurement. The backup is the saturated regulator, or the reference input where none exists.

    Attributes:
        failures: samples since the last good plan.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._lower, self._upper = task.input_bounds
        self._is_euclidean = task.reading.state.is_euclidean
        try:
            self.regulator: LQR | None = LQR(task)
        except NotApplicable:
            self.regulator = None
        self.reset()

    def reset(self) -> None:
        """Forgets the plan."""
        self._plan: Plan | Callable[[], Plan] | None = None
        self._last: np.ndarray | None = None
        self.failures = 0

    @property
    def plan(self) -> Plan | None:
        """The last good plan, None at first."""
        if callable(self._plan):
            self._plan = self._plan()
        return self._plan

    @plan.setter
    def plan(self, plan: Plan | None) -> None:
        self._plan = plan

    def measured(self, x: np.ndarray) -> np.ndarray:
        """The measurement as floats (n,).

        Raises:
            DimensionMismatch: another shape, which is misuse and no numerical accident. InvalidValue: no numbers.
        """
        return measured_state(x, self.task.plant.state)

    def nearest(self, x: np.ndarray, k: int) -> np.ndarray:
        """The representative of the state (n,) that predictions start from, where signals are periodic.

        It is the one closest to the state before, so that a plan is not torn where both ways round are equally far; the
        one closest to the reference at first, and where the other would have to unwind more than a turn.
        """
        if self._is_euclidean or not np.isfinite(x).all():
            return x
        state, x_ref = self.task.reading.state, self.task.reading.window(k, 1)[0][0]
        near = state.nearest(x, x_ref)
        if self._last is not None:
            going_on = state.nearest(x, self._last)
            products = [float(going_on[group] @ x_ref[group]) for group in state.quaternions]
            if (np.abs(going_on - x_ref) <= state.periods).all() and all(p >= -0.25 for p in products):
                near = going_on
        self._last = near
        return near

    @np.errstate(over="ignore", invalid="ignore")  # a state of any size may have come in; what comes of it is checked
    def decide(self, x: np.ndarray, k: int, outcome: Outcome, began: float) -> Decision:
        """The decision at sample ``k`` in state ``x``; ``began`` is the ``perf_counter`` at the start of the step."""
        if outcome.plan is not None:
            self._plan, self.failures = outcome.plan, 0
            source = Source.OPTIMAL if outcome.status is Status.SOLVED else Source.SUBOPTIMAL
            u = outcome.input
            if u is None:
                assert self.plan is not None
                u = self.plan.u[0]
            u = self._clip(u)
        else:
            self.failures += 1
            u, source = self._fall_back(x, k)
        return Decision(u, outcome.status, source, outcome.iterations, outcome.residual, perf_counter() - began)

    def _fall_back(self, x: np.ndarray, k: int) -> tuple[np.ndarray, Source]:
        plan = self.plan
        if plan is not None and 0 <= k - plan.k < len(plan.u):
            i = k - plan.k
            u = plan.u[i]
            if self.regulator is not None:
                error = x - plan.x[i] if self._is_euclidean else self.task.reading.state.deviation(x, plan.x[i])
                corrected = u - self.regulator.gain(k)[0] @ error
                u = corrected if np.isfinite(corrected).all() else u
            return self._clip(u), Source.SHIFTED_PLAN
        return self.backup(x, k), Source.BACKUP

    def backup(self, x: np.ndarray, k: int) -> np.ndarray:
        """The backup law: the saturated regulator, or the reference input where there is none."""
        if self.regulator is not None:
            return self.regulator.step(x, k).input
        return self._clip(np.array(self.task.reading.window(k, 1)[1][0]))

    def _clip(self, u: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(u, self._lower), self._upper)
