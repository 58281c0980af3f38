"""Comparison of controllers on one task: common random numbers, metrics, table, figure, results on disk."""

from ctrl.comparison.comparison import Comparison
from ctrl.comparison.metrics import Metrics
from ctrl.comparison.run import compare
from ctrl.comparison.spec import ComparisonSpec, Factory
from ctrl.comparison.verdicts import Verdict
from systems.statistics import Estimate, Rate

__all__ = ["Comparison", "ComparisonSpec", "Estimate", "Factory", "Metrics", "Rate", "Verdict", "compare"]
