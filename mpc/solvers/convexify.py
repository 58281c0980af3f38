"""Convexification of indefinite quadratic programs of optimal control, stage by stage, with the same solution.

Curvature is moved from each stage to the previous one, which has no effect where the dynamics hold, and added across
active constraints, which has no effect as long as they stay active (Verschueren, Zanon, Quirynen & Diehl 2017,
"A sparsity preserving convexification procedure for indefinite quadratic programs arising in direct optimal control").
Where the program is convex on what then remains free, as it is near a regular minimum, its solution is kept exactly.
Elsewhere eigenvalues are reflected, and its solution is a direction of descent.
"""

from __future__ import annotations

from typing import final

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtrs

from mpc.solvers.hpipm import HPIPM, StageData

__all__ = ["Active", "Convexification"]

_LEAST = 1e-8  # least eigenvalue that counts as curvature, relative to the largest
_ACROSS = 100.0  # curvature across active constraints, in units of the largest of the inputs


@final
class Active:
    """Constraints lower <= value <= upper of the stages before the last, (N, rows), and their multipliers."""

    def __init__(self, multiplier: np.ndarray, value: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        bound = np.where(multiplier > 0, upper, lower)
        self.distance = np.where(np.isfinite(bound), bound - value, 0.0)
        clear = 1e-3 * max(1.0, float(np.abs(multiplier).max(initial=0.0)))
        self.mask = (np.abs(multiplier) > clear) & (np.abs(self.distance) < 1e-3 * (1.0 + np.abs(value)))


@final
class Convexification:
    """Changes the Hessians, and with them the gradients, in the arrays of a QP.

    Args:
        qp: whose arrays.
    """

    def __init__(self, qp: HPIPM) -> None:
        self._qp = qp
        N, n = qp.sizes.horizon, qp.sizes.states
        self._moved = np.zeros((N, n, n))  # from stage k + 1 to stage k
        self._is_moved = False
        self._added: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

    def leave(self) -> None:
        """Leaves the Hessians unchanged."""
        self._is_moved = False

    def reflect(self) -> None:
        """Reflects the negative eigenvalues of the Hessian of each stage separately."""
        self._is_moved = False
        if not self._is_finite():
            return
        for part in (self._qp.stages, self._qp.last):
            values, vectors = np.linalg.eigh(_joined(part))
            _split((vectors * np.abs(values)[:, None, :]) @ vectors.transpose(0, 2, 1), part)

    def apply(self, inputs: Active, rows: Active) -> None:
        """Makes Hessians convex by the method described above.

        Args:
            inputs: their bounds.
            rows: the general constraints.
        """
        qp, last = self._qp, self._qp.last
        self._is_moved = False
        if not self._is_finite():
            return
        self._is_moved = True
        self._add_across(inputs, rows)
        N, n = qp.sizes.horizon, qp.sizes.states
        H, AB = _joined(qp.stages), np.concatenate([qp.A, qp.B], axis=1)  # A and B are stored transposed
        flat, added = _flat(qp.stages, qp.B), np.zeros((N, H.shape[1]))
        H_last, least = _joined(last), _LEAST * np.eye(n)
        moved = _move_back(H_last[0], _flat(last)[0], least)
        for k in range(N - 1, -1, -1):
            self._moved[k] = moved
            product = AB[k] @ moved
            H[k] += product @ AB[k].T
            added[k] = product @ qp.b[k]
            moved = _move_back(H[k], flat[k], least)
        _split(H_last, last)
        _split(H, qp.stages)
        qp.stages.q += added[:, :n]
        qp.stages.r += added[:, n:]

    def _is_finite(self) -> bool:
        qp, s, last = self._qp, self._qp.stages, self._qp.last
        return all(np.isfinite(a).all() for a in (s.Q, s.S, s.R, qp.A, qp.B, qp.b, last.Q, last.S, last.R))

    def correct(self) -> None:
        """Converts the multipliers of the modified program to those of the original one."""
        if not self._is_moved:
            return
        qp, s = self._qp, self._qp.stages
        qp.pi += np.einsum("kij,kj->ki", self._moved, np.vstack([s.x[1:], qp.last.x]))
        (across, to_bound), (along, to_row) = self._added
        s.lam_high += across * (s.u - to_bound)
        s.lam_upper += along * (np.einsum("kir,ki->kr", s.C, s.x) + np.einsum("kir,ki->kr", s.D, s.u) - to_row)

    def _add_across(self, inputs: Active, rows: Active) -> None:
        s = self._qp.stages
        rho = _ACROSS * max(1.0, float(np.abs(s.R).max()))
        across, along = rho * inputs.mask, rho * rows.mask
        self._added = (across, inputs.distance), (along, rows.distance)
        np.einsum("kii->ki", s.R)[:] += across
        s.r -= across * inputs.distance
        s.Q += np.einsum("kir,kr,kjr->kij", s.C, along, s.C)
        s.S += np.einsum("kir,kr,kjr->kij", s.C, along, s.D)
        s.R += np.einsum("kir,kr,kjr->kij", s.D, along, s.D)
        s.q -= np.einsum("kir,kr->ki", s.C, along * rows.distance)
        s.r -= np.einsum("kir,kr->ki", s.D, along * rows.distance)


def _joined(part: StageData) -> np.ndarray:
    """The Hessians over states and inputs, (K, n + m, n + m)."""
    K, n, m = part.S.shape
    H = np.empty((K, n + m, n + m))
    H[:, :n, :n], H[:, :n, n:], H[:, n:, n:] = part.Q, part.S, part.R
    H[:, n:, :n] = part.S.transpose(0, 2, 1)
    return H


def _split(H: np.ndarray, part: StageData) -> None:
    """Writes Hessians over states and inputs into the blocks of the QP."""
    n = part.Q.shape[1]
    part.Q[:], part.S[:], part.R[:] = H[:, :n, :n], H[:, :n, n:], H[:, n:, n:]


def _flat(part: StageData, B: np.ndarray | None = None) -> np.ndarray:
    """Diagonal matrices (K, m, m) with 1 for inputs without curvature or effect on the next state, such as violations
    of soft constraints, which enter linearly."""
    size = np.abs(part.R).sum(axis=2) + np.abs(part.S).sum(axis=1)
    if B is not None:
        size += np.abs(B).sum(axis=2)
    return np.asarray((size == 0.0)[:, :, None] * np.eye(size.shape[1]))


def _move_back(H: np.ndarray, flat: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Makes the Hessian H (n + m, n + m) of one stage convex, in place; returns the curvature (n, n) of its state that
    is moved to the stage before, all but ``least`` (n, n)."""
    n, kept = len(least), least
    if len(H) > n:
        factor, failed = dpotrf(H[n:, n:] + flat, lower=1)
        pivots = factor.diagonal().tolist()  # min and max of a few numbers are faster without numpy
        if failed or not min(pivots) ** 2 > _LEAST * max(pivots) ** 2:
            values, vectors = np.linalg.eigh(H)
            H[:] = (vectors * np.abs(values)) @ vectors.T
            return np.zeros((n, n))
        half = dtrtrs(factor, H[n:, :n], lower=1)[0]
        kept = half.T @ half + least
    moved = H[:n, :n] - kept
    H[:n, :n] = kept
    return moved
