"""Sublevel sets of polynomials along rays from the centre: extents, volumes, and how these change with V."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gamma, pi
from typing import final

import numpy as np

from ctrl.certify.semidefinite.gram import Exponents, Polynomial, powers

__all__ = ["Rays"]

_FAR = 4.0  # no ray is followed further, in units of the set's half-widths
_STEPS = 400


@final
@dataclass(frozen=True, eq=False)
class Rays:
    """Directions (k, n) of unit length, evenly spread. Results computed with them are estimates."""

    directions: np.ndarray

    @staticmethod
    def around(n: int, seed: int = 0) -> Rays:
        """Both directions in one dimension, 720 in the plane, 1,000 n at random in more."""
        if n == 2:
            angle = np.linspace(0.0, 2 * np.pi, 720, endpoint=False)
            return Rays(np.stack([np.cos(angle), np.sin(angle)], axis=1))
        drawn = np.random.default_rng(seed).standard_normal((1000 * n, n)) if n > 1 else np.array([[1.0], [-1.0]])
        return Rays(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))

    def radius(self, V: Polynomial) -> np.ndarray:
        """Distance at which V first reaches 1 on each ray, (k,)."""
        along = self._by_degree(V)
        grid = np.linspace(0.0, _FAR, _STEPS + 1)
        above = np.sum([c[:, None] * grid**k for k, c in along.items()], axis=0) >= 1.0
        first = np.where(above.any(axis=1), np.argmax(above, axis=1), _STEPS)
        low, high = grid[first - 1], grid[first]
        for _ in range(30):
            middle = 0.5 * (low + high)
            inside = np.sum([c * middle**k for k, c in along.items()], axis=0) < 1.0
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        return low

    def extent(self, V: Polynomial, scale: np.ndarray) -> np.ndarray:
        """Half-widths (n,) of a box around {V <= 1}, sought in units of ``scale`` (n,)."""
        for _ in range(20):
            ends = self.directions * self.radius(V.stretched(scale))[:, None]
            change = np.abs(ends).max(axis=0)
            scale = scale * change
            if (change > 0.2).all() and (change < 0.9 * _FAR).all():
                break
        return scale

    def volume(self, V: Polynomial) -> float:
        """Volume of the part of {V <= 1} that is star-shaped about the centre."""
        n = self.directions.shape[1]
        return float(pi ** (n / 2) / gamma(n / 2 + 1) * (self.radius(V) ** n).mean())

    def loss(self, V: Polynomial, exponents: Sequence[Exponents]) -> np.ndarray:
        """Weights (k,): of coefficients of some W near V, by how much they make {W <= 1} smaller, to first order.

        Where the border of {V <= 1} lies at r on a ray, that of {W <= 1} lies at r - (W - V) / V_r, and the volume
        is the mean of r^n. Points a little beyond the border are looked at, too, because W is not that near.
        """
        r, n = self.radius(V), self.directions.shape[1]
        slope = sum(k * c * r ** (k - 1) for k, c in self._by_degree(V).items() if k)
        weight = r ** (n - 1) / np.maximum(slope, 1e-3 * np.max(slope))
        points = [self.directions * (share * r)[:, None] for share in (1.0, 1.05)]
        total = sum(weight @ powers(z, exponents) for z in points)
        return np.asarray(total / np.abs(total).max())

    def _by_degree(self, V: Polynomial) -> dict[int, np.ndarray]:
        """Coefficients (k,) of V on each ray by power of the radius."""
        values = powers(self.directions, V.exponents) * V.values
        degrees = np.array([sum(e) for e in V.exponents])
        return {int(d): values[:, degrees == d].sum(axis=1) for d in np.unique(degrees)}
