"""Predictive control with a model that is learned while it runs."""

from mpc.adaptive.adaptive_mpc import AdaptiveMPC, Learning
from mpc.adaptive.parameter_adaptive_mpc import ParameterAdaptiveMPC
from mpc.adaptive.tunable import Tunable

__all__ = ["AdaptiveMPC", "Learning", "ParameterAdaptiveMPC", "Tunable"]
