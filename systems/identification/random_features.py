"""Regression with random Fourier features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from systems.arguments import expect_seed, expect_whole
from systems.identification.gaussian_process import fitted_kernel, spread_points
from systems.identification.regression import FittedRegression, Regression, expect_samples

__all__ = ["RandomFeatures"]

_POINTS = 150  # from which the kernel is fitted


@final
@dataclass(frozen=True)
class RandomFeatures(Regression):
    """A linear combination of cos(w_i' z + b_i) with drawn w_i and b_i, by Bayesian linear regression: a Gaussian
    process whose cost grows with the number of features, not of samples (Rahimi & Recht, 2007).

    Args:
        features: their number; default: 200.
        seed: of the draw; default: 0.
    """

    features: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        expect_whole(self.features, "number of random features", least=5, most=10_000)
        expect_seed(self.seed)

    def fit(self, z: np.ndarray, y: np.ndarray) -> FittedRegression:
        expect_samples(z, y)
        centre, chosen = float(y.mean()), spread_points(z, _POINTS)
        kernel = fitted_kernel(z[chosen], y[chosen] - centre)
        rng = np.random.default_rng(self.seed)
        frequencies = rng.standard_normal((self.features, z.shape[1])) / kernel.lengths
        phases = rng.uniform(0.0, 2.0 * np.pi, self.features)
        size = kernel.signal * np.sqrt(2.0 / self.features)
        return _FittedFeatures(frequencies, phases, size, kernel.noise, z, y, centre)


@final
class _FittedFeatures(FittedRegression):
    """Weights a ~ N(0, I) of features of size ``size``."""

    def __init__(
        self,
        frequencies: np.ndarray,
        phases: np.ndarray,
        size: float,
        noise: float,
        z: np.ndarray,
        y: np.ndarray,
        centre: float,
    ) -> None:
        self.frequencies, self.phases, self.size, self.noise, self.centre = frequencies, phases, size, noise, centre
        values = self._features(z)
        information = values.T @ values / noise**2 + np.eye(len(phases))
        self.root_inverse = np.linalg.inv(np.linalg.cholesky(information))
        self.weights = self.root_inverse.T @ (self.root_inverse @ (values.T @ (y - centre))) / noise**2
        self._data = z, y
        self.remarks = ()

    def _features(self, z: np.ndarray) -> np.ndarray:
        return np.asarray(self.size * np.cos(z @ self.frequencies.T + self.phases))

    def _expressions(self, z: ca.SX) -> ca.SX:
        return self.size * ca.cos(ca.SX(self.frequencies) @ z + ca.SX(self.phases))

    def mean(self, z: ca.SX) -> ca.SX:
        return self.centre + ca.SX(self.weights).T @ self._expressions(z)

    def deviation(self, z: ca.SX) -> ca.SX:
        return ca.sqrt(ca.sumsqr(ca.SX(self.root_inverse) @ self._expressions(z)))

    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = self._features(z)
        return self.centre + values @ self.weights, np.sqrt(((values @ self.root_inverse.T) ** 2).sum(axis=1))

    def without(self, samples: np.ndarray) -> FittedRegression:
        z, y = self._data
        return _FittedFeatures(
            self.frequencies, self.phases, self.size, self.noise, z[~samples], y[~samples], self.centre
        )
