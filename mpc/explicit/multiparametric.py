"""Multi-parametric quadratic programming: the solution of a quadratic program as a function of its parameters."""

from __future__ import annotations

from collections import deque

import numpy as np

from mpc.explicit.critical_regions import ActiveSet, MultiparametricQP, Parametric, Region
from mpc.explicit.polytopes import Polytope

__all__ = ["GAP", "MultiparametricQP", "Region", "TooManyRegions", "Unresolved", "solve_everywhere"]

GAP = 1e-10  # width, where the box of the parameters is |x_i| <= 1, of what may lie between two regions
STEPS = (1e-3, 1e-5, 1e-7, 1e-9, 0.5 * GAP)  # how far beyond a facet its neighbour is looked for, in the same unit


class TooManyRegions(RuntimeError):
    """The regions do not fit into the number allowed."""


class Unresolved(RuntimeError):
    """Regions beyond a facet could not be found, though the problem is feasible there."""


def solve_everywhere(problem: MultiparametricQP, max_regions: int) -> list[Region]:
    """All critical regions within the box; together they cover the feasible parameters, up to gaps of ``GAP``.

    The search proceeds from facet to facet (Bemporad, Morari, Dua & Pistikopoulos, 2002; Baotić, 2002), until every
    facet is covered by other regions, or lies on the boundary of the box or of the feasible parameters. These form a
    convex set, so a union of regions whose boundary lies on that of the set is all of it. Facets need not match: a
    facet is covered by as many neighbours as necessary, and the uncovered part is examined next.

    Raises:
        TooManyRegions: there are more than ``max_regions``.
        Unresolved: numerical trouble: no region is found beyond a facet that does not lie on the boundary.
    """
    parametric = Parametric(problem)
    first = None if parametric.domain is None else _first(parametric)
    if first is None:
        return []
    cover = _Cover(len(parametric.middle))
    cover.add(first)
    rng = np.random.default_rng(0)
    waiting = deque([first])
    while waiting:
        region = waiting.popleft()
        for i in np.flatnonzero(region.shape.is_facet & ~_bounds_of(parametric, region.shape)):
            for other in _beyond(parametric, cover, region, int(i), rng):
                waiting.append(other)
                if len(cover.regions) > max_regions:
                    raise TooManyRegions(f"more than {max_regions} regions")
    return cover.regions


def _bounds_of(parametric: Parametric, shape: Polytope) -> np.ndarray:
    """Mask (rows,), which rows are those of the domain, beyond which nothing is looked for."""
    domain = parametric.domain
    assert domain is not None
    same = (shape.H[:, None] == domain.H).all(axis=2) & (shape.h[:, None] == domain.h)
    return np.asarray(same.any(axis=1))


def _first(parametric: Parametric) -> Region | None:
    """Some region, None where nothing is feasible."""
    n, rng = len(parametric.middle), np.random.default_rng(1)
    farthest = [parametric.farthest(d) for d in (*np.eye(n), *-np.eye(n), *rng.normal(size=(2 * n, n)))]
    points = np.array([x for x in farthest if x is not None])
    if not len(points):
        return None
    for _ in range(100):
        rows = parametric.active_set(rng.dirichlet(np.ones(len(points))) @ points)
        region = None if rows is None else parametric.region(rows)
        if region is not None:
            return region
    raise Unresolved("the feasible parameters have no interior")


class _Cover:
    """The regions found, all rows of all of them in one product."""

    def __init__(self, n: int) -> None:
        self.regions: list[Region] = []
        self._known: set[ActiveSet] = set()
        self._H, self._h = np.zeros((64, n)), np.zeros(64)
        self._first: list[int] = []
        self._count = 0

    def add(self, region: Region) -> bool:
        """One more, unless one with the same active set is there; whether it was not."""
        if region.rows in self._known:
            return False
        H, h = region.shape.H, region.shape.h
        while self._count + len(h) > len(self._h):
            self._H, self._h = np.vstack([self._H, np.zeros_like(self._H)]), np.append(self._h, np.zeros_like(self._h))
        self._first.append(self._count)
        place = slice(self._count, self._count + len(h))
        self._H[place], self._h[place] = H, h
        self._count += len(h)
        self.regions.append(region)
        self._known.add(region.rows)
        return True

    def holding(self, x: np.ndarray) -> Region | None:
        """The region that holds the point (n,)."""
        inside = self._H[: self._count] @ x <= self._h[: self._count]
        held = np.flatnonzero(np.logical_and.reduceat(inside, self._first))
        return self.regions[held[0]] if len(held) else None


def _beyond(parametric: Parametric, cover: _Cover, region: Region, i: int, rng: np.random.Generator) -> list[Region]:
    """Adds the regions beyond facet ``i`` of a region to the cover; returns those that were not there yet."""
    facet, origin, basis = region.shape.facet(i)
    outward = region.shape.H[i] / np.linalg.norm(region.shape.H[i])
    new: list[Region] = []
    uncovered = [facet]
    for _ in range(10_000):
        uncovered = [part for part in uncovered if part.depth > GAP]
        if not uncovered:
            return new
        part = uncovered.pop()
        start = origin + basis @ (rng.dirichlet(np.ones(len(part.vertices))) @ part.vertices)
        for step in STEPS:
            point = start + step * outward
            if (np.abs(point) > 1.0).any():
                continue
            other = cover.holding(point)
            if other is None:
                rows = parametric.active_set(point)
                other = None if rows is None else parametric.region(rows)
            if other is None or other.rows == region.rows:
                continue
            if cover.add(other):
                new.append(other)
            left = _left(part, other, origin, basis)
            if left != [part]:
                uncovered += left
                break
        else:
            if parametric.reach(start, outward, 10.0 * GAP) <= GAP:
                return new  # as an inner point of the facet lies on the boundary of a convex set, all of it does
            raise Unresolved("no region found beyond a facet, though the problem is feasible there")
    raise Unresolved("a facet with too many neighbours")


def _left(part: Polytope, region: Region, origin: np.ndarray, basis: np.ndarray) -> list[Polytope]:
    """The rest of a part of a facet that a region does not cover, points nearer than ``GAP`` being covered."""
    H, h = region.shape.H, region.shape.h
    return part.minus(H @ basis, h + GAP - H @ origin)
