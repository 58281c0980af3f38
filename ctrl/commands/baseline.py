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
                self._costs, self._violated = self._run(regulator)
            except TriviumError:
                pass

    def _run(self, controller: Any) -> tuple[np.ndarray, np.ndarray]:
        """The cost (b,) of each run, and at how many samples (b, constraints) it violates each constraint."""
        from ctrl.loop import totals

        runs = totals(self.task, controller, **self._draws.arguments)
        return np.where(np.isfinite(runs.cost), runs.cost, np.inf), runs.violated

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
            costs, violated = self._run(load("trivium.controllers", str(path))(self.task))
        except TriviumError:  # a learner of one's own saves what it likes
            return "", False
        text = f"cost per run {costs.mean():.4g}, LQR {self._costs.mean():.4g}, from the same {len(costs)} starts"
        text += "".join(map(_of_constraint, self.task.constraints, violated.T, self._violated.T))
        with np.errstate(invalid="ignore"):
            more = np.where(costs == self._costs, 0.0, costs - self._costs)  # both infinite: equal
            doubt = SURE * float(more.std(ddof=1)) / len(more) ** 0.5 if len(more) > 1 else 0.0
        mean = float(more.mean())
        if np.isfinite(mean) and abs(mean) <= doubt:
            return f"as good as LQR: {text}", False
        if not mean < 0 and self._violates_less(violated):
            return f"costs more than LQR, but violates less: {text}", False
        if not mean < 0:
            fix = "train longer" + (", give the task a domain" if self.task.domain is None else "")
            fix += ", or learn what to add to LQR (--residual True, another --out)"
            return f"worse than LQR: {text}; {fix}", True
        return f"better than LQR: {text}", False

    def _violates_less(self, violated: np.ndarray) -> bool:
        """Whether a policy violates a constraint that is not in the cost at fewer samples than LQR, beyond noise."""
        from systems import Soft

        more = violated - self._violated
        doubt = SURE * more.std(axis=0, ddof=1) / len(more) ** 0.5
        required = np.array([not isinstance(c.requirement, Soft) for c in self.task.constraints], dtype=bool)
        return bool((required & (more.mean(axis=0) + doubt < 0)).any())


def _of_constraint(constraint: Any, policy: np.ndarray, lqr: np.ndarray) -> str:
    """How often the policy and LQR violate a constraint, and what is allowed where that is a number of samples."""
    from systems import Budget, Hard

    required = constraint.requirement
    counts = isinstance(required, Budget) and (required.of, required.per) == ("steps", "episode")
    allowed = f", allowed {required.limit:g}" if counts else ", allowed none" if isinstance(required, Hard) else ""
    by_policy, by_lqr = policy.mean(), lqr.mean()
    return f"; '{constraint.name}' violated at {by_policy:.4g} samples per run, by LQR at {by_lqr:.4g}{allowed}"
