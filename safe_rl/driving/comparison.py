"""The comparison that ``trivium compare driving`` runs when no controllers are named."""

from __future__ import annotations

from functools import partial

from ctrl.comparison import ComparisonSpec, Factory
from ctrl.controller import Controller
from mpc import NonlinearMPC
from safe_rl.cached_policies import cached_policy
from safe_rl.combinations import Combination
from safe_rl.driving.drivers import LaneChanging, LaneKeeping
from safe_rl.driving.training_config import METHODS, driving_config
from systems import Task

__all__ = ["drivers"]


def drivers() -> ComparisonSpec:
    """Lane keeping, rule-based lane changes, nonlinear MPC, and learners with penalty, budget or harmonic gradient.

    Uses 8 initial states, because optimising a run takes as long as the run itself.
    """
    controllers: dict[str, Factory] = {"lane-keeping": LaneKeeping, "lane-changing": LaneChanging}
    controllers["nonlinear-mpc"] = partial(NonlinearMPC, horizon=20, max_iterations=60)
    for name in ("dsac-penalty", "dsac-lagrangian", "dsac-h"):
        controllers[name] = partial(_learned, make=METHODS[name])
    return ComparisonSpec(controllers, starts=8)


def _learned(task: Task, make: Combination) -> Controller:
    return cached_policy(task, driving_config(make))
