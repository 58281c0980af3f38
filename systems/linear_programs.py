"""Linear programs with checked solutions, used throughout the toolbox.

A solver may be wrong: HiGHS' presolve, for example, reports some unbounded problems as infeasible. No status is
therefore relied upon. Multipliers prove an optimum, a Farkas certificate an empty set, a ray and a point an unbounded
problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from systems.errors import DimensionMismatch, InvalidValue

__all__ = ["LPOutcome", "Maximum", "feasible_point", "largest_value", "maximise"]


class LPOutcome(StrEnum):
    """The status of a linear program: bounded, unbounded, empty or unknown."""

    BOUNDED = "bounded"
    UNBOUNDED = "unbounded"
    EMPTY = "empty"
    UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class Maximum:
    """max c'x subject to H x <= h, as far as it was shown.

    Args:
        outcome: see :class:`LPOutcome`.
        value: no feasible x has a larger c'x: h'y of the multipliers where bounded; infinite where unbounded or
            unknown; -infinite where there is no feasible x.
        point: (n,), feasible; a maximiser where bounded. None where empty or unknown.
        multipliers: (rows,), y >= 0. Where bounded H'y = c and h'y = value; where empty H'y = 0 and h'y < 0 (Farkas).
            None otherwise.
        ray: (n,), H ray <= 0 and c'ray > 0 where unbounded. None otherwise.
    """

    outcome: LPOutcome
    value: float
    point: np.ndarray | None = None
    multipliers: np.ndarray | None = None
    ray: np.ndarray | None = None

    def scaled(self, row: np.ndarray, column: np.ndarray) -> Maximum:
        """The same in x / column and multipliers / row."""
        point, ray = (None if part is None else part * column for part in (self.point, self.ray))
        multipliers = None if self.multipliers is None else self.multipliers * row
        return Maximum(self.outcome, self.value, point, multipliers, ray)


UNKNOWN = Maximum(LPOutcome.UNKNOWN, np.inf)
ROUNDING = 1e-12  # what may be left of a sum that should be zero, relative to the sum of the sizes of its terms
FEASIBLE = 1e-9  # by which a point may break a row, relative to the terms of that row

Answer = tuple[int, np.ndarray, np.ndarray]
Solver = Callable[[np.ndarray, np.ndarray, np.ndarray], Answer]


def maximise(c: np.ndarray, H: np.ndarray, h: np.ndarray) -> Maximum:
    """The largest c'x over {x: H x <= h}.

    Solved by our own simplex method, which is fast for few variables; if its solution does not pass the check, by HiGHS
    without presolve. If neither solution passes, the outcome is ``unknown``.

    Args:
        c: (n,), finite. H: (rows, n), finite. h: (rows,); an infinite entry is not a condition, and must be positive.

    Raises:
        DimensionMismatch, InvalidValue: data of other shapes, or not finite.
    """
    c, H, h = np.asarray(c, dtype=float), np.ascontiguousarray(H, dtype=float), np.asarray(h, dtype=float)
    if H.ndim != 2 or c.shape != H.shape[1:] or h.shape != H.shape[:1]:
        raise DimensionMismatch(f"c {c.shape}, H {H.shape}, h {h.shape}; expected (n,), (rows, n), (rows,)")
    if not (np.isfinite(c).all() and np.isfinite(H).all() and (h > -np.inf).all()):
        raise InvalidValue("c and H must be finite, h finite or +infinite")
    finite = np.isfinite(h)
    if not finite.all():
        maximum = maximise(c, H[finite], h[finite])
        if maximum.multipliers is None:
            return maximum
        multipliers = np.zeros(len(h))
        multipliers[finite] = maximum.multipliers
        return Maximum(maximum.outcome, maximum.value, maximum.point, multipliers)
    from systems.simplex import scales  # numba is slow to import

    row, column = scales(H)
    c, H, h = c * column, H * row[:, None] * column, h * row
    for solver in (_simplex, _highs):
        maximum = _shown(solver, c, H, h)
        if maximum.outcome is not LPOutcome.UNKNOWN:
            return maximum.scaled(row, column)
    return UNKNOWN


def largest_value(c: np.ndarray, H: np.ndarray, h: np.ndarray) -> float:
    """The value of :func:`maximise` alone, in less time; for finite h.

    Args:
        c: (n,), finite. H: (rows, n), finite. h: (rows,), finite.
    """
    from systems.simplex import bound  # numba is slow to import

    value = float(bound(np.ascontiguousarray(c), np.ascontiguousarray(H), h, ROUNDING, FEASIBLE))
    return maximise(c, H, h).value if math.isnan(value) else value


def feasible_point(H: np.ndarray, h: np.ndarray) -> Maximum:
    """Some point of {x: H x <= h}, or the certificate that there is none."""
    H = np.asarray(H, dtype=float)
    return maximise(_bounded_form(H), H, h)


def _bounded_form(H: np.ndarray) -> np.ndarray:
    """A c with c'x bounded wherever H x <= h: any nonnegative sum of rows."""
    weights = np.random.default_rng(0).uniform(0.5, 1.0, len(H))
    return np.asarray((weights / np.maximum(np.abs(H).max(axis=1, initial=0.0), 1e-300)) @ H)


def _shown(solver: Solver, c: np.ndarray, H: np.ndarray, h: np.ndarray) -> Maximum:
    """What a solver's answer shows; the entries of H are of similar size."""

    from systems.simplex import BOUNDED, EMPTY, UNBOUNDED

    status, x, y = solver(c, H, h)
    if status == BOUNDED:
        return _bounded(c, H, h, x, y)
    if status == EMPTY:
        return _empty(H, h, y)
    if status == UNBOUNDED and _is_ray(c, H, x):
        status, point, y = solver(_bounded_form(H), H, h)
        if status == EMPTY:
            return _empty(H, h, y)
        if status == BOUNDED and _is_feasible(H, h, point):
            return Maximum(LPOutcome.UNBOUNDED, np.inf, point, ray=x)
    return UNKNOWN


def _largest(v: np.ndarray) -> float:
    return float(np.abs(v).max(initial=0.0))


def _is_feasible(H: np.ndarray, h: np.ndarray, x: np.ndarray) -> bool:
    allowed = FEASIBLE * (np.abs(H) @ np.abs(x) + np.abs(h)) + ROUNDING * _largest(x)
    return bool((H @ x - h <= allowed).all())


def _bounded(c: np.ndarray, H: np.ndarray, h: np.ndarray, x: np.ndarray, y: np.ndarray) -> Maximum:
    """Weak duality: c'x = y'H x + (c - H'y)'x <= h'y + |c - H'y|'|x| for every feasible x."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return UNKNOWN
    y = np.maximum(y, 0.0)
    left = np.abs(c - y @ H)
    if not _largest(left) <= ROUNDING * (_largest(c) + _largest(y @ np.abs(H))) or not _is_feasible(H, h, x):
        return UNKNOWN
    value = float(h @ y + left @ np.abs(x))
    if value - c @ x > FEASIBLE * (np.abs(h) @ y + np.abs(c) @ np.abs(x)) + ROUNDING * _largest(x) * _largest(c):
        return UNKNOWN
    return Maximum(LPOutcome.BOUNDED, value, x, y)


def _empty(H: np.ndarray, h: np.ndarray, y: np.ndarray) -> Maximum:
    """Farkas: 0 = y'H x <= y'h < 0 for no x, and with what rounding leaves of y'H, for none of less than 1e6 |h|."""
    if not np.isfinite(y).all():
        return UNKNOWN
    y = np.maximum(y, 0.0)
    left = np.abs(y @ H)
    if not h @ y < -1e6 * _largest(h) * left.sum() - ROUNDING * (np.abs(h) @ y):
        return UNKNOWN
    return Maximum(LPOutcome.EMPTY, -np.inf, multipliers=y)


def _is_ray(c: np.ndarray, H: np.ndarray, d: np.ndarray) -> bool:
    goes = np.isfinite(d).all() and (H @ d <= ROUNDING * _largest(d)).all()
    return bool(goes and c @ d > FEASIBLE * _largest(c) * _largest(d))


def _simplex(c: np.ndarray, H: np.ndarray, h: np.ndarray) -> Answer:
    from systems.simplex import simplex

    status, x, y = simplex(H, h, c)
    return int(status), x, y


def _highs(c: np.ndarray, H: np.ndarray, h: np.ndarray) -> Answer:
    """The same answer from HiGHS, which hands out no certificates: they are optima of further problems."""
    from scipy.optimize import linprog  # slow to import

    from systems.simplex import BOUNDED, EMPTY, STOPPED, UNBOUNDED

    n, nothing = len(c), (STOPPED, np.zeros(len(c)), np.zeros(len(h)))
    if not len(h):
        return (UNBOUNDED, c, nothing[2]) if c.any() else (BOUNDED, *nothing[1:])

    def solve(cost: np.ndarray, A: np.ndarray, b: np.ndarray, least: float | None) -> Answer | None:
        # HiGHS works to absolute tolerances.
        length = np.maximum(np.abs(A).max(axis=1), 1e-300)
        result = linprog(
            cost, A / length[:, None], b / length, bounds=[(None, None)] * n + [(least, None)] * (len(cost) - n),
            method="highs", options={"presolve": False, "primal_feasibility_tolerance": 1e-10,
                                     "dual_feasibility_tolerance": 1e-10},
        )  # fmt: skip
        return (BOUNDED, result.x, -result.ineqlin.marginals / length) if result.status == 0 else None

    result = solve(-c, H, h, None)
    if result is not None:
        return result
    # How far every row has to be relaxed: min t, H x - |H_i| t <= h, t >= 0.
    size = np.maximum(np.abs(H).max(axis=1), 1e-300)
    relaxed = solve(np.append(np.zeros(n), 1.0), np.column_stack([H, -size]), h, 0.0)
    if relaxed is None:
        return nothing
    if h @ relaxed[2] < 0:
        return EMPTY, relaxed[1][:n], relaxed[2]
    # The steepest ray: max c'd, H d <= 0, |d_i| <= 1.
    ray = solve(-c, np.vstack([H, np.eye(n), -np.eye(n)]), np.append(np.zeros(len(h)), np.ones(2 * n)), None)
    return nothing if ray is None else (UNBOUNDED, ray[1], nothing[2])
