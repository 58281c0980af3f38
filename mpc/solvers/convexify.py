"""Indefinite quadratic programs of optimal control made convex, stage by stage, with the same solution.

Curvature is moved from each stage to the one before, which changes nothing where the dynamics hold, and added across
constraints that are active, which changes nothing as long as they stay so (Verschueren, Zanon, Quirynen & Diehl 2017,
"A sparsity preserving convexification procedure for indefinite quadratic programs arising in direct optimal control").
Where the program is convex on what then remains free, as it is near a regular minimum, its solution is kept exactly.
Elsewhere eigenvalues are reflected, and its solution is a direction of descent.
"""

from __future__ import annotations

from typing import final

import numpy as np

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
        """Takes the Hessians as they are."""
        self._is_moved = False

    def reflect(self) -> None:
        """Reflects the negative eigenvalues of the Hessian of each stage separately."""
        self._is_moved = False
        if not self._is_finite():
            return
        for part in (self._qp.stages, self._qp.last):
            H, n = _joined(part), part.Q.shape[1]
            values, vectors = np.linalg.eigh(H)
            H = (vectors * np.abs(values)[:, None, :]) @ vectors.transpose(0, 2, 1)
            part.Q[:], part.S[:], part.R[:] = H[:, :n, :n], H[:, :n, n:], H[:, n:, n:]

    def apply(self, inputs: Active, rows: Active) -> None:
        """Makes Hessians convex by the method described above.

        Args:
            inputs: their bounds.
            rows: the general constraints.
        """
        qp = self._qp
        s, last, least = qp.stages, qp.last, _LEAST * np.eye(qp.sizes.states)
        self._is_moved = False
        if not self._is_finite():
            return
        self._is_moved = True
        self._add_across(inputs, rows)
        for k in range(qp.sizes.horizon, -1, -1):
            part, i = (last, 0) if k == qp.sizes.horizon else (s, k)
            Q, S, R = part.Q[i], part.S[i], part.R[i]
            if part is s:
                P = self._moved[k]
                AP, BP = qp.A[k] @ P, qp.B[k] @ P  # A and B are stored transposed
                Q += AP @ qp.A[k].T
                S += AP @ qp.B[k].T
                R += BP @ qp.B[k].T
                s.q[k] += AP @ qp.b[k]
                s.r[k] += BP @ qp.b[k]
            # Variables that enter linearly, such as violations of soft constraints, have no curvature.
            curved = np.flatnonzero(np.abs(R).sum(axis=1) + np.abs(S).sum(axis=0))
            values, vectors = np.linalg.eigh(R[np.ix_(curved, curved)])
            if len(curved) and not values[0] > _LEAST * values[-1]:
                _reflect(Q, S, R)
                if k:
                    self._moved[k - 1] = 0.0
            elif k:
                half = (S[:, curved] @ vectors) / np.sqrt(values)
                self._moved[k - 1] = Q - half @ half.T - least
                Q[:] = half @ half.T + least

    def _is_finite(self) -> bool:
        qp, s, last = self._qp, self._qp.stages, self._qp.last
        return all(np.isfinite(a).all() for a in (s.Q, s.S, s.R, qp.A, qp.B, qp.b, last.Q, last.S, last.R))

    def correct(self) -> None:
        """Turns the multipliers of the changed program into those of the given one."""
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
    return np.block([[part.Q, part.S], [part.S.transpose(0, 2, 1), part.R]])


def _reflect(Q: np.ndarray, S: np.ndarray, R: np.ndarray) -> None:
    """Replaces the eigenvalues of a Hessian by their absolute values, in its blocks."""
    values, vectors = np.linalg.eigh(np.block([[Q, S], [S.T, R]]))
    H = (vectors * np.abs(values)) @ vectors.T
    n = len(Q)
    Q[:], S[:], R[:] = H[:n, :n], H[:n, n:], H[n:, n:]
