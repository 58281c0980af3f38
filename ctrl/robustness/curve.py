"""One controller's cost and violations over the values of one axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from systems.statistics import Estimate, Rate, mean

__all__ = ["Curve", "curve"]


@final
@dataclass(frozen=True)
class Curve:
    """Results of one controller over the values of one axis; values without a result are omitted.

    Args:
        values: of the axis.
        cost: mean over the runs.
        ratio: mean cost over that at the nominal value, from paired runs.
        broken: runs that violate any constraint, leave the domain or diverge.
        settled: runs that arrive and stay.
        kept: the range of values around the nominal one at which no more runs are broken than at that one; None if the
            nominal value has no result.
    """

    values: tuple[float, ...]
    cost: tuple[Estimate, ...]
    ratio: tuple[Estimate, ...]
    broken: tuple[Rate, ...]
    settled: tuple[Rate, ...]
    kept: tuple[float, float] | None

    @property
    def range(self) -> str:
        """The range at which no more runs are broken, in words."""
        if self.kept is None:
            return "no result"
        low, high = self.kept
        return f"{low:g} to {high:g}" if low < high else f"{low:g} only"

    @property
    def worst(self) -> float:
        """Largest mean cost over the nominal one; NaN if one of them is unknown."""
        ratios = [estimate.value for estimate in self.ratio]
        return math.nan if not ratios or any(map(math.isnan, ratios)) else max(ratios)

    @property
    def worse(self) -> tuple[float, ...]:
        """The first value on each side of the nominal one at which more runs are broken, if there is one."""
        if self.kept is None:
            return ()
        below = [value for value in self.values if value < self.kept[0]]
        above = [value for value in self.values if value > self.kept[1]]
        return tuple(below[-1:] + above[:1])


def curve(points: Sequence[tuple[float, dict[str, Any]]], at: float) -> Curve:
    """The curve of results of the cells of a sweep.

    Args:
        points: values of an axis in increasing order, each with its result.
        at: the nominal value.
    """
    results = [result for _, result in points]
    nominal = next((result for value, result in points if value == at), None)
    costs = [np.asarray(result["cost"], dtype=float) for result in results]
    return Curve(
        tuple(value for value, _ in points),
        tuple(mean(cost) for cost in costs),
        tuple(_ratio(cost, nominal) for cost in costs),
        tuple(Rate(result["broken"], result["runs"]) for result in results),
        tuple(Rate(result["settled"], result["runs"]) for result in results),
        None if nominal is None else _kept(points, at, nominal),
    )


def _ratio(cost: np.ndarray, nominal: dict[str, Any] | None) -> Estimate:
    """Ratio of the mean cost to the nominal one, from paired runs."""
    base = np.zeros(0) if nominal is None else np.asarray(nominal["cost"], dtype=float)
    if len(base) != len(cost) or not np.isfinite(base).all() or not base.mean() > 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    ratio = float(cost.mean() / base.mean())
    if not np.isfinite(ratio):
        return Estimate(ratio, float("nan"), float("nan"))
    error = mean((cost - ratio * base) / base.mean())
    return Estimate(ratio, ratio + error.low, ratio + error.high)


def _kept(points: Sequence[tuple[float, dict[str, Any]]], at: float, nominal: dict[str, Any]) -> tuple[float, float]:
    """The range around the nominal value within which no more runs are broken than at that value."""
    ends = []
    for side in ([(v, r) for v, r in reversed(points) if v < at], [(v, r) for v, r in points if v > at]):
        end = at
        for value, result in side:
            if result["broken"] > nominal["broken"]:
                break
            end = value
        ends.append(end)
    return ends[0], ends[1]
