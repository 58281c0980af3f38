"""The input where a solve gave none: the last plan, shifted and corrected by feedback, else a backup law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctrl.controller import NotApplicable, Source
from ctrl.regulator import LQR
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

    The plan is followed without feedback where there is no regulator, and in a sample without a measurement. The backup
    law is the saturated regulator of the task, or the reference input where no regulator exists.

    Args:
        task: what is controlled.

    Attributes:
        regulator: the regulator of the task, None where it has none.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._is_euclidean = task.reading.state.is_euclidean
        try:
            self.regulator: LQR | None = LQR(task)
        except NotApplicable:
            self.regulator = None

    def input(self, x: np.ndarray, k: int, plan: Plan | None) -> tuple[np.ndarray, Source]:
        """The input (m,) at sample ``k`` in state ``x`` (n,), which may exceed its bounds, and where it comes from."""
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

    def backup(self, x: np.ndarray, k: int) -> np.ndarray:
        """The backup law, within the input bounds."""
        if self.regulator is not None:
            u = self.regulator.batch(x, k)
            return u if np.isfinite(u).all() else self.regulator.step(x, k).input
        return np.clip(self.task.reading.window(k, 1)[1][0], *self.task.input_bounds)
