"""The input after a failed solve: the last plan, shifted and corrected by feedback, or else a backup control law."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from ctrl.controller import NotApplicable, Source
from ctrl.linearisation import Expansions
from ctrl.regulator import LQR, Feedback
from systems import Task

__all__ = ["Fallback", "Plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """A prediction from sample ``k`` on.

    Args:
        x: (horizon + 1, n), states.
        u: (horizon, m), inputs.
        k: sample of the first state and input.
    """

    x: np.ndarray
    u: np.ndarray
    k: int


class Fallback:
    """Follows the last accepted plan with the local regulator's feedback around it, and then the backup control law.

    The plan is followed without feedback if there is no regulator, and in a sample without a measurement. The backup
    control law is the saturated regulator of the task, or the reference input if no regulator exists.

    Args:
        task: the controlled task.
        expansions: of the task, for values of parameters of its plant; default: those of the task.

    Attributes:
        regulator: the regulator of the task, None if it has none.
    """

    def __init__(self, task: Task, expansions: Expansions | None = None) -> None:
        self.task = task
        self._is_euclidean = task.reading.state.is_euclidean
        self._periods = task.reading.state.periods.tolist()
        self._bounds = [bound.tolist() for bound in task.input_bounds]
        try:
            self.regulator: LQR | None = LQR(task, expansions)
        except NotApplicable:
            self.regulator = None

    def input(self, x: np.ndarray, k: int, plan: Plan | None) -> tuple[np.ndarray, Source]:
        """The input (m,) at sample ``k`` in state ``x`` (n,), which may exceed its bounds, and its source."""
        if plan is not None and 0 <= k - plan.k < len(plan.u):
            i = k - plan.k
            return self.follow(x, k, plan.x[i], plan.u[i]), Source.SHIFTED_PLAN
        return self.backup(x, k), Source.BACKUP

    def follow(self, x: np.ndarray, k: int, x_planned: np.ndarray, u_planned: np.ndarray) -> np.ndarray:
        """u_planned - K (x - x_planned) with the gain of sample ``k``; u_planned alone where that is not finite."""
        if self.regulator is None:
            return u_planned
        error = x - x_planned if self._is_euclidean else self.task.reading.state.deviation(x, x_planned)
        corrected = u_planned - self.regulator.gain(k)[0] @ error
        return corrected if np.isfinite(corrected).all() else u_planned

    def feedback(self, k: int) -> Feedback | None:
        """K, x_ref and u_ref of the backup law, which is clip(u_ref - K (x - x_ref)) at sample ``k`` with the shortest
        differences of periodic signals; None if the law does not have this form."""
        reading = self.task.reading
        if reading.change_limits or reading.state.quaternions:
            return None
        if self.regulator is not None:
            return self.regulator.gain(k)
        (x_ref,), (u_ref,) = reading.window(k, 1)
        return np.zeros((len(u_ref), len(x_ref))), x_ref, u_ref

    def backup(self, x: np.ndarray, k: int) -> np.ndarray:
        """The backup law, within the input bounds."""
        feedback = self.feedback(k)
        if feedback is not None:
            inputs = self._fed_back(x.tolist(), *(array.tolist() for array in feedback))
            if all(map(isfinite, inputs)):
                return np.array(inputs)
        if self.regulator is not None:
            u = self.regulator.batch(x, k)
            return u if np.isfinite(u).all() else self.regulator.step(x, k).input
        return np.clip(self.task.reading.window(k, 1)[1][0], *self.task.input_bounds)

    def _fed_back(self, x: list[float], K: list[list[float]], x_ref: list[float], u_ref: list[float]) -> list[float]:
        """u_ref - K (x - x_ref) within the bounds: with few numbers faster than numpy, and summed in the order in which
        the compiled iteration does it, so that a plan is the same to the last bit."""
        errors = []
        for value, target, period in zip(x, x_ref, self._periods, strict=True):
            turns = (value - target) / period
            errors.append((value - round(turns) * period if isfinite(period) and isfinite(turns) else value) - target)
        inputs = []
        for row, u, low, high in zip(K, u_ref, *self._bounds, strict=True):
            for gain, error in zip(row, errors, strict=True):
                u -= gain * error
            inputs.append(min(max(u, low), high))
        return inputs
