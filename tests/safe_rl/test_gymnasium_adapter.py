"""Foreign environments: three ways to state a cost, time limits, exact resumption, learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from safe_rl import PLO, SAC, Learner, SACLagrangian
from safe_rl.gymnasium_adapter import GymnasiumTask
from systems import Budget, InvalidValue
from systems.library import cartpole
from tests.safe_rl.tasks import TINY, assert_same_run


class Walk(gymnasium.Env):
    """A noisy walk on a line that ends beyond 3; the cost is how far the action pushes to the right."""

    def __init__(self, form: str = "info") -> None:
        self.form = form
        self.action_space = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.k = self.np_random.uniform(-1, 1), 0
        return self._seen(), {}

    def _seen(self) -> np.ndarray:
        return np.array([self.x, self.k / 10], dtype=np.float32)

    def step(self, action: np.ndarray) -> Any:
        assert self.action_space.contains(action)
        self.k += 1
        self.x += 0.5 * float(action[0]) + 0.1 * self.np_random.normal()
        cost = max(0.0, float(action[0]))
        end, reward = abs(self.x) > 3, -((self.x - 1.0) ** 2)
        if self.form == "six":
            return self._seen(), reward, cost, end, False, {}
        info = {"cost": cost} if self.form == "info" else {"costs": {"push": cost, "other": 2.0}}
        return self._seen(), reward, end, False, info


def task(form: str = "info", **more: Any) -> GymnasiumTask:
    budgets = more.pop("budgets", {"push": 1.0} if form == "named" else {"cost": 1.0})
    return GymnasiumTask("walk", lambda: Walk(form), budgets, steps=12, **more)


@pytest.mark.parametrize("form", ["info", "six", "named"])
def test_costs_are_found_in_every_form(form: str) -> None:
    env = task(form).vector_env(3, seed=1)
    first = env.reset()
    assert first.shape == (3, 2)
    action = torch.tensor([[0.5], [-0.5], [1.0]])
    step = env.step(action)
    torch.testing.assert_close(step.cost, torch.tensor([[0.5], [0.0], [1.0]]))
    torch.testing.assert_close(step.next_observation[:, 0], first[:, 0] + 0.5 * action[:, 0], atol=0.5, rtol=0.0)


def test_runs_end_by_time_and_by_termination_and_only_the_observation_shows_the_reset() -> None:
    env = task().vector_env(2)
    env.reset()
    push = torch.tensor([[1.0], [0.0]])
    ends, times = [], []
    for _ in range(12):
        step = env.step(push)
        ends.append(bool(step.terminated[0]))
        times.append(bool(step.truncated[1]))
        if ends[-1]:
            assert abs(float(step.next_observation[0, 0])) > 3
            assert abs(float(step.observation[0, 0])) <= 1
    assert any(ends)
    assert times == [False] * 11 + [True]


def test_state_repeats_the_runs() -> None:
    env = task().vector_env(3, seed=4)
    env.reset()
    actions = torch.rand(40, 3, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for k in range(17):
        env.step(actions[k])
    other = task().vector_env(3, seed=0)
    other.load_state_dict(env.state_dict())
    for k in range(17, 40):
        for mine, theirs in zip(env.step(actions[k]), other.step(actions[k]), strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("make", [PLO, SACLagrangian], ids=lambda c: c.name)
def test_constrained_learner_trains_and_resumes_exactly(make: Any, tmp_path: Path) -> None:
    settings = TINY[make.base]
    whole: Learner = make(task(), settings=settings).learn(60, progress=False)
    make(task(), settings=settings).learn(23, progress=False, checkpoint=tmp_path / "run")
    assert_same_run(whole, make.load(tmp_path / "run", task()).learn(60, progress=False))
    assert whole.history[-1].diagnostics["spent cost"] > 0
    assert "budget 'cost': 1 accumulated per episode of 12" in str(whole.constraints.limits[0])  # type: ignore[union-attr]


def test_our_own_environments_go_through_it_too() -> None:
    """The Gymnasium form of a task of ours gives the costs that its batched form gives."""
    ours = cartpole()
    foreign = GymnasiumTask("cartpole", ours.env, {"track": Budget(1.0, "discounted", "steps")}, steps=ours.steps)
    learner = SACLagrangian(foreign, settings=TINY[SAC]).learn(20, progress=False)
    assert learner.constraints is not None
    assert learner.constraints.limits[0].is_discounted


def test_what_cannot_be_learned_on_is_refused() -> None:
    with pytest.raises(InvalidValue, match="no time limit"):
        GymnasiumTask("walk", Walk)
    with pytest.raises(InvalidValue, match="finite Box"):
        GymnasiumTask("acrobot", lambda: gymnasium.make("Acrobot-v1"))
    env = task("six", budgets={"push": 1.0}).vector_env(1)
    env.reset()
    with pytest.raises(InvalidValue, match="reported no cost 'push'"):
        env.step(torch.zeros(1, 1))
