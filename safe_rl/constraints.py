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
from systems.errors import InvalidValue

__all__ = ["Constraints"]

_UNIT = 0.02  # a budget below this share of a worst-case cost is measured in units of that share instead of itself
_RANGE = (-1.0, 1.0)  # of a violation in units: far beyond the budget, how far says nothing about the multiplier
_LEAST_STEPS, _LEAST_RUNS = 25.0, 10.0  # that the measure remembers: steps of all environments, and runs
_SAMPLES = 100.0  # a run for which a handler's period is stated; a policy needs as long to follow its multiplier


@final
class Constraints:
    """Binds a handler to a task: measures the costs of runs, and turns cost critics into a gradient of the policy.

    Scales are fixed by the warm-up, from the level of worst-case cost: 1 per step where violated steps are
    counted, the mean under uniform actions where an excess is. A scaled cost of that level in every step is worth as
    much as a scaled return. Violations are (spent - budget) / unit, the unit being the larger of the budget and a
    fiftieth of the level, plus the handler's margin, cut to [-1, 1]. The margin is a reserve: multipliers rise beyond
    `threshold`, short of the budget. It is never more than the whole budget, so where nothing is allowed and nothing is
    spent, no multiplier rises.

    What a run spends is the mean over runs that ended lately, wherever they ended: two sums that forget with every run,
    over as many runs as there are environments, of costs (discounted by the age of the run where the budget is) and of
    runs. A run that began under the actions of the warm-up, or that was shortened so that environments do not all end
    together, counts by the share of it that was measured.

    Where runs are long the measure is late, so multipliers move once in `handler.period` hundredths of a run; where
    they are shorter than 100 steps, once in `handler.period` steps. Gains then do not depend on the length of a run.

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
        self._rate = self._tensor([a.rate for a in self.limits])
        # What turns a rate into the units of the budgets.
        self._per_run = self._tensor([a.limit / a.rate if a.rate > 0 else float(a.steps) for a in self.limits])
        self._limit = self._tensor([a.limit for a in self.limits])
        self._critic_limit = self._tensor([a.critic for a in self.limits])
        self._keep = 1.0 - 1.0 / max(n * max(1.0, _LEAST_STEPS / task.steps), _LEAST_RUNS)
        self.scale, self._level = torch.ones(c, device=device), torch.ones(c, device=device)
        # The last column costs 1 per step: what it says a run costs is the length of a run.
        discounts = torch.tensor([*(self._discount if a.is_discounted else 1.0 for a in self.limits), 1.0])
        self._discounts = discounts.to(device)
        self._whole = (discounts.double() ** torch.arange(task.steps).unsqueeze(1)).sum(dim=0).to(device, torch.float32)
        self._paid, self._measured, self._passed = (torch.zeros(n, c + 1, device=device) for _ in range(3))
        self._spent, self._runs = torch.zeros(c + 1, device=device), torch.zeros(c + 1, device=device)
        self._since = torch.zeros((), dtype=torch.float64)  # last update of the multipliers
        self._length = torch.full((), float(task.steps), dtype=torch.float64)
        self.violation = torch.zeros(c, device=device)
        self._fix_units()
        self._apply()

    def _tensor(self, values: Sequence[float] | np.ndarray) -> Tensor:
        return torch.tensor(np.asarray(values), dtype=torch.float32, device=self.device)

    # ---- what runs spend ----

    def measure(
        self, cost: Tensor, age: Tensor, over: Tensor, shortened: Tensor | None = None, counts: bool = True
    ) -> None:
        """Take note of one step of the environments measured, the first n of those given.

        Args:
            cost: (..., all).
            age: (...,), of the runs before the step.
            over: (...,), whether it ended them.
            shortened: (...,), which of these ends cut a run off that began late; default: none.
            counts: whether the policy acted; the cost of other actions is not measured.
        """
        cost, age, over = cost[: self.n], age[: self.n].unsqueeze(1), over[: self.n].unsqueeze(1)
        weight = self._discounts**age
        self._passed += weight
        if counts:
            chosen = F.pad(cost.index_select(1, self.columns), (0, 1), value=1.0)
            self._paid.addcmul_(weight, chosen)
            self._measured += weight
        whole = self._passed
        if shortened is not None:
            whole = torch.where(shortened[: self.n].unsqueeze(1), self._whole, whole)
        runs = (over * self._measured / whole).sum(dim=0)
        keep = self._keep**runs
        self._spent.mul_(keep).add_((over * self._paid).sum(dim=0))
        self._runs.mul_(keep).add_(runs)
        for present in (self._paid, self._measured, self._passed):
            present.sub_(over * present)

    @property
    def spent(self) -> Tensor:
        """Per run of late, (c,), in the units of the budgets; NaN until a run has ended."""
        return (self._spent / self._runs)[:-1]

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
        """Updates the multipliers from what runs spend, once in `handler.period` hundredths of a run, if that is their
        source. To be called once for each step of all environments."""
        if self.handler.source != "episodes":
            return
        if self._is_due(self.handler.period * max(float(self._length), _SAMPLES) / _SAMPLES):
            length = float((self._spent / self._runs)[-1])
            if length == length:  # a run has ended
                self._length.fill_(length)
                self._update((self.spent - self._limit) / self._unit_of_run)

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
            "spent": self._spent,
            "runs": self._runs,
            "present": [self._paid, self._measured, self._passed],
            "since": self._since,
            "length": self._length,
            "violation": self.violation,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.controller.load_state_dict({name: tensor.numpy() for name, tensor in state["controller"].items()})
        for mine, name in (
            (self.scale, "scale"),
            (self._level, "level"),
            (self._spent, "spent"),
            (self._runs, "runs"),
            (self._since, "since"),
            (self._length, "length"),
            (self.violation, "violation"),
        ):
            mine.copy_(state[name])
        for mine, given in zip((self._paid, self._measured, self._passed), state["present"], strict=True):
            mine.copy_(given)
        self._fix_units()
        self._apply()
