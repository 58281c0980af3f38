"""Comparison of controllers on one task: common random numbers, metrics, table, figure, results on disk."""

from ctrl.comparison.metrics import Metrics
from ctrl.comparison.run import Comparison, Factory, Programme, compare
from ctrl.comparison.verdicts import Verdict
from systems.statistics import Estimate, Rate

__all__ = ["Comparison", "Estimate", "Factory", "Metrics", "Programme", "Rate", "Verdict", "compare"]
