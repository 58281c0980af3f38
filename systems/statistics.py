"""Rates, means, ratios and counts with their intervals, every one at 95 %.

`scipy.stats` takes a second to import, so each function imports it when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

__all__ = ["LEVEL", "Estimate", "Rate", "cheapest", "cost_ratios", "mean", "poisson", "wilson"]

LEVEL = 0.95
_LOWER, _UPPER = 0.025, 0.975  # quantiles at the ends of a two-sided interval


@final
@dataclass(frozen=True)
class Estimate:
    """A mean and its interval; the ends are NaN where there are too few runs for one."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return self.high - self.value


@final
@dataclass(frozen=True)
class Rate:
    """k of n, and the Wilson interval of the probability behind it."""

    k: int
    n: int

    @property
    def value(self) -> float:
        return self.k / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.k, self.n)

    @property
    def at_least(self) -> float:
        """The exact lower bound of the probability (Clopper and Pearson, 1934), one-sided: whatever the distribution,
        it lies above the probability in at most 5 % of repetitions of all n independent draws; 0 where none came true.
        """
        from scipy.stats import beta

        return 0.0 if self.k == 0 else float(beta.ppf(1.0 - LEVEL, self.k, self.n - self.k + 1))


def wilson(k: int, n: int) -> tuple[float, float]:
    """Interval of a probability of which k of n draws came true (Wilson, 1927); never empty, never outside [0, 1]."""
    from scipy.stats import binomtest

    if n == 0:
        return 0.0, 1.0
    interval = binomtest(int(k), int(n)).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def mean(values: np.ndarray) -> Estimate:
    """Mean with Student's t interval."""
    from scipy.stats import t

    n = len(values)
    with np.errstate(all="ignore"):  # infinite costs have an infinite mean and no interval
        average = float(np.mean(values))
        deviation = float(np.std(values, ddof=1)) if n > 1 else np.nan
    half = float(t.ppf(_UPPER, n - 1)) * deviation / n**0.5 if np.isfinite(deviation) else np.nan
    return Estimate(average, average - half, average + half)


def poisson(count: int) -> tuple[float, float]:
    """Exact interval of the mean of a Poisson distribution of which `count` was drawn (Garwood, 1936)."""
    from scipy.stats import chi2

    low = 0.5 * chi2.ppf(_LOWER, 2 * count) if count else 0.0
    return float(low), float(0.5 * chi2.ppf(_UPPER, 2 * count + 2))


def cost_ratios(costs: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """Each controller's mean cost over the smallest mean cost, from paired runs.

    The interval is Student's t on the linearised ratio (the delta method); since starts and disturbances are shared,
    variation common to all controllers cancels. If the smallest mean cost is not positive, all ratios are NaN.
    """
    ratios = {}
    with np.errstate(all="ignore"):  # infinite costs have no ratio
        base = costs[cheapest({name: float(np.mean(values)) for name, values in costs.items()})]
        if not np.mean(base) > 0:
            return dict.fromkeys(costs, Estimate(float("nan"), float("nan"), float("nan")))
        for name, values in costs.items():
            ratio = float(np.mean(values) / np.mean(base))
            error = mean((values - ratio * base) / np.mean(base))
            ratios[name] = Estimate(ratio, ratio + error.low, ratio + error.high)
    return ratios


def cheapest(values: Mapping[str, float]) -> str:
    """The name with the smallest number; undefined numbers come last."""
    return min(values, key=lambda name: np.nan_to_num(values[name], nan=np.inf))
