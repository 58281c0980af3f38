"""Sparse Gaussian-process regression: many samples, few inducing points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from systems.arguments import expect_whole
from systems.identification.gaussian_process import Kernel, fitted_kernel, spread_points
from systems.identification.regression import FittedRegression, Regression, expect_samples

__all__ = ["SparseGaussianProcess", "inducing_points"]

_POINTS = 150  # from which the kernel is fitted
_EXPLAINED = 1e-3  # variance left by the inducing points, relative to that of the noise, at which no more are added
_ROUNDING = 1e-9  # the same relative to the variance of the function, for data with hardly any noise


@final
@dataclass(frozen=True)
class SparseGaussianProcess(Regression):
    """The variational approximation of a Gaussian process by inducing points (Titsias, 2009): all samples count, and
    expressions have one term for each inducing point.

    The inducing points are samples, each the one at which the function is least determined by those before (Burt,
    Rasmussen & van der Wilk, 2020, section 4); repeated samples are therefore never chosen twice. The kernel is that of
    an exact process of 150 samples, spread over the features.

    Args:
        inducing: largest number of inducing points; default: 40.
    """

    inducing: int = 40

    def __post_init__(self) -> None:
        expect_whole(self.inducing, "number of inducing points", least=1, most=1000)

    def fit(self, z: np.ndarray, y: np.ndarray) -> FittedRegression:
        expect_samples(z, y)
        centre, few = float(y.mean()), spread_points(z, _POINTS)
        kernel = fitted_kernel(z[few], y[few] - centre)
        return _FittedSparseProcess(kernel, z[inducing_points(kernel, z, self.inducing)], z, y, centre)


@final
class _FittedSparseProcess(FittedRegression):
    """The optimal variational distribution of the function, as in Titsias (2009), equations 9 and 10.

    Attributes:
        bound: on the logarithm of the marginal likelihood of the exact process, from below.
    """

    def __init__(self, kernel: Kernel, points: np.ndarray, z: np.ndarray, y: np.ndarray, centre: float) -> None:
        self.kernel, self.points, self.centre = kernel, points, centre
        self._data = z, y
        root = np.linalg.cholesky(kernel(points, points))
        self.root_inverse = np.linalg.inv(root)
        projected = self.root_inverse @ kernel(points, z) / kernel.noise
        informed = np.linalg.cholesky(np.eye(len(points)) + projected @ projected.T)
        self.informed_inverse = np.linalg.inv(informed) @ self.root_inverse
        error = (y - centre) / kernel.noise
        explained = np.linalg.solve(informed, projected @ error)
        self.weights = self.informed_inverse.T @ explained
        left = len(y) * kernel.signal**2 / kernel.noise**2 - float((projected**2).sum())
        self.bound = float(
            -0.5 * (len(y) * np.log(2.0 * np.pi * kernel.noise**2) + error @ error - explained @ explained + left)
            - np.log(np.diag(informed)).sum()
        )
        self.remarks = ()
        if left > len(y):
            self.remarks = (
                f"{len(points)} inducing points leave a deviation of {kernel.noise * np.sqrt(left / len(y)):.2g} on "
                f"average, more than the noise of {kernel.noise:.2g}; give more of them",
            )

    def _covariances(self, z: ca.SX) -> ca.SX:
        return self.kernel.expression(self.points, z)

    def mean(self, z: ca.SX) -> ca.SX:
        return self.centre + ca.SX(self.weights).T @ self._covariances(z)

    def deviation(self, z: ca.SX) -> ca.SX:
        k = self._covariances(z)
        known = ca.sumsqr(ca.SX(self.root_inverse) @ k) - ca.sumsqr(ca.SX(self.informed_inverse) @ k)
        return ca.sqrt(ca.fmax(self.kernel.signal**2 - known, 0.0))

    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k = self.kernel(z, self.points)
        known = ((k @ self.root_inverse.T) ** 2).sum(axis=1) - ((k @ self.informed_inverse.T) ** 2).sum(axis=1)
        return self.centre + k @ self.weights, np.sqrt(np.maximum(self.kernel.signal**2 - known, 0.0))

    def without(self, samples: np.ndarray) -> FittedRegression:
        z, y = self._data
        return _FittedSparseProcess(self.kernel, self.points, z[~samples], y[~samples], self.centre)


def inducing_points(kernel: Kernel, z: np.ndarray, count: int) -> np.ndarray:
    """Numbers of at most so many rows of z, each of the largest variance given those before: the pivots of a Cholesky
    factorisation. Fewer are returned if these determine the function at all samples.

    Args:
        kernel: of the process.
        z: (samples, d).
        count: at least 1.
    """
    left = np.full(len(z), kernel.signal**2)
    least = max(_EXPLAINED * kernel.noise**2, _ROUNDING * kernel.signal**2)
    chosen: list[int] = []
    rows = np.zeros((min(count, len(z)), len(z)))
    while len(chosen) < len(rows):
        i = int(left.argmax())
        if left[i] <= least:
            break
        done = len(chosen)
        rows[done] = (kernel(z[i : i + 1], z)[0] - rows[:done, i] @ rows[:done]) / np.sqrt(left[i])
        left -= rows[done] ** 2
        chosen.append(i)
    return np.array(chosen)
