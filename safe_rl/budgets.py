"""Budgets in the user's unit, and their conversions to the scale of a critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from safe_rl.environment import LearnableTask, expect_learnable
from systems.constraints import Budget, Chance, Soft

__all__ = ["CostLimit", "cost_limits"]


@final
@dataclass(frozen=True)
class CostLimit:
    """The limit on one constraint's accumulated cost per run, on average.

    A budget d is per episode of T steps, or discounted: sum_k discount^k c_k from the start of a run. Spread
    evenly over the run,

        rate        = d / T                       or  d (1 - discount) / (1 - discount^T)     per step
        discounted  = rate (1 - discount^T) / (1 - discount)        from the start of a run to its end
        critic      = rate / (1 - discount)       the value of a critic that bootstraps at the time limit

    The second is the conversion of off-policy constrained learners (Wu et al., 2024, arXiv 2401.14758); the last is its
    limit for long runs, and the right scale for critics that bootstrap at the time limit, as all critics here do.

    Args:
        name: of the constraint.
        column: index of the constraint in the task.
        limit: the budget d.
        steps: T, of a run.
        discount: per step.
        is_discounted: whether d bounds a discounted sum.
        of_excess: whether the cost of a step is its excess, or the cost that an external environment reports, instead
            of 1.
    """

    name: str
    column: int
    limit: float
    is_discounted: bool
    of_excess: bool
    steps: int
    discount: float

    @property
    def rate(self) -> float:
        """The limit per step."""
        return self.limit / (self._horizon if self.is_discounted else self.steps)

    @property
    def discounted(self) -> float:
        """The limit as a discounted sum from the start of a run to its end."""
        return self.rate * self._horizon

    @property
    def critic(self) -> float:
        """The limit on the scale of a critic that bootstraps at the time limit."""
        return self.rate / (1.0 - self.discount)

    @property
    def _horizon(self) -> float:
        return (1.0 - self.discount**self.steps) / (1.0 - self.discount)

    def __str__(self) -> str:
        what = "accumulated" if self.of_excess else "violated steps"
        given = "discounted" if self.is_discounted else f"per episode of {self.steps}"
        return (
            f"budget '{self.name}': {self.limit:g} {what} {given} = {self.rate:.3g} per step = {self.discounted:.3g} "
            f"discounted by {self.discount:g} over an episode = {self.critic:.3g} on the critic's scale"
        )


def cost_limits(task: LearnableTask) -> tuple[CostLimit, ...]:
    """The cost limits of a task, which a learner must meet.

    A hard constraint permits no violation, a chance constraint its share of the steps. A soft one is already part of
    the reward and left out.

    Args:
        task: defines the constraints.
    """
    expect_learnable(task, "the task of cost limits")
    limits = []
    for column, constraint in enumerate(task.constraints):
        required = constraint.requirement
        if isinstance(required, Soft):
            continue
        limit, is_discounted, of_excess = 0.0, False, False
        if isinstance(required, Budget):
            limit, is_discounted, of_excess = required.limit, required.per == "discounted", required.of == "excess"
        elif isinstance(required, Chance):
            limit = (1.0 - required.probability) * task.steps
        limits.append(CostLimit(constraint.name, column, limit, is_discounted, of_excess, task.steps, task.discount))
    return tuple(limits)
