"""Comparison of controllers on one task: common random numbers, metrics, table, figure, results on disk."""

from ctrl.compare.metrics import Estimate, Metrics, Rate
from ctrl.compare.run import Comparison, Factory, compare

__all__ = ["Comparison", "Estimate", "Factory", "Metrics", "Rate", "compare"]
