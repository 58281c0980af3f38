"""Predictive safety filters: ``Filtered(policy, PredictiveFilter(task))``."""

from mpc.filters.predictive_filter import PredictiveFilter
from mpc.filters.terminal_set import TerminalSet, regulator_set

__all__ = ["PredictiveFilter", "TerminalSet", "regulator_set"]
