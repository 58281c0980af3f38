"""Multi-parametric quadratic programming: the solution of a quadratic program as a function of its parameters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import linprog
from scipy.spatial import HalfspaceIntersection, QhullError

from ctrl.sets import Polyhedron

__all__ = ["Incomplete", "MultiparametricQP", "Region", "bounded_shape", "solve_everywhere"]

Status = Literal["kept", "active", "violated"]

FLAT = 1e-9  # Chebyshev radius, in units of the parameters' box, below which a region counts as without interior
STEP = 1e-8  # how far beyond a facet its neighbour is looked for, in the same unit


class Incomplete(RuntimeError):
    """The regions do not fit into the number allowed."""


@dataclass(frozen=True, eq=False)
class MultiparametricQP:
    """min z'Hz/2 + (f + F x)'z + sum_i price_i max(0, a_i'z - b_i - s_i'x), an infinite price making row i hard.

    Args:
        H: (d, d), positive definite. f: (d,). F: (d, n). A: (rows, d). b: (rows,). S: (rows, n). price: (rows,).
        box: lower and upper bounds (n,) of the parameters x, finite.
    """

    H: np.ndarray
    f: np.ndarray
    F: np.ndarray
    A: np.ndarray
    b: np.ndarray
    S: np.ndarray
    price: np.ndarray
    box: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Region:
    """Where one set of rows is active, and the solution there, z = K x + k.

    Args:
        rows: status of every row, its index and ``active`` or ``violated``; the others are kept with room to spare.
        K: (d, n). k: (d,). set: in units of x, without redundant rows, each of length 1. corners: (c, n).
        middle: (n,), a point inside.
    """

    rows: frozenset[tuple[int, Status]]
    K: np.ndarray
    k: np.ndarray
    set: Polyhedron
    corners: np.ndarray
    middle: np.ndarray


def solve_everywhere(
    problem: MultiparametricQP,
    active_rows: Callable[[np.ndarray], frozenset[tuple[int, Status]] | None],
    start: np.ndarray,
    max_regions: int,
) -> list[Region]:
    """All critical regions within the box that can be reached from ``start`` through their facets.

    The set of feasible parameters is convex, so every region is reached. From each facet of a region steps lead into
    its neighbours (Baotić, 2002); where no region is known there, ``active_rows`` says which rows of the optimum are
    active or violated, which defines the next one (Bemporad, Morari, Dua & Pistikopoulos, 2002).

    Args:
        active_rows: of the optimum at x (n,), None where there is none. start: (n,), a feasible parameter.

    Raises:
        Incomplete: there are more than ``max_regions``.
    """
    lower, upper = problem.box
    size = upper - lower
    factor = cho_factor(problem.H)
    found: list[Region] = []
    seen: set[frozenset[tuple[int, Status]]] = set()
    cover = _Cover(len(lower))
    to_try = deque([start])
    while to_try:
        x = to_try.popleft()
        if ((x < lower) | (x > upper)).any() or cover.contains(x):
            continue
        rows = active_rows(x)
        if rows is None or rows in seen:
            continue
        seen.add(rows)
        region = _region(problem, factor, rows)
        if region is None:
            continue
        found.append(region)
        if len(found) > max_regions:
            raise Incomplete(f"more than {max_regions} regions")
        cover.add(region.set)
        to_try.extend(_beyond(region, size))
    return found


class _Cover:
    """Whether a point lies in any of the regions found, all rows of all of them in one product."""

    def __init__(self, n: int) -> None:
        self._H, self._h, self._first = np.zeros((0, n)), np.zeros(0), np.zeros(0, dtype=int)

    def add(self, region: Polyhedron) -> None:
        self._first = np.append(self._first, len(self._h))
        self._H, self._h = np.vstack([self._H, region.H]), np.append(self._h, region.h)

    def contains(self, x: np.ndarray) -> bool:
        if not len(self._first):
            return False
        return bool(np.logical_and.reduceat(self._H @ x <= self._h, self._first).any())


def _region(
    problem: MultiparametricQP, factor: tuple[np.ndarray, bool], rows: frozenset[tuple[int, Status]]
) -> Region | None:
    """The region of these rows, None where it has no interior or its active rows are dependent."""
    A, b, S, price = problem.A, problem.b, problem.S, problem.price
    active = np.array(sorted(i for i, status in rows if status == "active"), dtype=int)
    violated = np.array(sorted(i for i, status in rows if status == "violated"), dtype=int)
    kept = np.setdiff1d(np.arange(len(b)), np.concatenate([active, violated]))
    # Everything is affine in x: columns 0 .. n - 1 multiply x, the last is constant.
    pull = np.column_stack([problem.F, problem.f + price[violated] @ A[violated]])
    limit = np.column_stack([S, b])
    free = -cho_solve(factor, pull)
    solution = free
    multipliers = np.zeros((0, pull.shape[1]))
    if len(active):
        towards = cho_solve(factor, A[active].T)
        gram = A[active] @ towards
        if np.linalg.cond(gram) > 1e12:
            return None
        multipliers = np.linalg.solve(gram, A[active] @ free - limit[active])
        solution = free - towards @ multipliers
    slack = A @ solution - limit
    softly = np.isfinite(price[active])
    conditions = np.vstack(
        [slack[kept], -slack[violated], -multipliers, multipliers[softly] - _constant(price[active][softly], pull)]
    )
    n = pull.shape[1] - 1
    lower, upper = problem.box
    H = np.vstack([conditions[:, :n], np.eye(n), -np.eye(n)])
    h = np.concatenate([-conditions[:, n], upper, -lower])
    length = np.linalg.norm(H * (upper - lower), axis=1)
    empty = length <= 1e-10 * np.maximum(1.0, np.abs(h))
    if (h[empty] < -1e-9).any():
        return None
    shape = bounded_shape(H[~empty], h[~empty], upper - lower)
    if shape is None:
        return None
    region, corners, middle = shape
    return Region(rows, solution[:, :n], solution[:, n], region, corners, middle)


def _constant(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    spread = np.zeros((len(values), like.shape[1]))
    spread[:, -1] = values
    return spread


def bounded_shape(H: np.ndarray, h: np.ndarray, size: np.ndarray) -> tuple[Polyhedron, np.ndarray, np.ndarray] | None:
    """A bounded polyhedron without redundant rows, its corners and its Chebyshev centre; None where it is flat.

    Args:
        H: (rows, n), no row zero. h: (rows,). size: (n,), the unit in which distances are measured.
    """
    scaled = H * size
    length = np.linalg.norm(scaled, axis=1)
    scaled, right = scaled / length[:, None], h / length
    n = H.shape[1]
    found = linprog(
        np.append(np.zeros(n), -1.0), np.column_stack([scaled, np.ones(len(h))]), right, bounds=(None, None),
        method="highs", options={"primal_feasibility_tolerance": 1e-10},
    )  # fmt: skip
    if found.status != 0 or not found.x[n] > FLAT:
        return None
    middle = found.x[:n]
    if n == 1:
        ends = right / scaled[:, 0]
        top, bottom = scaled[:, 0] > 0, scaled[:, 0] < 0
        corners = np.array([[ends[bottom].max()], [ends[top].min()]])
        keep = np.array([np.flatnonzero(bottom)[ends[bottom].argmax()], np.flatnonzero(top)[ends[top].argmin()]])
    else:
        try:
            cut = HalfspaceIntersection(np.column_stack([scaled, -right]), middle)
        except QhullError:
            return None
        corners = cut.intersections[np.isfinite(cut.intersections).all(axis=1)]
        keep = np.unique(cut.dual_vertices)
    back = np.linalg.norm(H[keep], axis=1)
    region = Polyhedron(H[keep] / back[:, None], h[keep] / back)
    return region, corners * size, middle * size


def _beyond(region: Region, size: np.ndarray) -> list[np.ndarray]:
    """Points just outside every facet: behind its middle, and behind places near its corners."""
    points = []
    for row, right in zip(region.set.H, region.set.h, strict=True):
        outward = row * size**2
        outward /= np.linalg.norm(outward / size)
        near = np.abs(region.corners @ row - right) <= 1e-8 * max(1.0, abs(right), float(np.abs(row) @ size))
        on = region.corners[near]
        if not len(on):
            continue
        middle = on.mean(axis=0)
        places = np.vstack([middle, middle + 0.98 * (on[: 2 * len(size)] - middle)])
        points.extend(places + STEP * outward)
    return points
