"""What is claimed of a set, and how a search for a proof may end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ctrl.certify.functions.lyapunov import Lyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.search.subdivision import Proof
from systems.arguments import expect_number, expect_whole
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_matrices import total
from systems.errors import expect

__all__ = ["Answer", "Effort", "Outcome", "Region", "expect_effort", "violates"]

Answer = Literal["proved", "refuted", "open"]


@dataclass(frozen=True)
class Effort:
    """When to give up: boxes examined, seconds. And on which device of torch boxes are examined, such as "cuda"; where
    left out, by numpy. Laws made of regions and networks with GELU need numpy."""

    boxes: int = 2_000_000
    seconds: float = 60.0
    device: str | None = None


def expect_effort(budget: Effort | None) -> Effort:
    """A budget as given, or the default one.

    Raises:
        InvalidValue: no Effort; fewer boxes than one, or negative seconds.
    """
    if budget is None:
        return Effort()
    expect(budget, Effort, "budget", "such as Effort(seconds=60)")
    expect_whole(budget.boxes, "Effort.boxes", least=1)
    expect_number(budget.seconds, "Effort.seconds", least=0.0, infinite=True)
    return budget


@dataclass(frozen=True)
class Region:
    """{V <= level} intersected with a box (lower, upper), each (n,), maybe infinite.

    Args:
        inner: the level to whose set motions come, and where they stay; 0 where they converge to the centre of V.
    """

    V: Lyapunov
    level: float
    lower: np.ndarray
    upper: np.ndarray
    inner: float = 0.0

    @property
    def hull(self) -> tuple[np.ndarray, np.ndarray]:
        """A box that holds the region: lower and upper, each (n,)."""
        low, high = self.V.bounding_box(self.level)
        return np.maximum(low, self.lower), np.minimum(high, self.upper)

    @property
    def is_whole(self) -> bool:
        """Whether the box surely cuts nothing off {V <= level}."""
        low, high = self.V.bounding_box(self.level)
        return bool((low >= self.lower).all() and (high <= self.upper).all())

    def surely_holds(self, x: Interval) -> np.ndarray:
        """Whether each of the boxes (..., n) lies inside, proved; (...,) of bool."""
        within = ((x.lo >= self.lower) & (x.hi <= self.upper)).all(axis=-1)
        return within & (self.V.enclose(x).hi <= self.level)


@dataclass(frozen=True)
class Outcome:
    """How a search ended.

    Args:
        answer: whether the claim is proved, refuted by ``point``, or left open for ``reason``.
        boxes: examined. seconds: wall time.
        core: half-widths (n,) of the hull of the parallelepiped around the centre that one Jacobian covers.
        proof: how the region was cut, where the claim is proved.
        advice: what to try where it is left open.
    """

    answer: Answer
    boxes: int
    seconds: float
    core: np.ndarray
    point: np.ndarray | None = None
    reason: str = ""
    proof: Proof | None = None
    advice: str = ""


def violates(loop: ClosedLoop, region: Region, x: np.ndarray, kappa: float, w: np.ndarray | None = None) -> np.ndarray:
    """Whether each of the points (b, n), with disturbances (b, q), is proved to refute the claim; (b,) of bool.

    It lies in the region, and V(f(x, w)) > max((1 - kappa) V(x), inner) or f(x, w) lies beyond the region's box; in
    continuous time, V'(x) f(x, w) > -kappa V(x) and V(x) >= inner.
    """
    point = Interval.of(x)
    after, value = loop.enclose(point, w), region.V.enclose(point)
    if loop.continuous:
        growth = total(region.V.enclose_gradient(point) * after) + Interval.of(kappa) * value
        leaves: Any = np.zeros_like(value.lo, dtype=bool)
        grows = (growth.lo > 0) & (value.lo >= region.inner)
    else:
        image = region.V.enclose(after)
        growth = image - (1.0 - Interval.of(kappa)) * value
        grows = (growth.lo > 0) & ((image.lo > region.inner) | (region.inner == 0.0))
        leaves = ((after.hi < region.lower) | (after.lo > region.upper)).any(axis=-1)
    return (grows | leaves) & region.surely_holds(point)
