"""Mass matrix and potential as outputs of a small network."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

__all__ = ["FLOOR", "Energies"]

FLOOR = 1e-3  # eps: of the mass matrix, relative to its size
_SLIGHT = -3.0  # of the friction at first, before softplus


@final
@dataclass(frozen=True, eq=False)
class Energies:
    """M(q, c) = S (eps I + sum_j c_j L_j L_j') S and V(q, c) = e sum_j c_j V_j, j = 0 ... k, with c_0 = 1.

    The lower triangles L_j, positive on the diagonal, and the potentials V_j are outputs of one network with tanh
    units, whose features of an angle are its sine and cosine.

    Args:
        angles: (n,), which coordinates are angles.
        middle, width: (n,), of the other coordinates.
        inertia: (n,), S^2, of the size of the mass matrix.
        energy: e, of the size of the potential.
        damping: (n,), of the size of the friction.
        contexts: k.
        hidden: units of each layer.
        frictional: whether there is viscous friction.
        weights: all of the network, layer by layer, each matrix by rows before its offsets; then, if there is friction,
            its n entries before softplus.
    """

    angles: np.ndarray
    middle: np.ndarray
    width: np.ndarray
    inertia: np.ndarray
    energy: float
    damping: np.ndarray
    contexts: int
    hidden: tuple[int, ...]
    frictional: bool
    weights: np.ndarray

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(outputs, inputs) of each layer."""
        n = len(self.angles)
        sizes = [n + int(self.angles.sum()), *self.hidden, (1 + self.contexts) * self.heads]
        return [(after, before) for before, after in itertools.pairwise(sizes)]

    @property
    def heads(self) -> int:
        """Outputs that belong to one j: the entries of L_j by rows, then V_j."""
        n = len(self.angles)
        return n * (n + 1) // 2 + 1

    def replace(self, weights: np.ndarray) -> Energies:
        """With other weights."""
        return dataclasses.replace(self, weights=weights)

    def first(self, seed: int) -> np.ndarray:
        """Random weights from which a training begins."""
        rng = np.random.default_rng(seed)
        parts = []
        for i, (after, before) in enumerate(self.shapes):
            last = i == len(self.shapes) - 1
            parts += [(0.1 if last else 1.0) * rng.standard_normal(after * before) / np.sqrt(before)]
            parts += [np.zeros(after) if last else 0.3 * rng.standard_normal(after)]
        if self.frictional:
            parts.append(np.full(len(self.angles), _SLIGHT))
        return np.concatenate(parts)

    def layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Matrix and offsets of each layer."""
        layers, used = [], 0
        for after, before in self.shapes:
            matrix = self.weights[used : used + after * before].reshape(after, before)
            used += after * before
            layers.append((matrix, self.weights[used : used + after]))
            used += after
        return layers

    def friction(self) -> np.ndarray:
        """The diagonal of D, (n,)."""
        n = len(self.angles)
        return self.damping * np.logaddexp(0.0, self.weights[-n:]) if self.frictional else np.zeros(n)

    def terms(self) -> ca.Function:
        """(q, c) -> (M, V)."""
        n = len(self.angles)
        q, c = ca.SX.sym("q", n), ca.SX.sym("c", self.contexts)
        features = [f for i in range(n) if self.angles[i] for f in (ca.sin(q[i]), ca.cos(q[i]))]
        features += [(q[i] - self.middle[i]) / self.width[i] for i in range(n) if not self.angles[i]]
        values, layers = ca.vertcat(*features), self.layers()
        for i, (matrix, offset) in enumerate(layers):
            values = ca.SX(matrix) @ values + ca.SX(offset)
            if i < len(layers) - 1:
                values = ca.tanh(values)
        root = np.sqrt(self.inertia)
        mass, potential = FLOOR * ca.SX.eye(n), ca.SX(0)
        for j in range(1 + self.contexts):
            part, weight = values[j * self.heads : (j + 1) * self.heads], c[j - 1] if j else ca.SX(1)
            lower = ca.SX(n, n)
            for i in range(n):
                for k in range(i + 1):
                    entry = part[i * (i + 1) // 2 + k]
                    lower[i, k] = ca.log1p(ca.exp(entry)) if i == k else entry
            mass += weight * (lower @ lower.T)
            potential += weight * part[-1]
        mass = mass * ca.SX(np.outer(root, root))
        return ca.Function("terms", [q, c], [mass, self.energy * potential], ["q", "c"], ["mass", "potential"])
