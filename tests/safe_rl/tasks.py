"""The pendulum's swing-up with constraints on its rate, in the variants that tests need, and settings of a second."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from safe_rl import DSACT, PPO, SAC, DSACTSettings, Learner, PPOSettings, SACSettings
from systems import Box, Nonlinear, Task
from systems.library import pendulum_swing_up


def swing_up(
    discount: float = 0.99, steps: int = 200, reward_factor: float = 1.0, rate_limit: float = 6.0, budget: float = 5.0
) -> Task:
    """Rewards times a factor; at most `budget` samples per run in which the rate exceeds its limit (rad/s)."""
    task = pendulum_swing_up()
    stage = task.cost.stage
    return dataclasses.replace(
        task,
        discount=discount,
        steps=steps,
        cost=Nonlinear(lambda x, u, xr, ur: reward_factor * stage(x, u, xr, ur)),
        constraints=(Box("fast", {"rate": (-rate_limit, rate_limit)}).budget(budget),),
    )


def two_budgets() -> Task:
    """Two constraints of different kinds that random actions break now and then, and a soft one between them."""
    task = swing_up(steps=20)
    return dataclasses.replace(
        task,
        constraints=(
            Box("fast", {"rate": (-1.0, 1.0)}).budget(2.0),
            Box("priced", {"rate": (-9.0, 9.0)}).soft(1.0),
            Box("turned", {"angle": (-1.0, 1.0)}).budget(1.0, per="discounted", of="excess"),
        ),
    )


_SMALL: dict[str, Any] = {"hidden": (16, 16), "batch_size": 32, "warmup": 200}
TINY: dict[type[Learner], Any] = {
    DSACT: DSACTSettings(environments=4, evaluation_environments=2, capacity=500, **_SMALL),
    SAC: SACSettings(environments=4, evaluation_environments=2, capacity=500, **_SMALL),
    PPO: PPOSettings(environments=8, horizon=16, passes=2, **_SMALL),
}


def everything(learner: Learner) -> list[torch.Tensor]:
    """All tensors a run depends on, in order."""
    found: list[torch.Tensor] = []

    def walk(node: object) -> None:
        if isinstance(node, torch.Tensor):
            found.append(node.detach().clone())
        elif isinstance(node, dict):
            for key in sorted(node, key=str):
                walk(node[key])
        elif isinstance(node, list | tuple):
            for item in node:
                walk(item)

    held = None if learner.constraints is None else learner.constraints.state_dict()
    walk([learner.learner_state(), learner.collector.state_dict(), learner.generator.get_state(), held])
    return found


def assert_same_run(one: Learner, other: Learner) -> None:
    assert one.updates == other.updates
    a, b = everything(one), everything(other)
    assert len(a) == len(b) > 20
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x, y)
