"""Sublevel sets of Lyapunov functions, cut to boxes, and their volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from ctrl.certify.functions.lyapunov import Lyapunov, QuadraticLyapunov
from systems.arithmetic.interval import Interval

__all__ = ["SublevelSet"]


@final
@dataclass(frozen=True, eq=False)
class SublevelSet:
    """{V <= level} intersected with a box.

    Args:
        V: the Lyapunov function.
        level: of the set.
        lower: (n,), of the box, may be infinite.
        upper: (n,), of the box, may be infinite.
        inner: level of the set that trajectories reach and stay in; default: 0, they converge to the centre of V.
    """

    V: Lyapunov
    level: float
    lower: np.ndarray
    upper: np.ndarray
    inner: float = 0.0

    @property
    def hull(self) -> tuple[np.ndarray, np.ndarray]:
        """A box that contains the set: lower and upper, each (n,)."""
        low, high = self.V.bounding_box(self.level)
        return np.maximum(low, self.lower), np.minimum(high, self.upper)

    @property
    def is_whole(self) -> bool:
        """Whether the box provably contains {V <= level}."""
        low, high = self.V.bounding_box(self.level)
        return bool((low >= self.lower).all() and (high <= self.upper).all())

    def surely_holds(self, x: Interval) -> np.ndarray:
        """Whether each of the boxes (..., n) provably lies inside; (...,) of bool."""
        within = ((x.lo >= self.lower) & (x.hi <= self.upper)).all(axis=-1)
        return within & (self.V.enclose(x).hi <= self.level)

    def volume(self, boxes: int = 200_000) -> float:
        """Volume of a whole ellipsoid to rounding error, else a lower bound by boxes inside the set or, where it is
        larger, of an ellipsoid without what lies beyond each face of the box."""
        V = self.V
        if isinstance(V, QuadraticLyapunov) and self.is_whole:
            return V.volume(self.level)
        lower, upper = self.hull
        by_boxes = self.inner_share(lower, upper, boxes) * float(np.prod(upper - lower))
        if not isinstance(V, QuadraticLyapunov):
            return by_boxes
        near = self.upper - V.centre.hi, V.centre.lo - self.lower
        beyond = sum(V.share_beyond(self.level, d).sum() for d in near)
        return max(by_boxes, V.volume(self.level) * (1.0 - 1e-9 - float(beyond)))

    def inner_share(self, lower: np.ndarray, upper: np.ndarray, boxes: int) -> float:
        """A lower bound of the share of a box (lower, upper (n,)) that lies in the set.

        The box is halved until its parts lie inside or outside or ``boxes`` are examined; only parts that provably lie
        inside count. Directions in which the box has no width do not count as volume.
        """
        width = np.where(upper > lower, upper - lower, 1.0)
        low, high, share = lower[None], upper[None], np.ones(1)
        inside, examined = 0.0, 0
        while len(low) and examined < boxes:
            examined += len(low)
            box = Interval(low, high)
            value = self.V.enclose(box)
            holds = ((low >= self.lower) & (high <= self.upper)).all(axis=1) & (value.hi <= self.level)
            inside += float(share[holds].sum())
            outside = (value.lo > self.level) | ((low > self.upper) | (high < self.lower)).any(axis=1)
            low, high, share = (a[~holds & ~outside] for a in (low, high, share))
            rows, axis = np.arange(len(low)), np.argmax((high - low) / width, axis=1)
            middle = Interval(low, high).mid[rows, axis] if len(low) else np.zeros(0)
            left, right = high.copy(), low.copy()
            left[rows, axis] = right[rows, axis] = middle
            low, high = np.concatenate([low, right]), np.concatenate([left, high])
            share = np.concatenate([share, share]) * 0.5
        # Midpoints are rounded, so halves are halves to 1e-16 each; a whole box needs no such allowance.
        return inside if inside in (0.0, 1.0) and examined == 1 else max(0.0, inside * (1.0 - 1e-9))
