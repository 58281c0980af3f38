"""Trials: during training, a learner's policies and a regulator run from the same starts, and the best one is kept."""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ctrl.comparison.draws import draw_all
from ctrl.controller import Controller, NotApplicable
from ctrl.laws.saturated_linear import SaturatedLinear
from ctrl.loop import totals
from ctrl.regulator import LQR
from safe_rl.controller import PolicyController
from safe_rl.policy import Policy
from systems import InvalidValue, Task
from systems.arguments import expect_factory
from systems.errors import TriviumError, shown

__all__ = ["Trials", "regulator_law", "set_share", "simulated", "stabilises"]

_EVERY = 1000  # updates between two trials
_RUNS = 128  # of a trial; every policy runs from the same starts under the same disturbances
_SEED = 2**32 - 1  # of these draws, different from those of comparisons
_ARRIVED = 0.95  # share of the runs that a stabilising regulator brings to the reference


def simulated(task: Task) -> Task:
    """A task as simulated by learners: with the nominal plant, and the state as the observation."""
    return dataclasses.replace(task, truth=None, measurement=None)


def regulator_law(task: Any, controller: Callable[[Task], Controller]) -> SaturatedLinear:
    """The law of a regulator as a function of the observation of a policy of this task.

    Raises:
        NotApplicable: the controller has no linear law, or the policy does not observe the state.
        InvalidValue: an external environment, or an object that is not a controller factory.
    """
    if not isinstance(task, Task):
        raise InvalidValue("a regulator observes the plant's state, which only environments of a systems.Task provide")
    expect_factory(controller, "task", "controller", "a factory of controllers of a task, such as LQR")
    if task.observation is not None or not task.reference.is_constant or task.measurement is not None:
        raise NotApplicable(
            f"task '{task.name}': its policy observes something other than the state, on which a regulator's law "
            "depends; omit observation and measurement from the task, or learn without a regulator"
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
        task = simulated(task)
        outcome = totals(task, controller(task), **draw_all(task, _RUNS, (_SEED,)).arguments)
    except TriviumError:
        return False
    arrived = task.arrived(outcome.final, task.steps)
    return bool((outcome.left < 0).all() and np.isfinite(outcome.cost).all() and arrived.mean() >= _ARRIVED)


class Trials(ABC):
    """Runs policies of a learner from the same starts every 1,000 updates and keeps the one with the lowest cost.

    Args:
        task: whose runs are simulated.
        policies: of the learner; the last one is tested.
        best: the policy that is kept at first.

    Attributes:
        waits: number of initial updates in which only the critics learn.
    """

    waits: ClassVar[int] = 0

    def __init__(self, task: Task, policies: Sequence[Policy], best: Policy) -> None:
        self.task, self.policies = simulated(task), tuple(policies)
        self._draws = draw_all(self.task, _RUNS, (_SEED,))
        self.best = best.requires_grad_(False)
        self.of_best = self.costs(best)

    def costs(self, policy: Policy) -> np.ndarray:
        """Costs of the runs of a trial, (runs,); infinite if a run overflows."""
        cost = totals(self.task, PolicyController(self.task, policy), **self._draws.arguments).cost
        return np.where(np.isfinite(cost), cost, np.inf)

    def is_due(self, updates: int) -> bool:
        """Whether a trial follows this update."""
        return updates > self.waits and updates % _EVERY == 0

    @abstractmethod
    def run(self) -> None:
        """One trial."""

    @property
    @abstractmethod
    def diagnostics(self) -> dict[str, float]:
        """Quantities of the trials to plot."""

    def keep(self, policy: Policy, costs: np.ndarray) -> None:
        """Keeps a copy of the policy if it costs less than the one kept so far."""
        if costs.mean() < self.of_best.mean():
            self.best, self.of_best = copy.deepcopy(policy).requires_grad_(False), costs

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The state that cannot be recomputed."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state of saved trials."""
        best = Policy.of_content(state["best"]).requires_grad_(False)
        self.best = best.to(self.best.action_half.device)
        self.of_best = self.costs(self.best)


def set_share(policy: Policy, share: float) -> None:
    """Sets the share of half the range of an input that a residual policy may add."""
    assert policy.regulator is not None
    policy.regulator.share.fill_(share)
