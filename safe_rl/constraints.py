"""The state of a constrained learner's constraints: scales, accumulated costs, multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from safe_rl.budgets import cost_limits
from safe_rl.environment import LearnableTask
from safe_rl.handlers.base import ConstraintState, Handler
from systems.errors import InvalidValue

__all__ = ["Constraints"]

_UNIT = 0.02  # a budget below this share of a worst-case cost is measured in units of that share instead of itself
_RANGE = (-1.0, 1.0)  # of a violation in units: far beyond the budget, how far says nothing about the multiplier
_LEAST_WINDOW = 25.0  # steps of all environments


@final
class Constraints:
    """Binds a handler to a task: measures the costs of runs, and turns cost critics into a gradient of the policy.

    Scales are fixed by the warm-up, from the level of worst-case cost: 1 per step where violated steps are
    counted, the mean under uniform actions where an excess is. A scaled cost of that level in every step is worth as
    much as a scaled return. Violations are (spent - budget) / unit, the unit being the larger of the budget and a
    fiftieth of the level, plus the handler's margin, cut to [-1, 1]. The margin is a reserve: multipliers rise beyond
    `threshold`, short of the budget. It is never more than the whole budget, so where nothing is allowed and nothing is
    spent, no multiplier rises.

    What runs spend is the ratio of two sums that forget over about one episode: costs (discounted by the age of the run
    where the budget is) and ends of runs. Environments should not all end together.

    Args:
        n: environments whose runs are measured.
        device: of the sums.
    """

    def __init__(self, task: LearnableTask, handler: Handler, n: int, device: torch.device) -> None:
        self.limits = cost_limits(task)
        if not self.limits:
            raise InvalidValue(
                f"task {task.name!r} has no constraint for {type(handler).__name__} to handle (soft ones are in the "
                "reward): give one a .budget(...), or learn without a handler"
            )
        c = len(self.limits)
        self.handler, self.n, self.device = handler, n, device
        self.controller = handler.controller(c)
        self.columns = torch.tensor([a.column for a in self.limits], device=device)
        self._discount = float(task.discount)
        self._any_discounted = any(a.is_discounted for a in self.limits)
        self._is_discounted = torch.tensor([a.is_discounted for a in self.limits], device=device)
        self._rate = self._tensor([a.rate for a in self.limits])
        # What turns a rate into the units of the budgets.
        self._per_run = self._tensor([a.limit / a.rate if a.rate > 0 else float(a.steps) for a in self.limits])
        self._limit = self._tensor([a.limit for a in self.limits])
        self._critic_limit = self._tensor([a.critic for a in self.limits])
        self._keep = 1.0 - 1.0 / max(float(task.steps), _LEAST_WINDOW)
        self.scale, self._level = torch.ones(c, device=device), torch.ones(c, device=device)
        self._spent = torch.zeros(c, device=device)
        self._ends = torch.full((), n / (task.steps * (1.0 - self._keep)), device=device)
        self._calls = torch.zeros((), dtype=torch.int64)
        self.violation = torch.zeros(c, device=device)
        self._fix_units()
        self._apply()

    def _tensor(self, values: Sequence[float] | np.ndarray) -> Tensor:
        return torch.tensor(np.asarray(values), dtype=torch.float32, device=self.device)

    # ---- what runs spend ----

    def measure(self, cost: Tensor, age: Tensor, over: Tensor) -> None:
        """Records one step of the measured environments, the first n of those given.

        Costs (..., all), ages of the runs before the step (...,), whether it ended them (...,).
        """
        cost, age, over = cost[: self.n], age[: self.n], over[: self.n]
        chosen = cost.index_select(1, self.columns)
        if self._any_discounted:
            chosen = chosen * torch.where(self._is_discounted, self._discount ** age.unsqueeze(1), 1.0)
        self._spent.mul_(self._keep).add_(chosen.sum(dim=0))
        self._ends.mul_(self._keep).add_(over.sum())

    @property
    def spent(self) -> Tensor:
        """Recent cost per run, (c,), in the units of the budgets."""
        return self._spent / self._ends.clamp(min=1e-6)

    def fix_scales(self, cost: Tensor, return_scale: float, survival: float) -> None:
        """From the costs (b, all) of uniform actions and the discounted share of steps that have a successor."""
        mean = cost.index_select(1, self.columns).mean(dim=0)
        for i, limit in enumerate(self.limits):
            level = max(float(mean[i]), limit.rate) if limit.of_excess else 1.0
            self._level[i] = level if level > 0 else 1.0
        self.scale.copy_(return_scale * (1.0 - survival) / self._level)
        self._fix_units()

    def scaled(self, cost: Tensor) -> Tensor:
        """Costs of a batch (b, all) as the critics learn them, (c, b)."""
        return (cost.index_select(1, self.columns) * self.scale).t()

    def _fix_units(self) -> None:
        """What follows from the levels, all (c,): the unit of a violation per step and per run, and in it the reserve.

        Kept, since the multipliers ask for them at every step and the device should not be waited for.
        """
        self._unit = torch.maximum(self._rate, _UNIT * self._level)
        self._unit_of_run = self._unit * self._per_run
        self._reserve = (self._limit / self._unit_of_run).clamp(max=self.handler.margin)

    @property
    def threshold(self) -> Tensor:
        """Costs of runs (c,) above which multipliers rise, in the units of the budgets; known after the warm-up."""
        return self._limit - self._reserve * self._unit_of_run

    # ---- multipliers ----

    def update_multipliers(self) -> None:
        """Updates the multipliers from what runs spend, once in `handler.period` calls, if that is their source."""
        if self.handler.source == "episodes" and self._is_due():
            self._update((self.spent - self._limit) / self._unit_of_run)

    def update_multipliers_by_critics(self, costs: Tensor) -> None:
        """Updates the multipliers from the critics' estimate, once in `handler.period` calls, if that is their source.

        Args:
            costs: critics at the actions of the replay memory, (members, c, b).
        """
        if self.handler.source == "critics" and self._is_due():
            estimate = self.handler.estimate(costs.detach()).mean(dim=-1)
            self._update((estimate / self.scale - self._critic_limit) / (self._unit / (1.0 - self._discount)))

    def _is_due(self) -> bool:
        self._calls += 1
        return int(self._calls) % self.handler.period == 0

    def _update(self, violation: Tensor) -> None:
        self.violation.copy_((violation + self._reserve).clamp(*_RANGE))
        self.controller.update(self.violation.cpu().numpy().astype(np.float64))
        self._apply()

    def _apply(self) -> None:
        self.state = ConstraintState(self._tensor(self.controller.multipliers), self.violation)

    # ---- statistics and state ----

    def diagnostics(self, reward_scale: Tensor) -> dict[str, float]:
        """Spent, threshold and multiplier of each budget, multipliers in reward per unit of cost."""
        weights = (self.state.multipliers * self.scale / reward_scale).tolist()
        diagnostics = {}
        for limit, weight, spent, threshold in zip(
            self.limits, weights, self.spent.tolist(), self.threshold.tolist(), strict=True
        ):
            diagnostics[f"multiplier {limit.name}"] = weight
            diagnostics[f"spent {limit.name}"] = spent
            diagnostics[f"threshold {limit.name}"] = threshold
        return diagnostics

    def state_dict(self) -> dict[str, Any]:
        return {
            "controller": {name: torch.from_numpy(array) for name, array in self.controller.state_dict().items()},
            "scale": self.scale,
            "level": self._level,
            "spent": self._spent,
            "ends": self._ends,
            "calls": self._calls,
            "violation": self.violation,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.controller.load_state_dict({name: tensor.numpy() for name, tensor in state["controller"].items()})
        for mine, name in (
            (self.scale, "scale"),
            (self._level, "level"),
            (self._spent, "spent"),
            (self._ends, "ends"),
            (self._calls, "calls"),
            (self.violation, "violation"),
        ):
            mine.copy_(state[name])
        self._fix_units()
        self._apply()
