"""Predictive control with a model that is learned while it runs."""

from mpc.adaptive.adaptive_mpc import AdaptiveMPC, Learning, Tunable
from mpc.adaptive.parameter_adaptive_mpc import ParameterAdaptiveMPC

__all__ = ["AdaptiveMPC", "Learning", "ParameterAdaptiveMPC", "Tunable"]
