"""Exact Gaussian-process regression for few points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from systems.arguments import expect_whole
from systems.identification.regression import FittedRegression, Regression, expect_samples

__all__ = ["GaussianProcess", "Kernel", "fitted_kernel", "spread_points"]

_LEAST_NOISE = 1e-3  # relative to the deviation of the data: keeps the matrix of the kernel well conditioned
_LENGTHS, _SIGNALS = (0.05, 100.0), (0.05, 50.0)


@final
@dataclass(frozen=True, eq=False)
class Kernel:
    """k(z, z') = signal^2 exp(-sum_i (z_i - z'_i)^2 / (2 lengths_i^2)), and samples with white noise.

    Args:
        lengths: (d,), in the units of the features. signal, noise: deviations, in the unit of y.
    """

    lengths: np.ndarray
    signal: float
    noise: float

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Covariances (k, l) of the function at features (k, d) and (l, d)."""
        squares = ((a[:, None, :] - b[None, :, :]) / self.lengths) ** 2
        return np.asarray(self.signal**2 * np.exp(-0.5 * squares.sum(axis=-1)))

    def expression(self, points: np.ndarray, z: ca.SX) -> ca.SX:
        """Covariances (k, 1) of the function at points (k, d) with that at an expression z (d, 1)."""
        scaled = (ca.repmat(z.T, len(points), 1) - ca.SX(points)) / ca.repmat(ca.SX(self.lengths).T, len(points), 1)
        return self.signal**2 * ca.exp(-0.5 * ca.sum2(scaled**2))


@final
@dataclass(frozen=True)
class GaussianProcess(Regression):
    """A Gaussian process with a squared-exponential kernel whose hyperparameters maximise the marginal likelihood
    (Rasmussen & Williams, 2006, chapters 2 and 5).

    Expressions of the mean have a term for each point, those of the deviation one for each pair.

    Args:
        points: largest number of samples used for the fit, spread over the features; errors are those of all samples;
            default: 150.
    """

    points: int = 150

    def __post_init__(self) -> None:
        expect_whole(self.points, "points of a Gaussian process", least=5, most=1000)

    def fit(self, z: np.ndarray, y: np.ndarray) -> FittedRegression:
        expect_samples(z, y)
        chosen = spread_points(z, self.points)
        centre = float(y.mean())
        return _FittedProcess(fitted_kernel(z[chosen], y[chosen] - centre), z, y, chosen, centre)


@final
class _FittedProcess(FittedRegression):
    def __init__(self, kernel: Kernel, z: np.ndarray, y: np.ndarray, chosen: np.ndarray, centre: float) -> None:
        self.kernel, self.points, self.centre = kernel, z[chosen], centre
        self._data = z, y, chosen
        covariance = kernel(self.points, self.points) + kernel.noise**2 * np.eye(len(chosen))
        self.root = np.linalg.cholesky(covariance)
        self.root_inverse = np.linalg.inv(self.root)
        self.weights = self.root_inverse.T @ (self.root_inverse @ (y[chosen] - centre))
        dropped = len(y) - len(chosen)
        self.remarks = (
            (f"{dropped} of {len(y)} samples serve to measure errors alone; fit them with more points",)
            if dropped
            else ()
        )

    def _covariances(self, z: ca.SX) -> ca.SX:
        """With the points, (points, 1)."""
        return self.kernel.expression(self.points, z)

    def mean(self, z: ca.SX) -> ca.SX:
        return self.centre + ca.SX(self.weights).T @ self._covariances(z)

    def deviation(self, z: ca.SX) -> ca.SX:
        projected = ca.SX(self.root_inverse) @ self._covariances(z)
        return ca.sqrt(ca.fmax(self.kernel.signal**2 - ca.sumsqr(projected), 0.0))

    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k = self.kernel(z, self.points)
        variance = self.kernel.signal**2 - ((k @ self.root_inverse.T) ** 2).sum(axis=1)
        return self.centre + k @ self.weights, np.sqrt(np.maximum(variance, 0.0))

    def without(self, samples: np.ndarray) -> FittedRegression:
        z, y, chosen = self._data
        return _FittedProcess(self.kernel, z, y, chosen[~samples[chosen]], self.centre)


def spread_points(z: np.ndarray, count: int) -> np.ndarray:
    """Numbers of at most so many rows of z, each the farthest from those before, in order.

    Args:
        z: (samples, d).
        count: at least 1.
    """
    if len(z) <= count:
        return np.arange(len(z))
    scaled = z / np.where(z.std(axis=0) > 0, z.std(axis=0), 1.0)
    first = int(((scaled - scaled.mean(axis=0)) ** 2).sum(axis=1).argmin())
    chosen, distance = [first], ((scaled - scaled[first]) ** 2).sum(axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((scaled - scaled[chosen[-1]]) ** 2).sum(axis=1))
    return np.sort(chosen)


def fitted_kernel(z: np.ndarray, y: np.ndarray) -> Kernel:
    """The kernel of largest marginal likelihood.

    Args:
        z: (points, d).
        y: (points,), about zero.
    """
    from scipy.optimize import minimize  # slow to import

    scale = np.where(z.std(axis=0) > 0, z.std(axis=0), 1.0)
    size = float(np.sqrt((y**2).mean())) or 1.0
    squares = (((z[:, None, :] - z[None, :, :]) / scale) ** 2).transpose(2, 0, 1)
    target, eye = y / size, np.eye(len(y))

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        lengths, signal, noise = np.exp(theta[:-2]), np.exp(theta[-2]), np.exp(theta[-1])
        k = signal**2 * np.exp(-0.5 * np.tensordot(lengths**-2.0, squares, axes=1))
        inverse = np.linalg.inv(k + noise**2 * eye)
        weights = inverse @ target
        logdet = np.linalg.slogdet(k + noise**2 * eye)[1]
        inner = inverse - np.outer(weights, weights)
        slopes = [0.5 * np.sum(inner * k * s) / length**2 for s, length in zip(squares, lengths, strict=True)]
        slope = np.array([*slopes, np.sum(inner * k), noise**2 * np.trace(inner)])
        return 0.5 * float(target @ weights + logdet), slope

    d = z.shape[1]
    bounds = [tuple(np.log(_LENGTHS))] * d + [tuple(np.log(_SIGNALS)), (np.log(_LEAST_NOISE), np.log(3.0))]
    starts = [np.log([*[length] * d, 1.0, noise]) for length in (1.0, 4.0) for noise in (0.03, 0.5)]
    best = min((minimize(loss, s, jac=True, bounds=bounds, method="L-BFGS-B") for s in starts), key=lambda r: r.fun)
    values = np.exp(best.x)
    return Kernel(values[:-2] * scale, float(values[-2] * size), float(values[-1] * size))
