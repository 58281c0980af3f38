"""Budgets of foreign environments, as the policies keep them that are saved: all ready-made combinations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from benchmarks.foreign import pendulum_effort, saved, train
from safe_rl import DSACPID, PPO, SACPID, Assessment, DSACPenalty, GymnasiumTask, assess
from safe_rl.combinations import ALL, Combination

WITH_BUDGETS = [make for make in ALL if make is not DSACPenalty]  # whose fixed weight knows no budget

SLOWER = (DSACPID, SACPID)  # whose multipliers settle later


class Dose(gymnasium.Env[Any, Any]):
    """Each step earns -(1 - a)^2 and costs a z for a > 0, where z is drawn from [0.5, 1.5]."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,), dtype=np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> Any:
        dose = float(action[0])
        cost = max(0.0, dose) * float(self.np_random.uniform(0.5, 1.5))
        return np.zeros(1, np.float32), -((1.0 - dose) ** 2), False, False, {"cost": cost}


def dose() -> GymnasiumTask:
    """At most 10 in 20 steps. The best policy, a = 1/2, spends that and earns -5; one that spends nothing earns -20."""
    return GymnasiumTask("dose", Dose, {"cost": 10.0}, steps=20, discount=0.95)


def learned(make: Combination, updates: int, folder: Path) -> Assessment:
    """What the policy in the file spends and earns, in 100 runs."""
    small: dict[str, Any] = {"hidden": (32, 32), "warmup": 1_000, "mean_updates": 200, "decay": updates}
    small |= {"batch_size": 256} if make.base is PPO else {"batch_size": 64}
    small |= {"environments": 20} if make.base is PPO else {"environments": 20, "evaluation_environments": 10}
    learner = make(dose(), settings=make.settings_type(**small)).learn(updates, progress=False)
    return assess(saved(learner, folder), dose(), episodes=100, seed=77)


@pytest.mark.slow
@pytest.mark.parametrize("make", WITH_BUDGETS, ids=lambda make: make.name)
def test_known_costs_stay_within_the_budget_and_use_it(make: Combination, tmp_path: Path) -> None:
    found = learned(make, 3_000 if make in SLOWER else 1_500, tmp_path)
    cost, low, _ = found.interval()
    assert low <= 10.0
    assert cost > 6.0
    assert found.returns.mean() > -9.8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the packages: infinite bounds in 64 bits, deprecated attributes of models
def test_a_cell_of_the_benchmark_keeps_its_budget() -> None:
    """The policy in the file, on another project's simulator. Not every cell does: see docs/constrained_learning.md."""
    pytest.importorskip("pybullet")
    pytest.importorskip("bullet_safety_gym")
    cell = train("dsac-lagrangian", "ball-run", seed=0)
    assert cell["cost_low"] <= cell["budget"]
    assert cell["return"] > 200.0  # random actions lose


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_costs_of_mujocos_pendulum_are_its_squared_inputs() -> None:
    pytest.importorskip("mujoco")
    env = pendulum_effort().vector_env(2, seed=1)
    env.reset()
    action = torch.tensor([[0.5], [-2.0]])
    torch.testing.assert_close(env.step(action).cost[:, 0], torch.tensor([0.25, 4.0]))
