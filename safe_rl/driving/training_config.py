"""The training configuration of all learners that drive, so that they differ only in their handling of constraints."""

from __future__ import annotations

import dataclasses

from safe_rl.cached_policies import TrainingConfig
from safe_rl.combinations import CAL, DSACH, DSACPID, Combination, DSACLagrangian, DSACPenalty
from safe_rl.driving.drivers import LaneKeeping
from safe_rl.handlers import FixedPenalty
from safe_rl.jump_start import JumpStart, JumpStartSettings
from systems import Task

__all__ = ["METHODS", "UPDATES", "driving_config", "lane_keeping_begins"]

UPDATES = 6_000

# Of the weights 0.3, 1 and 3 the one that drives fastest without spending its budget: 0.3 follows too closely.
PENALTY = dataclasses.replace(DSACPenalty, handler=FixedPenalty(weight=1.0))

METHODS = {make.name: make for make in (PENALTY, DSACLagrangian, DSACPID, CAL, DSACH)}
"""By name, the methods that are compared on driving."""


def driving_config(make: Combination, updates: int = UPDATES) -> TrainingConfig:
    """The training configuration of a base learner with a replay memory and a handler of constraints.

    A return under uniform actions is that of leaving the road, hundreds of times what traffic costs: rewards are scaled
    so that the latter are of order one. A step of 320 environments costs hardly more than one of 40.
    """
    settings = dataclasses.replace(
        make.base.settings_type(),
        return_scale=300.0,
        averaging=0.05,
        environments=320,
        evaluation_environments=80,
        updates_per_step=10,
        capacity=200_000,
        decay=updates,
    )
    return TrainingConfig(make.name, make, settings, updates, lane_keeping_begins)


def lane_keeping_begins(task: Task) -> JumpStart:
    """A driver who keeps the lane begins each of the first five hundred runs, for up to 15 s, whatever the result."""
    return JumpStart(task, LaneKeeping, JumpStartSettings(longest=150, threshold=0.0, step=2e-3))
