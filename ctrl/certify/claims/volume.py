"""Volumes of sublevel sets cut to boxes."""

from __future__ import annotations

import numpy as np

from ctrl.certify.claims.sublevel_set import Region
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from systems.arithmetic.interval import Interval

__all__ = ["inner_share", "volume"]


def volume(region: Region, boxes: int = 200_000) -> float:
    """Volume of the region: of a whole ellipsoid to rounding error, else a lower bound by boxes inside it."""
    if isinstance(region.V, QuadraticLyapunov) and region.is_whole:
        return region.V.volume(region.level)
    lower, upper = region.hull
    return inner_share(region, lower, upper, boxes) * float(np.prod(upper - lower))


def inner_share(region: Region, lower: np.ndarray, upper: np.ndarray, boxes: int) -> float:
    """A lower bound of the share of a box (lower, upper (n,)) that lies in the region.

    By halving the box until its parts lie inside or outside or ``boxes`` are examined; only what lies surely inside
    counts. Directions in which the box has no width do not count as volume.
    """
    width = np.where(upper > lower, upper - lower, 1.0)
    low, high, share = lower[None], upper[None], np.ones(1)
    inside, examined = 0.0, 0
    while len(low) and examined < boxes:
        examined += len(low)
        box = Interval(low, high)
        value = region.V.enclose(box)
        holds = ((low >= region.lower) & (high <= region.upper)).all(axis=1) & (value.hi <= region.level)
        inside += float(share[holds].sum())
        outside = (value.lo > region.level) | ((low > region.upper) | (high < region.lower)).any(axis=1)
        low, high, share = (a[~holds & ~outside] for a in (low, high, share))
        rows, axis = np.arange(len(low)), np.argmax((high - low) / width, axis=1)
        middle = Interval(low, high).mid[rows, axis] if len(low) else np.zeros(0)
        left, right = high.copy(), low.copy()
        left[rows, axis] = right[rows, axis] = middle
        low, high = np.concatenate([low, right]), np.concatenate([left, high])
        share = np.concatenate([share, share]) * 0.5
    # Midpoints are rounded, so halves are halves to 1e-16 each; a whole box needs no such allowance.
    return inside if inside in (0.0, 1.0) and examined == 1 else max(0.0, inside * (1.0 - 1e-9))
