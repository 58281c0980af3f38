"""LQR as the baseline of a policy: its return during training, and a comparison of the two at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np

__all__ = ["Baseline"]

RUNS = 200
SURE = 2.0  # standard errors of the paired differences beyond which a difference is more than noise


@final
class Baseline:
    """Runs of LQR on a task, and of a policy from the same starts under the same disturbances.

    Args:
        task: where LQR does not apply, nothing is said of it.

    Attributes:
        name: of a controller to compare a policy with, as in `trivium compare --controllers`: LQR, or nonlinear MPC
            where LQR does not apply.
    """

    def __init__(self, task: Any) -> None:
        from ctrl.comparison.draws import draw_all
        from ctrl.regulator import LQR
        from systems import Task
        from systems.errors import TriviumError

        self.task = task
        self._costs: np.ndarray | None = None
        self.name = "nonlinear-mpc"
        if isinstance(task, Task):
            try:
                self._draws = draw_all(task, RUNS, (0,))
                regulator = LQR(task)
                self.name = "lqr"
                self._costs = self._run(regulator)
            except TriviumError:
                pass

    def _run(self, controller: Any) -> np.ndarray:
        from ctrl.loop import totals

        costs = totals(self.task, controller, **self._draws.arguments).cost
        return np.where(np.isfinite(costs), costs, np.inf)

    @property
    def returns(self) -> dict[str, float]:
        """Mean returns by name of the controller."""
        return {} if self._costs is None else {"LQR": -float(self._costs.mean())}

    def verdict(self, path: Path) -> tuple[str, bool]:
        """A line that compares the policy in a file with LQR, if any, and whether the policy is worse."""
        from ctrl.discovery import load
        from systems.errors import TriviumError

        if self._costs is None:
            return "", False
        try:
            costs = self._run(load("trivium.controllers", str(path))(self.task))
        except TriviumError:  # a learner of one's own saves what it likes
            return "", False
        said = f"cost per run {costs.mean():.4g}, LQR {self._costs.mean():.4g}, from the same {len(costs)} starts"
        with np.errstate(invalid="ignore"):
            more = np.where(costs == self._costs, 0.0, costs - self._costs)  # both infinite: equal
            doubt = SURE * float(more.std(ddof=1)) / len(more) ** 0.5 if len(more) > 1 else 0.0
        mean = float(more.mean())
        if np.isfinite(mean) and abs(mean) <= doubt:
            return f"as good as LQR: {said}", False
        if not mean < 0:
            fix = "train longer, give the task a domain, or learn what to add to LQR (--residual True, another --out)"
            return f"worse than LQR: {said}; {fix}", True
        return f"better than LQR: {said}", False
