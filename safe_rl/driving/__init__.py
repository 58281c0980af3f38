"""Driving in traffic: rule-based controllers, the training configuration of learners, and their comparison.

The task and its observation are in ``systems/library/driving/``.
"""

from safe_rl.driving.drivers import LaneChanging, LaneKeeping
from safe_rl.driving.training_config import METHODS, UPDATES, driving_config

__all__ = ["METHODS", "UPDATES", "LaneChanging", "LaneKeeping", "driving_config"]
