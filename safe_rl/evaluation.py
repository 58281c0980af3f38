"""Evaluation of policies: returns and costs of the mean action over whole runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from ctrl.filters import SafetyFilter
from safe_rl.batched_filter import BatchedFilter
from safe_rl.budgets import CostLimit, cost_limits
from safe_rl.environment import LearnableTask, expect_learnable
from safe_rl.policy import Policy
from systems.arguments import expect_seed, expect_whole
from systems.envs.vector import VectorEnv
from systems.errors import InvalidValue, expect
from systems.statistics import mean

__all__ = ["Assessment", "assess", "evaluate"]


@final
@dataclass(frozen=True, eq=False)
class Assessment:
    """Statistics of the first run of each of n environments.

    Args:
        returns, discounted_returns: (n,).
        limits: c, of the task's constraints.
        spent: (n, c), the accumulated cost of each constraint in the unit of its limit.
        lengths: (n,), steps.
    """

    returns: np.ndarray
    discounted_returns: np.ndarray
    limits: tuple[CostLimit, ...]
    spent: np.ndarray
    lengths: np.ndarray

    def interval(self, constraint: int = 0) -> tuple[float, float, float]:
        """Mean accumulated cost, and the ends of its 95 % interval (Student's t over runs; NaN for a single run)."""
        estimate = mean(self.spent[:, constraint])
        return estimate.value, estimate.low, estimate.high


def assess(
    policy: Policy,
    task: LearnableTask,
    episodes: int = 100,
    seed: int = 0,
    safety_filter: SafetyFilter | None = None,
) -> Assessment:
    """Runs the mean action in a separate environment, which does not affect a learner.

    Args:
        policy: to assess.
        task: on which it is assessed.
        episodes: n, number of runs.
        seed: of the environments.
        safety_filter: through which its inputs pass, see `BatchedFilter`; default: none.

    Raises:
        InvalidValue: not a policy or a task, an invalid number of episodes or seed, or a filter on an external
            environment.
        NotApplicable: a filter without a closed form for batches.
    """
    expect(policy, Policy, "policy", "such as learner.result, or Policy.load(file)")
    expect_learnable(task, "task")
    expect_whole(episodes, "episodes", least=1)
    if safety_filter is not None:
        expect(safety_filter, SafetyFilter, "safety_filter", "such as BarrierFilter(task), or None")
    environment = task.vector_env(episodes, device=policy.action_half.device, seed=expect_seed(seed))
    batched = None if safety_filter is None else BatchedFilter(safety_filter, environment.device)
    if batched is not None and not isinstance(environment, VectorEnv):
        raise InvalidValue("a filter needs the plant's state, which only environments of a systems.Task provide")
    limits = cost_limits(task)
    columns = [a.column for a in limits]
    discounted = torch.tensor([a.is_discounted for a in limits], dtype=torch.bool, device=environment.device)
    observation = environment.reset()
    running = torch.ones(episodes, dtype=torch.bool, device=environment.device)
    returns = torch.zeros(episodes, 2, dtype=torch.float64, device=environment.device)
    spent = torch.zeros(episodes, len(limits), dtype=torch.float64, device=environment.device)
    lengths = torch.zeros(episodes, dtype=torch.int64, device=environment.device)
    factor = 1.0
    while bool(running.any()):
        action = policy.act(observation)
        if batched is not None:
            action = batched(environment.state, action)  # type: ignore[attr-defined]
        transition = environment.step(action)
        reward = torch.where(running, transition.reward, 0.0)
        returns += torch.stack((reward, factor * reward), dim=1)
        cost = torch.where(running.unsqueeze(1), transition.cost[:, columns], 0.0)
        spent += torch.where(discounted, factor * cost, cost)
        lengths += running
        running &= ~(transition.terminated | transition.truncated)
        observation = transition.observation
        factor *= task.discount
    total, worth = returns.cpu().numpy().T
    return Assessment(total, worth, limits, spent.cpu().numpy(), lengths.cpu().numpy())


def evaluate(
    policy: Policy,
    task: LearnableTask,
    episodes: int = 10,
    seed: int = 0,
    safety_filter: SafetyFilter | None = None,
) -> float:
    """Mean undiscounted return of the mean action over the first episode of each of `episodes` environments.

    Args:
        policy: to evaluate.
        task: on which it is evaluated.
        episodes: number of runs.
        seed: of the environments.
        safety_filter: through which its inputs pass; default: none.
    """
    return float(assess(policy, task, episodes, seed, safety_filter).returns.mean())
