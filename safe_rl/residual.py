"""Residual learning on a regulator: a policy that adds to a law, and is tried against it while it learns.

Residual reinforcement learning: Johannink et al. (2019), Silver et al. (2018, arXiv 1812.06298).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
import torch

from ctrl.comparison.draws import draw
from ctrl.controller import Controller, NotApplicable
from ctrl.laws.saturated_linear import SaturatedLinear
from ctrl.loop import totals
from ctrl.regulator import LQR
from safe_rl.controller import PolicyController
from safe_rl.policy import Policy
from systems import InvalidValue, Task
from systems.arguments import expect_factory
from systems.errors import TriviumError, shown

__all__ = ["SHARE", "Trials", "regulator_law", "stabilises"]

SHARE = 0.1
"""Share of half the range of an input that a residual may add at first."""

_EVERY = 1000  # updates between two trials
_RUNS = 128  # of a trial; every policy is tried from the same starts, under the same disturbances
_SEED = 2**32 - 1  # of these draws: that of no comparison
_GROWTH, _SHRINKAGE, _LEAST = 1.5, 0.5, 0.02
_SURE = 2.0  # standard errors
_ARRIVED = 0.95  # share of the runs that a stabilising regulator brings to the reference


def regulator_law(task: Any, controller: Callable[[Task], Controller]) -> SaturatedLinear:
    """The law of a regulator, as a function of what a policy of this task observes.

    Raises:
        NotApplicable: the controller has no linear law, or the policy does not observe the state.
        InvalidValue: an external environment, or something that makes no controller.
    """
    if not isinstance(task, Task):
        raise InvalidValue("a regulator observes the plant's state, which only environments of a systems.Task have")
    expect_factory(controller, "task", "controller", "what makes a controller of a task, such as LQR")
    if task.observation is not None or not task.reference.is_constant or task.measurement is not None:
        raise NotApplicable(
            f"task '{task.name}': its policy observes something other than the state, on which a regulator's law "
            "depends; leave observation and measurement out of the task, or learn without a regulator"
        )
    made = controller(task)
    law = getattr(made, "law", None)
    if not isinstance(law, SaturatedLinear):
        raise NotApplicable(f"{shown(made)} has no law u = clip(u_ref - K (x - x_ref)); expected one, such as LQR")
    return law


def stabilises(task: Any, controller: Callable[[Task], Controller] = LQR) -> bool:
    """Whether a regulator keeps the runs of a task in its domain and brings all but one in twenty to the reference."""
    if not isinstance(task, Task):
        return False
    try:
        regulator_law(task, controller)
        task = dataclasses.replace(task, truth=None)
        starts, disturbances = draw(task, _RUNS, (_SEED,))
        outcome = totals(task, controller(task), starts, disturbances)
    except TriviumError:
        return False
    arrived = task.arrived(outcome.final, task.steps)
    return bool((outcome.left < 0).all() and np.isfinite(outcome.cost).all() and arrived.mean() >= _ARRIVED)


@final
class Trials:
    """Compares the residual policy of a learner with its regulator, and keeps the best.

    Every 1,000 updates the averaged policy is tried with its share and with half of it. The share grows by half where
    the policy costs less than the regulator by more than two standard errors of the paired differences, and is halved
    where it costs more. The policy of least cost so far is kept, the regulator itself at first: so what is kept costs
    no more than the regulator on the runs of the trials.

    Args:
        task: whose runs are simulated.
        law: of the regulator.
        policies: of the learner, which share one residual; the last is the one that is tried.
        unit: share at first.
    """

    def __init__(self, task: Task, law: SaturatedLinear, policies: Sequence[Policy], unit: float) -> None:
        self.task = dataclasses.replace(task, truth=None)  # learners see the plant that is known
        self.law, self.policies, self.unit = law, tuple(policies), unit
        for policy in self.policies:
            policy.with_regulator(law, unit)
        self.best = copy.deepcopy(self.policies[-1])
        self._set_share(self.best, 0.0)
        self._draws = draw(task, _RUNS, (_SEED,))
        self._of_regulator = self.costs(self.best)
        self._of_best = self._of_regulator

    def costs(self, policy: Policy) -> np.ndarray:
        """Costs of the runs of a trial, (runs,); infinite where a run overflows."""
        cost = totals(self.task, PolicyController(self.task, policy), *self._draws).cost
        return np.where(np.isfinite(cost), cost, np.inf)

    @property
    def share(self) -> float:
        """Of half the range of an input, that the policy in training may add."""
        return self._share_of(self.policies[0])

    @property
    def diagnostics(self) -> dict[str, float]:
        """Shares in training and of what is kept, and the mean costs of that and of the regulator."""
        return {
            "residual share": self.share,
            "residual share kept": self._share_of(self.best),
            "residual cost kept": float(self._of_best.mean()),
            "residual cost of the regulator": float(self._of_regulator.mean()),
        }

    def is_due(self, updates: int) -> bool:
        """Whether a trial follows this update."""
        return updates % _EVERY == 0

    def run(self) -> None:
        """One trial."""
        candidate = copy.deepcopy(self.policies[-1])
        full = self.costs(candidate)
        self._keep(candidate, full)
        self._set_share(candidate, self.share / 2)
        self._keep(candidate, self.costs(candidate))
        if not np.isfinite(full).all():
            return self._grow(_SHRINKAGE)
        gain = self._of_regulator - full
        doubt = _SURE * float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
        if gain.mean() > doubt:
            self._grow(_GROWTH)
        elif gain.mean() < -doubt:
            self._grow(_SHRINKAGE)
        return None

    def _keep(self, policy: Policy, costs: np.ndarray) -> None:
        if costs.mean() < self._of_best.mean():
            self.best.load_state_dict(policy.state_dict())
            self._of_best = costs

    def _grow(self, factor: float) -> None:
        """Another share for all policies, with means that are about the same in physical units."""
        before = self.share
        share = min(max(before * factor, _LEAST), 1.0)
        for policy in self.policies:
            policy.scale_mean(before / share)
            self._set_share(policy, share)

    @staticmethod
    def _share_of(policy: Policy) -> float:
        assert policy.regulator is not None
        return float(policy.regulator.share)

    @staticmethod
    def _set_share(policy: Policy, share: float) -> None:
        assert policy.regulator is not None
        policy.regulator.share.fill_(share)

    def state_dict(self) -> dict[str, Any]:
        """Law and best policy; the rest is computed anew."""
        law = {name: torch.from_numpy(np.array(getattr(self.law, name))) for name in _LAW}
        return {"law": law, "unit": self.unit, "best": self.best.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best.load_state_dict(state["best"])
        self._of_best = self.costs(self.best)

    @staticmethod
    def law_of(state: dict[str, Any]) -> SaturatedLinear:
        """The law in what `state_dict` returned."""
        return SaturatedLinear(*(state["law"][name].numpy() for name in _LAW))


_LAW = ("K", "x_ref", "u_ref", "lower", "upper")
