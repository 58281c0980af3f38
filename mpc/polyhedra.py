"""Polyhedral sets of states: redundancy removal and maximal positively invariant sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from systems import DimensionMismatch, InvalidValue, TriviumError
from systems.linear_programs import LPOutcome, feasible_point, largest_value

__all__ = ["NoInvariantSet", "Polyhedron", "maximal_invariant_set"]


class NoInvariantSet(TriviumError, ValueError):
    """No invariant set exists, or none was found, for the reason given."""


@dataclass(frozen=True, eq=False)
class Polyhedron:
    """{x: H x <= h}, possibly unbounded or empty.

    Args:
        H: (rows, n).
        h: (rows,).
    """

    H: np.ndarray
    h: np.ndarray

    def __post_init__(self) -> None:
        H, h = np.asarray(self.H, dtype=float), np.asarray(self.h, dtype=float)
        if H.ndim != 2 or h.shape != (len(H),):
            raise DimensionMismatch(f"H {H.shape} and h {h.shape}; expected (rows, n) and (rows,)")
        if not np.isfinite(H).all() or not np.isfinite(h).all():
            raise InvalidValue("H and h must be finite; leave out rows without a finite bound")
        object.__setattr__(self, "H", H)
        object.__setattr__(self, "h", h)

    def contains(self, x: np.ndarray, tolerance: float = 0.0) -> np.ndarray:
        """Whether each of the points (..., n) lies inside, up to ``tolerance`` in h; (...,) of bool."""
        return np.asarray((x @ self.H.T <= self.h + tolerance).all(axis=-1))

    def support(self, direction: np.ndarray) -> float:
        """Upper bound of direction'x over the set; infinite if it is unbounded or not known to be bounded, -infinite if
        it is empty. See :func:`systems.linear_programs.maximise`."""
        return largest_value(direction, self.H, self.h)

    @property
    def is_empty(self) -> bool:
        """Whether the set was shown to be empty."""
        return feasible_point(self.H, self.h).outcome is LPOutcome.EMPTY

    def minimal(self, tolerance: float = 1e-9) -> Polyhedron:
        """The same set without the rows that follow from the others up to ``tolerance`` of h, each row tested by one
        linear program; one row 0 x <= -1 where the set is empty."""
        if self.is_empty:
            return Polyhedron(np.zeros((1, self.H.shape[1])), -np.ones(1))
        size = np.where(self.h == 0.0, np.abs(self.H).max(axis=1, initial=0.0), np.abs(self.h))
        keep = list(range(len(self.h)))
        for i in reversed(range(len(self.h))):
            others = [j for j in keep if j != i]
            # The row itself, relaxed, keeps the linear program bounded.
            relaxed = Polyhedron(self.H[[*others, i]], np.append(self.h[others], self.h[i] + size[i]))
            if relaxed.support(self.H[i]) <= self.h[i] + tolerance * size[i]:
                keep = others
        return Polyhedron(self.H[keep], self.h[keep])


def maximal_invariant_set(A: np.ndarray, admissible: Polyhedron, max_rows: int = 400) -> Polyhedron:
    """The largest set from which x+ = A x stays in ``admissible`` for all future time (Gilbert & Tan, 1991,
    algorithm 3.2).

    Args:
        A: (n, n), all eigenvalues inside the unit circle.
        admissible: contains the origin in its interior.
        max_rows: largest number of rows.

    Returns:
        The set, without redundant rows, each scaled to h = 1.

    Raises:
        NoInvariantSet: A is not stable, the origin is not in the interior, or the set needs more than ``max_rows``
            rows.
    """
    A = np.asarray(A, dtype=float)
    if A.shape != (admissible.H.shape[1],) * 2:
        raise DimensionMismatch(f"A has shape {A.shape}; expected ({admissible.H.shape[1]},) * 2")
    if np.abs(np.linalg.eigvals(A)).max(initial=0.0) >= 1:
        raise NoInvariantSet("the closed loop is not stable, so it has no maximal invariant set around the origin")
    if not (admissible.h > 0).all():
        raise NoInvariantSet("the origin is not in the interior of the constraints; move the reference away from them")
    first = admissible.H / admissible.h[:, None]
    ahead, rows = first, first
    limit = 1.0 + 1e-9
    while True:
        ahead = ahead @ A
        known = Polyhedron(rows, np.ones(len(rows)))
        new = [row for row in ahead if np.abs(row).max(initial=0.0) > 1e-14 and known.support(row) > limit]
        if not new:
            return known.minimal()
        rows = np.vstack([rows, new])
        if len(rows) > max_rows:
            raise NoInvariantSet(f"the maximal invariant set needs more than {max_rows} rows")
