"""Mixtures of normal distributions of the state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from systems import DimensionMismatch, InvalidValue
from systems.arguments import expect_array, expect_whole
from systems.content import ByContent
from systems.errors import expect
from systems.semidefinite import is_positive_definite, is_symmetric

__all__ = ["GaussianMixture"]


@final
@dataclass(frozen=True, eq=False)
class GaussianMixture(ByContent):
    """x ~ N(means[i], covariances[i]) with probability weights[i].

    Args:
        weights: (modes,), positive, with sum 1.
        means: (modes, n).
        covariances: (modes, n, n), symmetric and positive definite.

    Raises:
        DimensionMismatch: shapes that do not match.
        InvalidValue: weights that do not add up to 1, or a matrix that is not a covariance.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def __post_init__(self) -> None:
        weights = expect_array(self.weights, "weights of a mixture", ("modes",))
        means = expect_array(self.means, "means of a mixture", ("modes", "n"))
        covariances = expect_array(self.covariances, "covariances of a mixture", ("modes", "n", "n"))
        modes, n = means.shape
        if not modes or weights.shape != (modes,) or covariances.shape != (modes, n, n):
            raise DimensionMismatch(
                f"a mixture of weights {weights.shape}, means {means.shape} and covariances {covariances.shape}; "
                "expected (modes,), (modes, n) and (modes, n, n), with at least one mode"
            )
        if not (weights > 0.0).all() or abs(weights.sum() - 1.0) > 1e-9:
            raise InvalidValue(f"weights {weights.tolist()} of a mixture; expected positive numbers with sum 1")
        for covariance in covariances:
            if not (is_symmetric(covariance) and is_positive_definite(covariance)):
                raise InvalidValue(
                    "a covariance of a mixture is not symmetric and positive definite; symmetrise it as (C + C.T) / 2, "
                    "and give every state some variance"
                )
        for name, array in (("weights", weights), ("means", means), ("covariances", covariances)):
            object.__setattr__(self, name, array)

    @property
    def mean(self) -> np.ndarray:
        """Expected value (n,)."""
        return np.asarray(self.weights @ self.means)

    @property
    def covariance(self) -> np.ndarray:
        """Covariance (n, n) of all modes together."""
        away = self.means - self.mean
        spread = self.covariances + away[:, :, None] * away[:, None, :]
        return np.asarray(np.einsum("i,ijk->jk", self.weights, spread))

    def sample(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Independent draws (count, n).

        Args:
            generator: of random numbers. count: number of draws.
        """
        expect(generator, np.random.Generator, "the generator of a mixture", "such as np.random.default_rng(0)")
        expect_whole(count, "count", least=0)
        modes = generator.choice(len(self.weights), size=count, p=self.weights)
        white = generator.standard_normal((count, self.means.shape[1]))
        factors = np.linalg.cholesky(self.covariances)
        return np.asarray(self.means[modes] + np.einsum("cij,cj->ci", factors[modes], white))

    def responsibilities(self, x: np.ndarray) -> np.ndarray:
        """The probability (modes,) that x (n,) was drawn from each mode; finite for any finite x.

        Args:
            x: a finite state.
        """
        factors = np.linalg.cholesky(self.covariances)
        white = np.linalg.solve(factors, (x - self.means)[..., None])[..., 0]
        logarithms = np.log(self.weights) - np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        logarithms = logarithms - 0.5 * (white**2).sum(axis=1)
        shares = np.exp(logarithms - logarithms.max())
        return np.asarray(shares / shares.sum())
