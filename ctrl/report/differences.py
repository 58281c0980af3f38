"""Differences of mean costs between controllers, from paired runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import final

import numpy as np

from ctrl.comparison.data import ComparisonData
from ctrl.comparison.verdicts import NEGLIGIBLE, Verdict
from systems import Budget, Chance
from systems.statistics import LEVEL, Estimate

__all__ = ["CHANCE", "Difference", "broken", "differences", "exceeds"]

CHANCE = " (which may be chance)"
"""Added to a limit that was exceeded, but no more than chance explains."""


@final
@dataclass(frozen=True)
class Difference:
    """How much more the second controller costs than the first, on average over runs with the same start and draws.

    Args:
        first: the controller of the smaller mean cost.
        second: the other one.
        cost: mean cost of the second minus that of the first.
        share: the same, divided by the absolute mean cost of the first; NaN where that is zero.
        is_negligible: no run differs by more than a millionth of the mean cost.
    """

    first: str
    second: str
    cost: Estimate
    share: float
    is_negligible: bool

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero, and the difference is more than the tolerance of solvers."""
        return self.cost.low > 0 and not self.is_negligible


def differences(costs: Mapping[str, np.ndarray]) -> dict[frozenset[str], Difference]:
    """The differences of all pairs of controllers.

    The intervals hold simultaneously: each is Student's t on the paired differences at a level of 1 - 0.05 / pairs
    (Bonferroni), so the probability that any statement derived from them is wrong is at most 5 %.

    Args:
        costs: whole cost of each run, by controller, (runs,) in the same order.
    """
    pairs = list(combinations(costs, 2))
    pairwise: dict[frozenset[str], Difference] = {}
    for one, other in pairs:
        with np.errstate(all="ignore"):  # infinite costs have no difference
            first, second = sorted((one, other), key=lambda name: np.nan_to_num(costs[name].mean(), nan=np.inf))
            between = costs[second] - costs[first]
            base = abs(float(costs[first].mean()))
            same = bool(np.isfinite(between).all() and (np.abs(between) <= NEGLIGIBLE * base).all())
            mean = _simultaneous(between, len(pairs))
            share = mean.value / base if base > 0 else float("nan")
        pairwise[frozenset((one, other))] = Difference(first, second, mean, share, same)
    return pairwise


def broken(comparison: ComparisonData, name: str) -> dict[str | None, str]:
    """Descriptions of what a controller violated: constraints by name, except soft ones, and the domain under None.

    A chance constraint or a budget whose limit was exceeded, but no more than chance explains, is listed with this
    remark, because the runs do not show that the controller kept it.

    Args:
        comparison: its results.
        name: of the controller.
    """
    metrics = comparison.metrics[name]
    lost: dict[str | None, str] = {
        verdict.constraint: f"'{verdict.constraint}'{'' if not verdict.kept else CHANCE}"
        for verdict in metrics.verdicts
        if verdict.counts and (not verdict.kept or exceeds(verdict))
    }
    if metrics.left.k:
        lost[None] = "diverged" if comparison.task.domain is None else "left the domain"
    return lost


def exceeds(verdict: Verdict) -> bool:
    """Whether the runs exceed the limit of a chance constraint or a budget, significantly or not.

    Args:
        verdict: on the constraint.
    """
    required, measured = verdict.requirement, verdict.measured
    if isinstance(required, Budget):
        return bool(measured.value > required.limit)
    return isinstance(required, Chance) and bool(measured.value > 1 - required.probability + 1e-12)


def _simultaneous(values: np.ndarray, pairs: int) -> Estimate:
    from scipy.stats import t  # slow to import

    n, average = len(values), float(values.mean())
    if n < 2 or not np.isfinite(values).all():
        return Estimate(average, float("nan"), float("nan"))
    half = float(t.ppf(1 - 0.5 * (1 - LEVEL) / pairs, n - 1)) * float(values.std(ddof=1)) / n**0.5
    return Estimate(average, average - half, average + half)
