"""Probabilistic reachable sets of the error between a disturbed linear loop and its nominal prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import casadi as ca
import numpy as np
from scipy.linalg import solve_discrete_lyapunov
from scipy.special import gammaincinv, ndtri

from ctrl.controller import NotApplicable
from mpc.stochastic.quantiles import uniform_sum_quantiles
from systems import DimensionMismatch, InvalidValue, LinearPlant, Task
from systems.affine import steps_in
from systems.arguments import expect_array, expect_choice, expect_flag, expect_number, expect_whole
from systems.errors import expect

__all__ = ["AdditiveNoise", "ErrorDynamics", "additive_noise"]


@dataclass(frozen=True, eq=False)
class AdditiveNoise:
    """w = mean + factor z, with independent z_i uniform on [-1, 1] or standard normal.

    Args:
        mean: (n,).
        factor: (n, q).
        base: the distribution of each z_i.
    """

    mean: np.ndarray
    factor: np.ndarray
    base: Literal["uniform", "normal"]

    def __post_init__(self) -> None:
        expect_choice(self.base, "base", ("uniform", "normal"))
        mean, factor = expect_array(self.mean, "mean of the noise", ("n",)), expect_array(self.factor, "factor")
        if factor.ndim != 2 or len(factor) != len(mean):
            raise DimensionMismatch(f"factor has shape {factor.shape}; expected ({len(mean)}, q), as the mean has rows")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "factor", factor)

    @property
    def covariance(self) -> np.ndarray:
        """(n, n)."""
        return self.factor @ self.factor.T * (1.0 / 3.0 if self.base == "uniform" else 1.0)

    @property
    def is_bounded(self) -> bool:
        """Whether the support is bounded."""
        return self.base == "uniform" or not self.factor.any()


def additive_noise(task: Task, plant: LinearPlant) -> AdditiveNoise:
    """The noise that the task's disturbance adds to the state in one sample of its linear model.

    Raises:
        NotApplicable: the sampled plant is not affine in state, input and disturbance, so that the error of the model
            is not additive noise.
    """
    x, u, w = (signals.symbol() for signals in (task.plant.state, task.plant.input, task.plant.disturbance))
    after = task.dynamics.function()(x, u, w, [])
    z = ca.vertcat(x, u, w)
    sampled = ca.Function("after", ca.vertsplit(z), [after])
    nonlinear = [i for i, curved in enumerate(ca.which_depends(after, z, 2, False)) if curved or steps_in(sampled, i)]
    if nonlinear:
        names = (*task.plant.state.names, *task.plant.input.names, *task.plant.disturbance.names)
        raise NotApplicable(
            f"task '{task.name}': the plant is not affine in {', '.join(names[i] for i in nonlinear)}; tightened "
            "constraints cover additive noise only. Use the nonlinear MPC, or a task around a LinearPlant"
        )
    distribution = task.disturbance.affine(task.plant.disturbance)
    middle, half = (0.5, 0.5) if distribution.base == "uniform" else (0.0, 1.0)
    mean = distribution.offset + distribution.factor @ np.full(distribution.factor.shape[1], middle)
    factor = plant.E @ distribution.factor * half
    return AdditiveNoise(plant.E @ mean, factor[:, np.abs(factor).max(axis=0, initial=0.0) > 0], distribution.base)


@dataclass(frozen=True, eq=False)
class ErrorDynamics:
    """e(j + 1) = A e(j) + factor z(j) from e(0) = 0, with independent z; the mean of the noise belongs to the model.

    Every distribution here is symmetric: a quantile of d'e is one of -d'e.

    Args:
        A: (n, n), all eigenvalues inside the unit circle.
        noise: of one sample.
    """

    A: np.ndarray
    noise: AdditiveNoise

    SETTLED = 1e-9  # of |A^j|: what is left of an error is then lost in rounding
    LONGEST = 20_000

    def __post_init__(self) -> None:
        expect(self.noise, AdditiveNoise, "the noise of ErrorDynamics", "such as AdditiveNoise(mean, factor, 'normal')")
        object.__setattr__(self, "A", expect_array(self.A, "A"))
        n = len(self.noise.mean)
        if np.shape(self.A) != (n, n):
            raise DimensionMismatch(f"A has shape {np.shape(self.A)}; expected ({n}, {n}), as the noise has {n} rows")
        radius = np.abs(np.linalg.eigvals(self.A)).max(initial=0.0)
        if not radius < 1.0:
            raise InvalidValue(f"the error does not die out: A has an eigenvalue of modulus {radius:.4g}")

    def settling(self) -> int:
        """Samples after which an error has died out: the first j with |A^j| <= 1e-9.

        Raises:
            NotApplicable: more than 20,000.
        """
        power = np.eye(len(self.A))
        for j in range(1, self.LONGEST + 1):
            power = power @ self.A
            if np.linalg.norm(power, 2) <= self.SETTLED:
                return j
        raise NotApplicable("the error dies out too slowly for its sets to be computed; choose a faster tube gain")

    def covariance(self, steps: int) -> np.ndarray:
        """Covariances (steps + 1, n, n) of e(0) .. e(steps)."""
        steps = expect_whole(steps, "steps", least=0)
        covariance = np.zeros((steps + 1, *self.A.shape))
        for j in range(steps):
            covariance[j + 1] = self.A @ covariance[j] @ self.A.T + self.noise.covariance
        return covariance

    def stationary_covariance(self) -> np.ndarray:
        """Limit (n, n) of the covariance."""
        return np.asarray(solve_discrete_lyapunov(self.A, self.noise.covariance))

    def weights(self, directions: np.ndarray, steps: int) -> np.ndarray:
        """(steps, rows, q): what z(j - 1 - l) adds to ``directions`` e(j), l = 0 .. steps - 1."""
        weights, reached = np.empty((steps, len(directions), self.noise.factor.shape[1])), directions
        for step in range(steps):
            weights[step] = reached @ self.noise.factor
            reached = reached @ self.A
        return weights

    def worst_case(self, directions: np.ndarray, steps: int) -> np.ndarray:
        """Largest ``directions`` e(j), j = 0 .. steps: (steps + 1, rows), infinite where the noise is unbounded."""
        reach = np.abs(self.weights(directions, steps)).sum(axis=2)
        if self.noise.base == "normal":
            reach = np.where(reach > 0, np.inf, 0.0)
        return np.vstack([np.zeros((1, len(directions))), np.cumsum(reach, axis=0)])

    def deviation(self, directions: np.ndarray, steps: int) -> np.ndarray:
        """Standard deviations (steps + 1, rows) of ``directions`` e(j), j = 0 .. steps."""
        variance = np.einsum("ri,jik,rk->jr", directions, self.covariance(steps), directions)
        return np.sqrt(np.maximum(variance, 0.0))

    def quantile(self, directions: np.ndarray, probability: np.ndarray, steps: int) -> np.ndarray:
        """Quantiles of ``directions`` e(j), j = 0 .. steps: (steps + 1, rows), one probability per row.

        In closed form for normal noise; by the Fourier series of the convolved densities for uniform noise.
        """
        probability = np.asarray(probability, dtype=float)
        if self.noise.base == "normal":
            return self._scaled(ndtri(probability), self.deviation(directions, steps))
        weights = np.abs(self.weights(directions, steps))
        rows = [uniform_sum_quantiles(weights[:, i], p) for i, p in enumerate(probability)]
        return np.vstack([np.zeros((1, len(rows))), np.array(rows).reshape(len(rows), steps).T])

    def distribution_free(self, directions: np.ndarray, probability: np.ndarray, steps: int) -> np.ndarray:
        """Bounds (steps + 1, rows) that hold with ``probability`` under every distribution with this covariance.

        sqrt(p / (1 - p)) standard deviations (Cantelli's inequality), and never more than the worst case.
        """
        probability = np.asarray(probability, dtype=float)
        with np.errstate(divide="ignore"):
            factor = np.sqrt(probability / (1.0 - probability))
        bound = self._scaled(factor, self.deviation(directions, steps))
        return np.minimum(bound, self.worst_case(directions, steps))

    def scaled_support(self, directions: np.ndarray, probability: np.ndarray, steps: int) -> np.ndarray:
        """Support (steps + 1, rows) of the error if every z_i kept to the part of its range that all keep to with
        ``probability``: the box of j q uniform numbers, scaled by p^(1 / (j q)). Infinite for normal noise.
        """
        count = np.arange(1, steps + 1) * max(1, self.noise.factor.shape[1])
        scale = np.asarray(probability, dtype=float) ** (1.0 / count)[:, None]
        return self.worst_case(directions, steps) * np.vstack([np.zeros((1, len(directions))), scale])

    def ellipsoid(self, probability: float, steps: int | None = None, gaussian: bool | None = None) -> np.ndarray:
        """P (n, n) with Pr(e' P^-1 e <= 1) >= ``probability``, for e(``steps``); default: in the limit.

        The covariance scaled by chi2_n(p) for normal noise, and by n / (1 - p) otherwise (Chebyshev's inequality),
        which ``gaussian`` = False also selects.
        """
        expect_number(probability, "probability", above=0.0, below=1.0, hint="such as 0.9")
        if gaussian is not None:
            expect_flag(gaussian, "gaussian")
        n = len(self.A)
        normal = self.noise.base == "normal" if gaussian is None else gaussian
        level = float(2.0 * gammaincinv(n / 2.0, probability)) if normal else n / (1.0 - probability)
        return level * (self.stationary_covariance() if steps is None else self.covariance(steps)[-1])

    @staticmethod
    def _scaled(factor: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """factor * deviation, where an infinite factor times zero is zero."""
        with np.errstate(invalid="ignore"):
            return np.where(deviation > 0, factor * deviation, 0.0)
