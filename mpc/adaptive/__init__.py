"""Predictive control with a model that is learned while it runs."""

from mpc.adaptive.adaptive_mpc import AdaptiveMPC, Learning, Tunable

__all__ = ["AdaptiveMPC", "Learning", "Tunable"]
