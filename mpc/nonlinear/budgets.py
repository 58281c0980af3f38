"""The remainder of budgets of accumulated excess during a run."""

from __future__ import annotations

import casadi as ca
import numpy as np

from systems import Budget, Task
from systems.lowering import lower

__all__ = ["Budgets"]

_SMALLEST = 1e-9  # weight of a discounted sample below which it no longer falls


class Budgets:
    """The remainder of each budget of accumulated excess during a run."""

    def __init__(self, task: Task) -> None:
        constraints = task.reading.excess_budgets
        requirements = [c.requirement for c in constraints if isinstance(c.requirement, Budget)]
        self.limits = np.array([r.limit for r in requirements], dtype=float)
        self.rates = np.array([task.discount if r.per == "discounted" else 1.0 for r in requirements], dtype=float)
        functions = [c.function(task.plant) for c in constraints]
        self._excess = [lower(g, "numpy") for g in functions]
        # What the state alone spends in a sample is spent, whatever is decided in it.
        self._on_input = np.array([ca.depends_on(g(*z), z[1]) for g in functions for z in [g.sx_in()]], dtype=bool)
        self._inputs = len(task.plant.input)
        self._names = [c.name for c in constraints]
        self.reset()

    def reset(self) -> None:
        """A new run begins."""
        self._spent: dict[int, np.ndarray] = {}  # the excess of each budget, by sample

    def take_over(self, other: Budgets) -> None:
        """Counts as spent what was spent of the budgets with the same names in the run so far."""
        places = [other._names.index(name) if name in other._names else None for name in self._names]
        for k, spent in other._spent.items():
            self._spent[k] = np.array([0.0 if i is None else spent[i] for i in places])

    def left(self, x: np.ndarray, k: int) -> np.ndarray:
        """The remainder (budgets,) for the decisions from sample ``k`` on, in state x (n,), discounted to that sample.
        If a sample is decided again, that sample and all later ones do not count as spent."""
        self._spent = {i: spent for i, spent in self._spent.items() if i < k}
        current_excess = np.where(self._on_input, 0.0, self._excess_at(x, np.zeros(self._inputs)))
        spent = sum((self.rates**i * excess for i, excess in self._spent.items()), start=np.zeros(len(self.limits)))
        remaining = self.limits - spent - self.rates**k * current_excess
        return np.asarray(np.maximum(remaining, 0.0) / np.maximum(self.rates**k, _SMALLEST))

    def spend(self, x: np.ndarray, u: np.ndarray, k: int) -> None:
        """Records the sample ``k`` that starts in x (n,) and applies u (m,)."""
        self._spent[k] = self._excess_at(x, u)

    def _excess_at(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        most = np.array([np.max(excess(x, u), initial=0.0) for excess in self._excess])
        return np.where(np.isfinite(most), most, 0.0)
