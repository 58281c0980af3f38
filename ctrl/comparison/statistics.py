"""Rates, means and ratios with their intervals, every one at 95 %."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

__all__ = ["Estimate", "Rate", "cheapest", "cost_ratios", "mean", "wilson"]

LEVEL = 0.95


@final
@dataclass(frozen=True)
class Estimate:
    """A mean and its interval; the ends are NaN where there are too few runs to tell."""

    value: float
    low: float
    high: float


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


def wilson(k: int, n: int) -> tuple[float, float]:
    """Interval of a probability of which k of n draws came true (Wilson, 1927); never empty, never outside [0, 1]."""
    if n == 0:
        return 0.0, 1.0
    z2, share = 1.959963984540054**2, k / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return (0.0 if k == 0 else float(centre - half)), (1.0 if k == n else float(centre + half))


def mean(values: np.ndarray) -> Estimate:
    """Mean with Student's t interval."""
    with np.errstate(all="ignore"):  # infinite costs have an infinite mean and no interval
        average = float(np.mean(values))
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
    half = _quantile(len(values) - 1) * deviation / len(values) ** 0.5 if np.isfinite(deviation) else np.nan
    return Estimate(average, average - half, average + half)


def cost_ratios(costs: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """Each controller's mean cost over the smallest mean cost, from paired runs.

    The interval is Student's t on the linearised ratio (the delta method); as starts and disturbances are shared, what
    is hard for all of them cancels.
    """
    found = {}
    with np.errstate(all="ignore"):  # infinite costs have no ratio
        base = costs[cheapest({name: float(np.mean(values)) for name, values in costs.items()})]
        for name, values in costs.items():
            ratio = float(np.mean(values) / np.mean(base))
            error = mean((values - ratio * base) / np.mean(base))
            found[name] = Estimate(ratio, ratio + error.low, ratio + error.high)
    return found


def cheapest(values: Mapping[str, float]) -> str:
    """Whose number is the smallest; undefined ones come last."""
    return min(values, key=lambda name: np.nan_to_num(values[name], nan=np.inf))


def _quantile(freedom: int) -> float:
    from scipy.special import stdtrit  # scipy is slow to import

    return float(stdtrit(freedom, 0.5 + LEVEL / 2))
