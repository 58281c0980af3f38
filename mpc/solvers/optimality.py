"""Residuals of the optimality conditions, compiled; they check every solver's point, whatever it reports."""

from __future__ import annotations

import math

import numpy as np

from systems.verified_cache import compiled

__all__ = ["check", "check_rows", "clamp", "is_posed", "natural_residual", "residual", "sum_rows", "violation"]


@compiled()
def natural_residual(value, multipliers, lower, upper, weight):  # type: ignore[no-untyped-def]
    """Largest |v - prox(v + multiplier)|, relative to 1 + |v|, of the penalties weight dist(v, [lower, upper]).

    It is zero exactly where value and multiplier are feasible and complementary (natural map; Facchinei & Pang, 2003),
    and infinite where that is undefined.

    Args:
        value, multipliers, lower, upper, weight: (rows,); an infinite weight makes a row hard.
    """
    worst = 0.0
    for i in range(len(value)):
        v = value[i]
        y = v + multipliers[i]
        if not abs(y) < math.inf:  # not a number, perhaps
            return math.inf
        nearest = min(max(y, lower[i]), upper[i])
        beyond = abs(y - nearest) - weight[i]
        if beyond > 0.0:
            nearest += math.copysign(beyond, y - nearest)
        gap = abs(v - nearest) / (1.0 + abs(v))
        if not gap < math.inf:
            return math.inf
        worst = max(worst, gap)
    return worst


@compiled()
def residual(curved, pull, f, value, multipliers, lower, upper, weight):  # type: ignore[no-untyped-def]
    """Largest scaled violation of stationarity H z + A'y + f = 0, of feasibility and of complementarity.

    Args:
        curved: H z, (d,).
        pull: A'y, (d,).
        f: (d,).
        value: A z, (rows,). The others as in :func:`natural_residual`.
    """
    worst = largest_pull = largest_f = 0.0
    for j in range(len(f)):
        total = pull[j] + f[j]
        gap = abs(curved[j] + total)
        if not gap < math.inf:
            return math.inf
        worst = max(worst, gap)
        largest_pull = max(largest_pull, abs(total))
        largest_f = max(largest_f, abs(f[j]))
    return max(worst / (1.0 + largest_pull + largest_f), natural_residual(value, multipliers, lower, upper, weight))


@compiled()
def violation(value, lower, upper, weight):  # type: ignore[no-untyped-def]
    """Largest distance of a hard row's value from its bounds, relative to 1 + |v|, as in :func:`natural_residual`."""
    worst = 0.0
    for i in range(len(value)):
        if weight[i] == math.inf:
            v = value[i]
            gap = max(v - upper[i], lower[i] - v) / (1.0 + abs(v))
            if not gap < math.inf:
                return math.inf
            worst = max(worst, gap)
    return worst


@compiled()
def is_posed(f, lower, upper):  # type: ignore[no-untyped-def]
    """Whether f (d,) is finite and lower <= upper (rows,) throughout."""
    posed = True
    for value in f:
        posed = posed and abs(value) < math.inf
    for i in range(len(lower)):
        posed = posed and lower[i] <= upper[i]
    return posed


@compiled()
def sum_rows(rows, multipliers):  # type: ignore[no-untyped-def]
    """A'y, (d,), for dense rows A in C order; most multipliers are zero."""
    total = np.zeros(rows.shape[1])
    for i in range(len(multipliers)):
        y = multipliers[i]
        if y != 0.0:
            for j in range(len(total)):
                total[j] += y * rows[i, j]
    return total


@compiled()
def check(curved, pull, f, value, multipliers, lower, upper, weight):  # type: ignore[no-untyped-def]
    """:func:`residual` and :func:`violation` of a point in one call."""
    worst = residual(curved, pull, f, value, multipliers, lower, upper, weight)
    return worst, violation(value, lower, upper, weight)


@compiled()
def check_rows(curved, rows, f, value, multipliers, lower, upper, weight):  # type: ignore[no-untyped-def]
    """:func:`check` for dense rows A in C order."""
    pull = sum_rows(rows, multipliers)
    worst = residual(curved, pull, f, value, multipliers, lower, upper, weight)
    return worst, violation(value, lower, upper, weight)


@compiled()
def clamp(f, lower, upper, most, low, high):  # type: ignore[no-untyped-def]
    """Writes the bounds (rows,), limited to +-most, into low and high; returns whether f (d,) is zero."""
    for i in range(len(low)):
        low[i], high[i] = max(lower[i], -most), min(upper[i], most)
    is_zero = True
    for value in f:
        is_zero = is_zero and value == 0.0
    return is_zero
