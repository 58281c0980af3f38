"""The cone program of one sample: a plan with feedback on the agents' deviations, under chance constraints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import scipy.sparse as sp

from mpc.reduction.model import MultiModalModel
from mpc.reduction.responses import Responses

__all__ = ["Cones", "SampleProgram"]


@dataclass(frozen=True, eq=False)
class Cones:
    """right - matrix z in second-order cones, one after the other.

    Args:
        matrix: (rows, d), sparse. right: (rows,). sizes: of the cones.
    """

    matrix: sp.csr_matrix
    right: np.ndarray
    sizes: list[int]


class SampleProgram:
    """min z' P z / 2 + q' z  subject to  C z <= d  and the cones of all chance constraints.

    z = (h, gains): the inputs are u_t = h_t + sum over agents k of K_t,k,mode (deviation of k's state from the mean of
    its mode), with the same h for all modes. The objective is the expected cost without its part that no decision
    changes. A cone belongs to a row of the chance constraints, a joint mode, and a sample; the cones are numbered in
    this order, with samples 1 .. N.

    Args:
        model, responses: of the task.
        x: (n,), measured state.
        probabilities: by agent, of its modes; a mode with probability 0 is left out.
        gradients: (N + 1, n_e + m), of the stage cost at zero; the last without its input.
        around: (N + 1, n_e), ego's states at which the keep-out sets are linearised.
        penalty: per unit by which the chance constraints of a row and a sample may be violated, further variables at
            the end of z; default: they must not be violated.

    Attributes:
        joint: (joint modes, agents), which modes of the agents each of them has.
        kept: (cones,), whether a cone belongs to a joint mode that is not left out.
    """

    def __init__(
        self,
        model: MultiModalModel,
        responses: Responses,
        x: np.ndarray,
        probabilities: tuple[np.ndarray, ...],
        gradients: np.ndarray,
        around: np.ndarray,
        penalty: float = np.inf,
    ) -> None:
        self.model, self.responses, self._x = model, responses, x
        self.horizon = len(responses.G) - 1
        self.joint = np.array(list(product(*(range(len(p)) for p in probabilities))), dtype=int)
        alive = [p > 0 for p in probabilities]
        self._alive = np.array([all(alive[k][j] for k, j in enumerate(row)) for row in self.joint])
        self.kept = np.broadcast_to(
            self._alive[None, :, None], (len(model.keep_out), len(self.joint), self.horizon)
        ).ravel()
        self._place: dict[tuple[int, int], slice] = {}
        size = responses.G.shape[2]
        blocks: list[np.ndarray] = []
        for k, p in enumerate(probabilities):
            for j in np.flatnonzero(p > 0):
                S = responses.modes[k][j].S
                self._place[k, int(j)] = slice(size, size + len(S))
                size += len(S)
                blocks.append(p[j] * S)
        self._slacks = len(model.keep_out) * self.horizon if np.isfinite(penalty) else 0
        self._first_slack, self.size = size, size + self._slacks
        x_e = x[model.ego]
        self.free = responses.powers @ x_e + responses.drift
        self._set_cost(gradients, blocks, penalty)
        self._set_rows()
        self._set_half_spaces(around)

    def _set_cost(self, gradients: np.ndarray, blocks: list[np.ndarray], penalty: float) -> None:
        N, G, H = self.horizon, self.responses.G, self.model.cost.H
        n, m = self.model.B.shape
        z = np.zeros((N + 1, n + m, N * m))
        z[:, :n] = G
        for t in range(N):
            z[t, n:, t * m : (t + 1) * m] = np.eye(m)
        free = np.hstack([self.free, np.zeros((N + 1, m))])
        P = np.einsum("taf,ab,tbg->fg", z, H, z, optimize=True)
        q = np.einsum("taf,ta->f", z, free @ H + gradients)
        parts = [0.5 * (block + block.T) for block in (P, *blocks)]
        self.P = sp.block_diag([*parts, sp.csc_matrix((self._slacks, self._slacks))], format="csc")
        self.q = np.concatenate([q, np.zeros(self._first_slack - len(q)), np.full(self._slacks, penalty)])

    def _set_rows(self) -> None:
        N, G = self.horizon, self.responses.G
        n, m = self.model.B.shape
        C, d = self.model.C, self.model.d
        on_input = C[:, n:].any(axis=1)
        rows, right = [], []
        for t in range(N + 1):
            chosen = (t < N) & on_input | (t > 0) & ~on_input
            row = C[chosen, :n] @ G[t]
            if t < N:
                row[:, t * m : (t + 1) * m] += C[chosen, n:]
            rows.append(row)
            right.append(d[chosen] - C[chosen, :n] @ self.free[t])
        stacked = np.vstack(rows)
        filled = sp.hstack([sp.csr_matrix(stacked), sp.csr_matrix((len(stacked), self.size - stacked.shape[1]))])
        slack = sp.hstack([sp.csr_matrix((self._slacks, self._first_slack)), -sp.identity(self._slacks)])
        self.C = sp.vstack([filled, slack], format="csr") if self._slacks else filled.tocsr()
        self.d = np.concatenate([*right, np.zeros(self._slacks)])

    def _set_half_spaces(self, around: np.ndarray) -> None:
        """normals (rows, joint, N, n) and offsets (rows, joint, N) at samples 1 .. N: the mean state must have
        normal'x - offset >= quantile (standard deviation of normal'x)."""
        model, N = self.model, self.horizon
        mean = np.zeros((len(self.joint), N + 1, len(self._x)))
        mean[..., model.ego] = around
        self.means: list[list[np.ndarray]] = []
        for k, (where, modes) in enumerate(zip(model.agents, model.modes, strict=True)):
            paths = np.empty((len(modes), N + 1, len(where)))
            paths[:, 0] = self._x[where]
            for j, mode in enumerate(modes):
                for t in range(N):
                    paths[j, t + 1] = mode.A @ paths[j, t] + mode.c
            mean[..., where] = paths[self.joint[:, k]]
            self.means.append(list(paths))
        behind = np.zeros(len(self._x))
        behind[model.ego] = around[0] - around[-1] if np.any(around[0] != around[-1]) else -1.0
        normals, offsets = zip(*(row.half_spaces(mean[:, 1:], behind) for row in model.keep_out), strict=True)
        self.normals, self._offsets = np.array(normals), np.array(offsets)
        mean[..., model.ego] = self.free  # without inputs; the response to h is added where it is needed
        self._clear = np.einsum("ijtn,jtn->ijt", self.normals, mean[:, 1:]) - self._offsets
        self._quantiles = np.array([row.quantile for row in model.keep_out])

    @cached_property
    def every(self) -> np.ndarray:
        """Numbers of the cones of all joint modes that are not left out."""
        return np.flatnonzero(self.kept)

    def cones(self, numbers: np.ndarray) -> Cones:
        """Some of the cones.

        Args:
            numbers: of them.
        """
        N, G, model = self.horizon, self.responses.G, self.model
        h = G.shape[2]
        of_row, of_joint, of_t = np.unravel_index(numbers, self._clear.shape)
        rows: list[np.ndarray] = []
        columns: list[np.ndarray] = []
        values: list[np.ndarray] = []
        right: list[np.ndarray] = []
        sizes: list[int] = []
        begin = 0
        for i, j, s in zip(of_row.tolist(), of_joint.tolist(), of_t.tolist(), strict=True):
            t, normal, quantile = s + 1, self.normals[i, j, s], self._quantiles[i]
            along = normal[model.ego]
            filled = (s + 1) * h // N  # inputs after t do not change the state at t
            rows.append(np.full(filled, begin))
            columns.append(np.arange(filled))
            values.append(-(along @ G[t])[:filled])
            right.append(self._clear[i, j, s : s + 1])
            if self._slacks:
                rows.append(np.array([begin]))
                columns.append(np.array([self._first_slack + i * N + s]))
                values.append(np.array([-1.0]))
            size = 1
            for k, where in enumerate(model.agents):
                mode = int(self.joint[j, k])
                response = self.responses.modes[k][mode]
                noises = t * (response.F.shape[2] // N)
                at, gains, slopes = response.entries[t]
                rows.append(begin + size + at)
                columns.append(self._place[k, mode].start + gains)
                values.append(-quantile * (along @ slopes))
                right.append(quantile * (normal[where] @ response.F[t])[:noises])
                size += noises
            sizes.append(size)
            begin += size
        entries = [np.concatenate(part) if part else np.zeros(0) for part in (values, rows, columns, right)]
        matrix = sp.csr_matrix((entries[0], (entries[1].astype(int), entries[2].astype(int))), shape=(begin, self.size))
        return Cones(matrix, entries[3], sizes)

    def violations(self, z: np.ndarray) -> np.ndarray:
        """By how much z (d,) violates each cone, (cones,), negative inside; -inf for those left out."""
        model, N = self.model, self.horizon
        h, ego = z[: self.responses.G.shape[2]], self.normals[..., model.ego]
        moved = (self.responses.G @ h)[1:]
        clear = self._clear + np.einsum("ijtn,tn->ijt", ego, moved)
        variance = np.zeros_like(clear)
        for k, where in enumerate(model.agents):
            normal = self.normals[..., where]
            for mode in range(len(model.modes[k])):
                if (k, mode) not in self._place:
                    continue
                at = np.flatnonzero(self.joint[:, k] == mode)
                response = self.responses.modes[k][mode]
                follow = (response.R @ z[self._place[k, mode]])[1:]
                deviation = np.einsum("ijtn,tnw->ijtw", ego[:, at], follow)
                deviation += np.einsum("ijtn,tnw->ijtw", normal[:, at], response.F[1:])
                variance[:, at] += np.einsum("ijtw,ijtw->ijt", deviation, deviation)
        worst = self._quantiles[:, None, None] * np.sqrt(variance) - clear
        if self._slacks:
            worst -= z[self._first_slack :].reshape(len(worst), 1, N)
        return np.where(self.kept, worst.ravel(), -np.inf)

    def objective(self, z: np.ndarray) -> float:
        """The objective at z (d,)."""
        return float(0.5 * z @ (self.P @ z) + self.q @ z)

    def plan(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ego's nominal states (N + 1, n_e) and inputs (N, m)."""
        h = z[: self.responses.G.shape[2]]
        return self.free + self.responses.G @ h, h.reshape(self.horizon, -1)

    def gains(self, z: np.ndarray, agent: int, mode: int) -> np.ndarray:
        """The feedback on an agent's deviation in one of its modes, (N, m, n_k); zero at the first sample."""
        m, n = self.model.B.shape[1], len(self.model.agents[agent])
        return np.concatenate([np.zeros((1, m, n)), z[self._place[agent, mode]].reshape(self.horizon - 1, m, n)])
