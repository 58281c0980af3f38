"""Budgets of foreign environments, as the policies keep them that are saved: all ready-made combinations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from benchmarks.foreign import ball_run, saved, settings
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


def learned(
    make: Combination, task: GymnasiumTask, seed: int, updates: int, folder: Path, episodes: int = 20
) -> Assessment:
    """What the policy in the file spends and earns."""
    small: dict[str, Any] = {"hidden": (32, 32), "warmup": 1_000, "mean_updates": 200, "decay": updates}
    small |= {"batch_size": 256} if make.base is PPO else {"batch_size": 64}
    small |= {"environments": 10} if make.base is PPO else {"environments": 10, "evaluation_environments": 5}
    learner = make(task, seed=seed, settings=settings(make, **small)).learn(updates, progress=False)
    return assess(saved(learner, folder), task, episodes, seed=77)


def keeps(found: Assessment) -> bool:
    """Whether a budget lies above the lower end of the interval of what is spent."""
    _, low, _ = found.interval()
    return low <= found.limits[0].limit


@pytest.mark.slow
@pytest.mark.parametrize("make", WITH_BUDGETS, ids=lambda make: make.name)
def test_known_costs_stay_within_the_budget_and_use_it(make: Combination, tmp_path: Path) -> None:
    found = learned(make, dose(), 0, 3_000 if make in SLOWER else 1_500, tmp_path, episodes=100)
    assert keeps(found)
    assert found.spent.mean() > 6.0
    assert found.returns.mean() > -9.8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the package: infinite bounds in 64 bits
@pytest.mark.parametrize("make", WITH_BUDGETS, ids=lambda make: make.name)
def test_a_ball_keeps_its_budget_where_it_spends_three_times_as_much_without_one(
    make: Combination, tmp_path: Path
) -> None:
    pytest.importorskip("pybullet")
    pytest.importorskip("bullet_safety_gym")
    found = learned(make, ball_run(), 1, 1_000, tmp_path)
    assert keeps(found)
    assert found.returns.mean() > 100.0  # random actions earn less than nothing
