"""Driving among others: the controllers that drive by rules, the recipe of learners, and the comparison of all."""

from safe_rl.driving.drivers import LaneChanging, LaneKeeping
from safe_rl.driving.recipe import METHODS, UPDATES, driving_recipe

__all__ = ["METHODS", "UPDATES", "LaneChanging", "LaneKeeping", "driving_recipe"]
