"""Whether runs satisfied a constraint as the task requires: always, with a probability, or on average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from systems import Budget, Chance, Soft, Task
from systems.constraints import Constraint, Requirement
from systems.statistics import Estimate, Rate, mean

__all__ = ["NEGLIGIBLE", "ROUNDING", "Verdict", "verdicts", "violated_samples"]

ROUNDING = 1e-6
"""Margins up to this count as kept: a solver stands on a bound to its own tolerance. The worst is shown unrounded."""

NEGLIGIBLE = 1e-6
"""Differences of cost below this share of it come from the tolerances of solvers."""


@final
@dataclass(frozen=True)
class Verdict:
    """One constraint, what is required of it, and what was measured.

    Args:
        kept: no evidence at 95 % against the requirement, which of few runs need not be any for it; for hard and soft
            ones, no violated sample at all.
        measured: of a hard or soft constraint, the runs that violate it at any sample; of a chance constraint, the runs
            that violate it at the sample where most do; of a budget, the violated samples or the excess per
            run, discounted if the budget is.
        sample: of a chance constraint, the sample where most runs violate it.
    """

    constraint: str
    requirement: Requirement
    kept: bool
    measured: Rate | Estimate
    sample: int | None = None

    @property
    def counts(self) -> bool:
        """False if the cost already contains a penalty for violations."""
        return not isinstance(self.requirement, Soft)

    @property
    def reaches_beyond(self) -> bool:
        """Whether the 95 % interval of a chance constraint or a budget contains more than is allowed."""
        measured = self.measured
        high = measured.interval[1] if isinstance(measured, Rate) else measured.high
        if isinstance(self.requirement, Budget):
            return not high <= self.requirement.limit
        return isinstance(self.requirement, Chance) and not high <= 1 - self.requirement.probability


def violated_samples(margins: np.ndarray) -> np.ndarray:
    """Mask of the violated samples, of the shape of the margins. An undefined margin (NaN) counts as violated."""
    violated: np.ndarray = np.logical_not(np.asarray(margins) <= ROUNDING)
    return violated


def verdicts(task: Task, margins: np.ndarray) -> tuple[Verdict, ...]:
    """The verdicts on all of the task's constraints, in order, from margins (b, steps, constraints)."""
    violated = violated_samples(margins)
    return tuple(_verdict(c, violated[..., i], margins[..., i], task.discount) for i, c in enumerate(task.constraints))


def _verdict(constraint: Constraint, violated: np.ndarray, margins: np.ndarray, discount: float) -> Verdict:
    runs, steps = violated.shape
    name, requirement = constraint.name, constraint.requirement
    if isinstance(requirement, Chance):
        # The requirement is on every single step; the interval is that of one step, not of the choice of the worst.
        counts = violated.sum(axis=0)
        sample = int(np.argmax(counts))
        rate = Rate(int(counts[sample]), runs)
        return Verdict(name, requirement, not rate.interval[0] > 1 - requirement.probability, rate, sample)
    if isinstance(requirement, Budget):
        weights = discount ** np.arange(steps) if requirement.per == "discounted" else np.ones(steps)
        excess = np.where(violated, np.where(np.isnan(margins), np.inf, margins), 0.0)
        spent = mean((excess if requirement.of == "excess" else violated) @ weights)
        # Of nothing allowed, one violation is too many: no interval around a positive mean can make it none.
        over = spent.low > requirement.limit if np.isfinite(spent.low) else spent.value > requirement.limit
        return Verdict(name, requirement, not (over or spent.value > requirement.limit == 0), spent)
    rate = Rate(int(violated.any(axis=1).sum()), runs)
    return Verdict(name, requirement, rate.k == 0, rate)
