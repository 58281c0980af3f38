"""The pendulum's swing-up with a named constraint on its rate, in the variants that tests need."""

from __future__ import annotations

import dataclasses

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
