"""Critical regions: where one set of rows is active at the optimum of a quadratic program, and the solution there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mpc.explicit.polytopes import Polytope
from mpc.polyhedra import Polyhedron
from systems.linear_programs import maximise

__all__ = ["ActiveSet", "MultiparametricQP", "Parametric", "Region"]

Status = Literal["active", "violated"]
ActiveSet = frozenset[tuple[int, Status]]

DEPENDENT = 1e-9  # sine of the angle between a row and the span of others at which it counts as one of them
NOISE = 1e-11  # relative size of a coefficient, to the terms it is the sum of, that counts as rounding
FLAT = 1e-11  # depth of a region, in a box |x_i| <= 1, below which it counts as without interior
VIOLATED = 1e-13  # by which a row is violated, relative to the terms of its slack


@dataclass(frozen=True, eq=False)
class MultiparametricQP:
    """min z'Hz/2 + (f + F x)'z + sum_i weight_i max(0, a_i'z - b_i - s_i'x), an infinite weight making row i hard.

    Args:
        H: (d, d), positive definite.
        f: (d,).
        F: (d, n).
        A: (rows, d).
        b: (rows,).
        S: (rows, n).
        weight: (rows,).
        box: lower and upper bounds (n,) of the parameters x, finite.
    """

    H: np.ndarray
    f: np.ndarray
    F: np.ndarray
    A: np.ndarray
    b: np.ndarray
    S: np.ndarray
    weight: np.ndarray
    box: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Region:
    """The region in which one set of rows is active, and the solution there, z = K x + k.

    Args:
        rows: the active set: indices of the rows that hold with equality (``active``) and of the soft rows that are
            violated at the optimum (``violated``); the others hold with room to spare.
        K: (d, n).
        k: (d,).
        set: in units of x, without redundant rows, each of length 1.
        corners: (c, n).
        middle: (n,), a point inside.
        shape: the same set where the box of the parameters is |x_i| <= 1.
    """

    rows: ActiveSet
    K: np.ndarray
    k: np.ndarray
    set: Polyhedron
    corners: np.ndarray
    middle: np.ndarray
    shape: Polytope


class Parametric:
    """A multi-parametric quadratic program as a least-distance problem, with parameters and rows of size one.

    In y = L'z, H = L L', the optimum is y = free(x) - U'l with multipliers 0 <= l <= weight, and the slacks are
    A z - b - S x = v(x) - U U'l. The rows of U have length 1, x is scaled so that its box is |x_i| <= 1, and all is
    affine in (x, 1).

    Rows of A that are zero cannot be met by any z: hard ones bound the parameters, soft ones cost what they cost.

    Args:
        problem: in the units of its user.

    Attributes:
        domain: the parameters within the box that no hard row excludes of itself; None where there are none.
    """

    def __init__(self, problem: MultiparametricQP) -> None:
        lower, upper = problem.box
        self.middle, self.half = 0.5 * (upper + lower), 0.5 * (upper - lower)
        self._root = np.linalg.cholesky(problem.H)
        U = np.linalg.solve(self._root, problem.A.T).T
        length = np.linalg.norm(U, axis=1)
        in_z = length > 1e-12 * length.max(initial=0.0)
        self._names = np.flatnonzero(in_z)  # of the rows of the problem
        length = length[in_z]
        self.U = U[in_z] / length[:, None]
        self.limit = self._in_box(problem.S, problem.b)[in_z] / length[:, None]  # (rows, n + 1)
        self.free = -np.linalg.solve(self._root, self._in_box(problem.F, problem.f))  # (d, n + 1)
        self.v = self.U @ self.free - self.limit
        self.weight = problem.weight[in_z] * length
        self.hard = np.isinf(self.weight)
        alone = ~in_z & np.isinf(problem.weight)
        bounds = self._in_box(problem.S, problem.b)[alone]
        self.domain = self.part_of(Polytope.cube(len(lower)), bounds, np.abs(bounds).sum(axis=1))

    def _in_box(self, matrix: np.ndarray, constant: np.ndarray) -> np.ndarray:
        return np.column_stack([matrix * self.half, constant + matrix @ self.middle])

    @staticmethod
    def part_of(shape: Polytope, conditions: np.ndarray, sizes: np.ndarray) -> Polytope | None:
        """The part where conditions (k, n + 1) (x, 1) >= 0; those that are zero up to rounding hold.

        Args:
            sizes: (k,), of the terms that each condition is a sum of.
        """
        length = np.linalg.norm(conditions[:, :-1], axis=1)
        constant = length <= NOISE * sizes
        if (conditions[constant, -1] < -1e3 * NOISE * sizes[constant]).any():
            return None
        rows = conditions[~constant] / length[~constant, None]
        return shape.within(-rows[:, :-1], rows[:, -1])

    def active_set(self, x: np.ndarray) -> ActiveSet | None:
        """The rows active and violated at the optimum for x (n,), None where nothing is feasible.

        By a dual active-set method (Goldfarb & Idnani, 1983) in which a soft row's multiplier ends at its weight.
        Active rows are independent; should several sets describe the optimum, it is one of them.
        """
        v = self.v @ np.append(x, 1.0)
        size = np.abs(self.v) @ np.append(np.abs(x), 1.0)
        multipliers = np.zeros(len(v))
        active: list[int] = []
        for _ in range(50 * (len(v) + 10)):
            slack = v - self.U @ (multipliers @ self.U)
            full = multipliers >= self.weight
            beyond = np.where(full, -slack, slack) / np.maximum(size + multipliers.sum(), 1e-300)
            beyond[active] = -np.inf
            i = int(beyond.argmax()) if len(v) else -1
            if i < 0 or beyond[i] <= VIOLATED:
                return frozenset(
                    [(int(j), "active") for j in active]
                    + [(int(j), "violated") for j in np.flatnonzero(full) if j not in active]
                )
            if not self._bring_in(i, -1.0 if full[i] else 1.0, v, multipliers, active):
                return None
        return None

    def _bring_in(self, i: int, sign: float, v: np.ndarray, multipliers: np.ndarray, active: list[int]) -> bool:
        """Changes the multiplier of row i, in the direction of sign, until the row holds or reaches its other bound;
        rows whose multipliers reach a bound on the way leave. False where no multiplier stops it."""
        for _ in range(len(v) + 1):
            Q, R = np.linalg.qr(self.U[active].T)
            along = Q.T @ self.U[i]
            across = self.U[i] - Q @ along
            across -= Q @ (Q.T @ across)
            change = -sign * np.linalg.solve(R, along)
            sine = float(np.linalg.norm(across)) if len(active) < self.U.shape[1] else 0.0
            slack = v[i] - self.U[i] @ (multipliers @ self.U)
            step = max(sign * slack, 0.0) / sine**2 if sine > DEPENDENT else np.inf
            own = self.weight[i] - multipliers[i] if sign > 0 else multipliers[i]
            current = multipliers[active]
            with np.errstate(divide="ignore", invalid="ignore"):
                until = np.where(change > 0.0, self.weight[active] - current, -current) / change
            until[np.abs(change) <= 1e-12 * np.abs(change).max(initial=0.0)] = np.inf
            least = float(until.min(initial=np.inf))
            step = min(step, own, least)
            if np.isinf(step):
                return False
            multipliers[active] += step * change
            multipliers[i] += sign * step
            if step == least:
                j = active.pop(int(until.argmin()))
                multipliers[j] = self.weight[j] if change[int(until.argmin())] > 0 else 0.0
                continue
            if step == own:
                multipliers[i] = self.weight[i] if sign > 0 else 0.0
            else:
                active.append(i)
            return True
        return False

    def region(self, rows: ActiveSet) -> Region | None:
        """The region in which these rows are active and violated at the optimum; None if it has no interior."""
        if self.domain is None:
            return None
        active = np.array(sorted(i for i, status in rows if status == "active"), dtype=int)
        violated = np.array(sorted(i for i, status in rows if status == "violated"), dtype=int)
        n = len(self.middle)
        given = self.weight[violated] @ self.U[violated]
        Q, R = np.linalg.qr(self.U[active].T)
        right = self.v[active].copy()
        right[:, n] -= self.U[active] @ given
        right = np.linalg.solve(R.T, right)
        multipliers, force = np.linalg.solve(R, right), Q @ right  # force = U'l
        force[:, n] += given
        slack = self.v - self.U @ force
        size = np.abs(self.v).sum(axis=1) + np.abs(multipliers).sum() + self.weight[violated].sum()
        inactive = np.setdiff1d(np.arange(len(self.v)), np.concatenate([active, violated]))
        soft = np.flatnonzero(~self.hard[active])
        room = -multipliers[soft]
        room[:, n] += self.weight[active[soft]]
        scale = np.abs(multipliers).sum(axis=1) + 1e-3 * np.abs(multipliers).sum(initial=0.0)
        shape = self.part_of(
            self.domain,
            np.vstack([-slack[inactive], slack[violated], multipliers, room]),
            np.concatenate([size[inactive], size[violated], scale, scale[soft] + self.weight[active[soft]]]),
        )
        if shape is None or shape.depth <= FLAT:
            return None
        solution = np.linalg.solve(self._root.T, self.free - force)
        K = solution[:, :n] / self.half
        facets = shape.is_facet
        H = shape.H[facets] / self.half
        h = shape.h[facets] + H @ self.middle
        length = np.linalg.norm(H, axis=1)
        return Region(
            frozenset((int(self._names[i]), status) for i, status in rows),
            K,
            solution[:, n] - K @ self.middle,
            Polyhedron(H / length[:, None], h / length),
            self.middle + shape.vertices * self.half,
            self.middle + shape.middle * self.half,
            shape,
        )

    def farthest(self, direction: np.ndarray) -> np.ndarray | None:
        """The feasible parameter (n,) that lies farthest along ``direction``; None where there is none."""
        assert self.domain is not None
        n, d = len(direction), self.U.shape[1]
        limit = self.limit[self.hard]
        H = np.vstack(
            [
                np.hstack([-limit[:, :n], self.U[self.hard]]),
                np.hstack([self.domain.H, np.zeros((len(self.domain.h), d))]),
            ]
        )
        point = maximise(np.append(direction, np.zeros(d)), H, np.append(limit[:, n], self.domain.h)).point
        return None if point is None else point[:n]

    def reach(self, x: np.ndarray, direction: np.ndarray, most: float) -> float:
        """Upper bound, at most ``most``, of the distance from x (n,) along ``direction`` over which the hard rows are
        feasible."""
        n, d = len(x), self.U.shape[1]
        limit = self.limit[self.hard]
        c = np.append(np.zeros(d), 1.0)
        along = np.column_stack([self.U[self.hard], -limit[:, :n] @ direction])
        H = np.vstack([along, c, -c])
        return maximise(c, H, np.concatenate([limit[:, :n] @ x + limit[:, n], [most, most]])).value
