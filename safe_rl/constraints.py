"""The state of a constrained learner's constraints: scales, accumulated costs, multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from safe_rl.budgets import cost_limits
from safe_rl.environment import LearnableTask
from safe_rl.handlers.base import ConstraintState, Handler
from safe_rl.worst_margin import Margins
from systems.errors import InvalidValue

__all__ = ["Constraints"]

_UNIT = 0.02  # a budget below this share of a worst-case cost is measured in units of that share instead of itself
_RANGE = (-1.0, 1.0)  # bound on a violation in units: far beyond the budget, its size does not inform the multiplier
_LEAST_STEPS, _LEAST_RUNS = 25.0, 10.0  # least memory of the estimate: steps of all environments, and runs
_SAMPLES = 100.0  # memory of the estimate if a handler's period is in steps; a policy needs as long to respond


@final
class Constraints:
    """Binds a handler to a task: measures the costs of runs, and turns cost critics into a gradient of the policy.

    Scales are fixed by the warm-up, from the level of worst-case cost: 1 per step where violated steps are
    counted, the mean under uniform actions where an excess is. A scaled cost of that level in every step is worth as
    much as a scaled return. Violations are (spent - budget) / unit, the unit being the larger of the budget and a
    fiftieth of the level, plus the handler's margin, clipped to [-1, 1]. The margin is a reserve: multipliers rise
    beyond `threshold`, which is below the budget. It is never more than the whole budget, so if the budget is zero and
    nothing is spent, no multiplier rises.

    The cost of a run is estimated as the sum over its ages of the cost at that age times the share of runs that reach
    it (the estimator of Kaplan & Meier, 1958, in a period life table). Both are means over the latest visits to the
    age, as many as there are environments, so every sample counts when it is taken and not when its run ends: the
    estimate lags by one run, whether environments end together or not, early or at the time limit. Ages that no run has
    reached yet use the means over all ages. Runs that are shortened so that environments do not all end together are
    censored: they count at the ages that they reach, but not as ended.

    Multipliers are updated once in `handler.period` hundredths of the memory of this estimate, and at most once in
    `handler.period` steps. Gains then do not depend on the length of a run.

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
        margins = handler.critics == "worst margin"
        self.margins = Margins(task, [a.column for a in self.limits]) if margins else None
        self._discount = float(task.discount)
        self._rate = self._tensor([a.rate for a in self.limits])
        # Factors from rates to the units of the budgets.
        self._per_run = self._tensor([a.limit / a.rate if a.rate > 0 else float(a.steps) for a in self.limits])
        self._limit = self._tensor([a.limit for a in self.limits])
        self._critic_limit = self._tensor([a.critic for a in self.limits])
        # The memory of the estimate: in visits to an age, and per environment in lengths of runs.
        visits = max(n * max(1.0, _LEAST_STEPS / task.steps), _LEAST_RUNS)
        self._keep, self._memory = 1.0 - 1.0 / visits, visits / n
        self.scale, self._level = torch.ones(c, device=device), torch.ones(c, device=device)
        discounts = torch.tensor([self._discount if a.is_discounted else 1.0 for a in self.limits])
        ages = torch.arange(task.steps).unsqueeze(1)
        # The last column costs 1 per step, so its cost of a run is the length of the run.
        self._discounts = F.pad((discounts.double() ** ages).to(device, torch.float32), (0, 1), value=1.0)
        self._visits = torch.zeros(task.steps, c + 2, device=device)  # sums of costs, visits and ends at each age
        self._since = torch.zeros((), dtype=torch.float64)  # last update of the multipliers
        self._length = torch.full((), float(task.steps), dtype=torch.float64)
        self.violation = torch.zeros(c, device=device)
        self._fix_units()
        self._apply()

    def _tensor(self, values: Sequence[float] | np.ndarray) -> Tensor:
        return torch.tensor(np.asarray(values), dtype=torch.float32, device=self.device)

    # ---- costs of runs ----

    def measure(
        self, cost: Tensor, age: Tensor, over: Tensor, shortened: Tensor | None = None, counts: bool = True
    ) -> None:
        """Records one step of the measured environments, the first n of those given.

        Args:
            cost: (..., all).
            age: (...,), of the runs before the step.
            over: (...,), whether it ended them.
            shortened: (...,), which of these ends cut off a run that began late; default: none.
            counts: whether the policy acted; the cost of other actions is not measured.
        """
        if not counts:
            return
        cost, age, over = cost[: self.n], age[: self.n].long(), over[: self.n]
        if shortened is not None:
            over = over & ~shortened[: self.n]
        age = age.clamp(max=len(self._visits) - 1)
        chosen = cost.index_select(1, self.columns).to(torch.float32)
        rows = torch.cat((chosen, torch.ones_like(chosen[:, :1]), over.to(chosen).unsqueeze(1)), dim=1)
        visits = torch.zeros_like(self._visits[:, 0]).index_put_((age,), rows[:, -2], accumulate=True)
        self._visits.mul_(self._keep ** visits.unsqueeze(1)).index_put_((age,), rows, accumulate=True)

    @property
    def _measured(self) -> Tensor:
        """Estimated costs of a run and its length, (c + 1,); NaN until the policy has acted."""
        visits = self._visits[:, -2:-1]
        before = self._visits[:-1].sum(dim=0)  # the last age, at which every run ends, is not representative
        means = torch.where(visits > 0, self._visits / visits, before / before[-2])
        reached = F.pad(torch.cumprod(1.0 - means[:-1, -1], dim=0), (1, 0), value=1.0)
        return (reached.unsqueeze(1) * self._discounts * means[:, :-1]).sum(dim=0)

    @property
    def spent(self) -> Tensor:
        """Costs per recent run, (c,), in the units of the budgets; NaN until the policy has acted."""
        return self._measured[:-1]

    def fix_scales(self, cost: Tensor, return_scale: float, survival: float) -> None:
        """Fixes the scales from costs (b, all) of uniform actions and the discounted share of steps with successors."""
        mean = cost.index_select(1, self.columns).mean(dim=0)
        for i, limit in enumerate(self.limits):
            level = max(float(mean[i]), limit.rate) if limit.of_excess else 1.0
            self._level[i] = level if level > 0 else 1.0
        self.scale.copy_(return_scale * (1.0 - survival) / self._level)
        self._fix_units()

    def fix_margin_scales(self, margins: Tensor, return_scale: float) -> None:
        """Fixes the scales from margins (c, b) of uniform actions, whose mean size becomes that of a scaled return."""
        size = margins.abs().mean(dim=1)
        self.scale.copy_(torch.where(size > 0, return_scale / size, 1.0))

    def charged(self, costs: Tensor) -> Tensor:
        """The part of the critics' values that enters the policy's loss: the positive part of a worst margin."""
        return costs if self.margins is None else costs.clamp(min=0.0)

    def scaled(self, cost: Tensor) -> Tensor:
        """Costs of a batch (b, all) on the scale of the critics, (c, b)."""
        return (cost.index_select(1, self.columns) * self.scale).t()

    def _fix_units(self) -> None:
        """Computes, from the levels, the units of a violation per step and per run and the reserve in them, all (c,).

        They are stored because the multipliers use them at every step and must not wait for the device.
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
        """Updates the multipliers from the costs of runs, if these are their source and an update is due. Call it once
        for each step of all environments."""
        if self.handler.source != "episodes":
            return
        if self._is_due(self.handler.period * max(float(self._length) * self._memory, _SAMPLES) / _SAMPLES):
            measured = self._measured
            if bool(measured.isfinite().all()):
                self._length.copy_(measured[-1])
                self._update((measured[:-1] - self._limit) / self._unit_of_run)

    def update_multipliers_by_critics(self, costs: Tensor) -> None:
        """Updates the multipliers from the critics' estimate, once in `handler.period` calls, if that is their source.

        Args:
            costs: critics at the actions of the replay memory, (members, c, b).
        """
        if self.handler.source == "critics" and self._is_due(self.handler.period):
            estimate = self.handler.estimate(costs.detach()).mean(dim=-1)
            self._update((estimate / self.scale - self._critic_limit) / (self._unit / (1.0 - self._discount)))

    def _is_due(self, interval: float) -> bool:
        self._since += 1.0
        due = float(self._since) >= interval
        if due:
            self._since.sub_(interval).clamp_(max=1.0)
        return due

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
            "visits": self._visits,
            "since": self._since,
            "length": self._length,
            "violation": self.violation,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if "visits" not in state:
            raise ValueError("its costs of runs were measured differently, across the ends of runs; train it again")
        self.controller.load_state_dict({name: tensor.numpy() for name, tensor in state["controller"].items()})
        for mine, name in (
            (self.scale, "scale"),
            (self._level, "level"),
            (self._visits, "visits"),
            (self._since, "since"),
            (self._length, "length"),
            (self.violation, "violation"),
        ):
            mine.copy_(state[name])
        self._fix_units()
        self._apply()
