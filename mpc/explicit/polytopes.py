"""Bounded polytopes, represented by both vertices and rows, with cuts and set differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

__all__ = ["TOLERANCE", "Polytope"]

TOLERANCE = 1e-13  # distance at which a vertex lies on a row; coordinates are of the order of one


@final
@dataclass(frozen=True, eq=False)
class Polytope:
    """The hull of ``vertices``, which is {x: H x <= h} up to ``TOLERANCE``; it has an interior.

    Cut by the double description method (Motzkin, Raiffa, Thompson & Thrall, 1953): new vertices lie on edges, so they
    are convex combinations of old ones, and thin polytopes are as accurate as thick ones.

    Args:
        H: (rows, n), of length 1 at most.
        h: (rows,).
        vertices: (k, n).
        on: (k, rows) of bool, which rows each vertex lies on.
    """

    H: np.ndarray
    h: np.ndarray
    vertices: np.ndarray
    on: np.ndarray

    @staticmethod
    def cube(n: int) -> Polytope:
        """|x_i| <= 1."""
        vertices = np.array(np.meshgrid(*[[-1.0, 1.0]] * n, indexing="ij")).reshape(n, -1).T
        on = np.hstack([vertices > 0, vertices < 0])
        return Polytope(np.vstack([np.eye(n), -np.eye(n)]), np.ones(2 * n), vertices, on)

    @property
    def middle(self) -> np.ndarray:
        """Mean (n,) of the vertices, which lies inside."""
        return np.asarray(self.vertices.mean(axis=0))

    @property
    def depth(self) -> float:
        """Distance of the middle from the nearest row that a vertex lies on; infinite for a point in no dimension."""
        length = np.linalg.norm(self.H, axis=1)
        touches = self.on.any(axis=0) & (length > 0)
        slack = self.h - self.H @ self.middle
        return float((slack[touches] / length[touches]).min(initial=np.inf))

    @property
    def is_facet(self) -> np.ndarray:
        """Mask (rows,), whether the vertices on a row span a facet."""
        n = self.H.shape[1]
        spans_facet = np.zeros(len(self.h), dtype=bool)
        for i in range(len(self.h)):
            there = self.vertices[self.on[:, i]]
            if len(there) >= n:
                spread = np.linalg.svd(there - there.mean(axis=0), compute_uv=False) if n > 1 else np.zeros(1)
                spans_facet[i] = n <= 1 or spread[n - 2] > TOLERANCE
        return spans_facet

    def cut(self, row: np.ndarray, right: float) -> Polytope | None:
        """The part with row'x <= right, None where that has no interior.

        Args:
            row: (n,), of length 1 at most.
        """
        n = len(row)
        beyond = self.vertices @ row - right
        inside, outside = np.flatnonzero(beyond < -TOLERANCE), np.flatnonzero(beyond > TOLERANCE)
        if not len(outside):
            return self
        if not len(inside):
            return None
        numbers = self.on.astype(float)
        count = numbers[inside] @ numbers[outside].T
        a, b = np.nonzero(count > n - 1.5)
        shared = self.on[inside[a]] & self.on[outside[b]]
        # Two vertices are joined by an edge where no third one lies on all the rows that both lie on.
        holds = numbers @ shared.T.astype(float) > count[a, b] - 0.5
        is_edge = holds.sum(axis=0) == 2
        a, b, shared = a[is_edge], b[is_edge], shared[is_edge]
        near, far = inside[a], outside[b]
        share = (beyond[near] / (beyond[near] - beyond[far]))[:, None]
        new = self.vertices[near] + share * (self.vertices[far] - self.vertices[near])
        within = beyond <= TOLERANCE
        on = np.vstack([self.on[within], shared])
        at_row = np.append(beyond[within] >= -TOLERANCE, np.ones(len(new), dtype=bool))
        on = np.column_stack([on, at_row])
        stays = on.sum(axis=0) >= n
        return Polytope(
            np.vstack([self.H, row])[stays],
            np.append(self.h, right)[stays],
            np.vstack([self.vertices[within], new]),
            on[:, stays],
        )

    def within(self, H: np.ndarray, h: np.ndarray) -> Polytope | None:
        """The part with H x <= h, the deepest cuts first; None where that has no interior."""
        part: Polytope | None = self
        waiting = np.ones(len(h), dtype=bool)
        while part is not None and waiting.any():
            beyond = np.where(waiting, (part.vertices @ H.T - h).max(axis=0), -np.inf)
            i = int(beyond.argmax())
            if beyond[i] <= TOLERANCE:
                break
            part, waiting[i] = part.cut(H[i], h[i]), False
        return part

    def facet(self, i: int) -> tuple[Polytope, np.ndarray, np.ndarray]:
        """Facet ``i`` in coordinates of its own, x = origin + basis y: itself, origin (n,), basis (n, n - 1)."""
        there = self.on[:, i]
        on = self.on[there]
        others = np.flatnonzero(on.any(axis=0))
        others = others[others != i]
        row = self.H[i] / np.linalg.norm(self.H[i])
        basis = np.linalg.qr(np.column_stack([row, np.eye(len(row))]))[0][:, 1:]
        origin = self.vertices[there].mean(axis=0)
        flat = Polytope(
            self.H[others] @ basis,
            self.h[others] - self.H[others] @ origin,
            (self.vertices[there] - origin) @ basis,
            on[:, others],
        )
        return flat, origin, basis

    def minus(self, H: np.ndarray, h: np.ndarray) -> list[Polytope]:
        """The set difference with {x: H x <= h}, as parts that do not overlap."""
        if (self.vertices @ H.T <= h + TOLERANCE).all():
            return []
        if (self.vertices @ H.T >= h - TOLERANCE).all(axis=0).any():
            return [self]
        parts: list[Polytope] = []
        rest = self
        for row, right in zip(H, h, strict=True):
            outside, inside = rest.cut(-row, -right), rest.cut(row, right)
            if outside is not None:
                parts.append(outside)
            if inside is None:
                break
            rest = inside
        return parts
