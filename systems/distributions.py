"""Distributions of initial states and of disturbances.

Each distribution is an affine map of a standard draw (uniform on [0, 1] or normal), so numpy and torch draw from the
same definition, and a verifier can use the support.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from systems.arguments import expect_array, expect_pair
from systems.content import ByContent
from systems.errors import DimensionMismatch, InvalidValue, shown
from systems.semidefinite import is_positive_semidefinite, is_symmetric
from systems.signals import Signals, Values, expect_values, left_out

__all__ = ["AffineMap", "Distribution", "Fixed", "Gaussian", "Uniform"]


@dataclass(frozen=True)
class AffineMap:
    """offset (n,) + factor (n, n) z, with z drawn independently from the ``base`` distribution."""

    base: Literal["uniform", "normal"]
    offset: np.ndarray
    factor: np.ndarray


class Distribution(ByContent, ABC):
    """The distribution of a random vector of named signals."""

    @abstractmethod
    def affine(self, declared: Signals) -> AffineMap:
        """The distribution as an affine map of a standard draw, for these signals."""

    @abstractmethod
    def support(self, declared: Signals) -> tuple[np.ndarray, np.ndarray]:
        """Smallest box that contains every draw: lower and upper, each (n,), possibly infinite."""

    def sample(self, declared: Signals, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> np.ndarray:
        """Independent draws of shape (*shape, n)."""
        affine = self.affine(declared)
        draw = rng.random if affine.base == "uniform" else rng.standard_normal
        return affine.offset + draw((*shape, len(declared))) @ affine.factor.T

    def mean(self, declared: Signals) -> np.ndarray:
        """Expected value (n,)."""
        affine = self.affine(declared)
        return affine.offset + affine.factor @ np.full(len(declared), 0.5 if affine.base == "uniform" else 0.0)

    def covariance(self, declared: Signals) -> np.ndarray:
        """Covariance (n, n)."""
        affine = self.affine(declared)
        return affine.factor @ affine.factor.T * (1.0 / 12.0 if affine.base == "uniform" else 1.0)


@dataclass(frozen=True, eq=False)
class Fixed(Distribution):
    """One value with probability 1: a fixed initial state, or no disturbance.

    Args:
        value: by name (others zero) or in order, finite; default: zero.
    """

    value: Values = ()

    def __post_init__(self) -> None:
        expect_values(self.value, "fixed value")

    def affine(self, declared: Signals) -> AffineMap:
        value = declared.optional(self.value, "fixed value")
        return AffineMap("uniform", value, np.zeros((len(declared),) * 2))

    def support(self, declared: Signals) -> tuple[np.ndarray, np.ndarray]:
        value = self.affine(declared).offset
        return value, value


@dataclass(frozen=True, eq=False)
class Uniform(Distribution):
    """Uniform distribution on a box, the signals independent.

    Args:
        lower, upper: finite bounds, by name (others zero) or in order.

    Raises:
        InvalidValue: a signal bounded in one of the mappings only.
    """

    lower: Values
    upper: Values

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            expect_values(getattr(self, name), f"{name} bound of a uniform distribution")
        if isinstance(self.lower, Mapping) and isinstance(self.upper, Mapping):
            alone = sorted(set(self.lower) ^ set(self.upper))
            if alone:
                raise InvalidValue(
                    f"lower and upper of a uniform distribution: only one has {', '.join(alone)}; name the same "
                    "signals in both"
                )
            for name in self.lower:
                expect_pair((self.lower[name], self.upper[name]), f"uniform distribution of {name}")

    def support(self, declared: Signals) -> tuple[np.ndarray, np.ndarray]:
        lower = declared.array(self.lower, what="lower bound of a uniform distribution")
        upper = declared.array(self.upper, what="upper bound of a uniform distribution")
        with np.errstate(over="ignore", invalid="ignore"):
            bounded = np.isfinite(upper - lower).all()
        if not bounded or (lower > upper).any():
            raise InvalidValue(f"uniform distribution from {lower} to {upper}; expected finite bounds, lower <= upper")
        return lower, upper

    def affine(self, declared: Signals) -> AffineMap:
        lower, upper = self.support(declared)
        return AffineMap("uniform", lower, np.diag(upper - lower))


@dataclass(frozen=True, eq=False)
class Gaussian(Distribution):
    """Normal distribution, from standard deviations or from a full covariance.

    Args:
        deviation: standard deviations, by name (others zero) or in order; default: zero.
        average: the mean, by name (others zero) or in order; default: zero.
        covariance_matrix: (n, n), in place of deviations; default: none.

    Raises:
        InvalidValue: a negative deviation, a covariance that is not symmetric and positive semidefinite, or both given.
    """

    deviation: Values = ()
    average: Values = ()
    covariance_matrix: np.ndarray | None = None

    def __post_init__(self) -> None:
        expect_values(self.average, "mean of a Gaussian")
        expect_values(self.deviation, "deviation of a Gaussian")
        given = self.deviation.values() if isinstance(self.deviation, Mapping) else self.deviation
        if any(value < 0 for value in given):
            raise InvalidValue(f"standard deviations {shown(self.deviation)}; expected finite numbers of at least 0")
        if self.covariance_matrix is None:
            return
        if not left_out(self.deviation):
            raise InvalidValue("a Gaussian with both standard deviations and a covariance matrix; give one of the two")
        covariance = expect_array(self.covariance_matrix, "covariance of a Gaussian", ("n", "n"))
        if covariance.shape[0] != covariance.shape[1]:
            raise DimensionMismatch(f"covariance of shape {covariance.shape}; expected (n, n)")
        if not (is_symmetric(covariance) and is_positive_semidefinite(covariance)):
            smallest = float(np.linalg.eigvalsh(covariance).min(initial=0.0))
            raise InvalidValue(
                "a covariance must be symmetric and positive semidefinite; symmetrise it as (C + C.T) / 2, and check "
                "its correlations, none of which may exceed 1, and its eigenvalues, the smallest of which is "
                f"{smallest:.3g}"
            )

    def affine(self, declared: Signals) -> AffineMap:
        n = len(declared)
        mean = declared.optional(self.average, "mean of a Gaussian")
        if self.covariance_matrix is None:
            deviation = declared.optional(self.deviation, "deviation of a Gaussian")
            return AffineMap("normal", mean, np.diag(deviation))
        covariance = np.asarray(self.covariance_matrix, dtype=float)
        if covariance.shape != (n, n):
            raise DimensionMismatch(f"covariance of shape {covariance.shape}; expected ({n}, {n})")
        values, vectors = np.linalg.eigh(covariance)
        return AffineMap("normal", mean, vectors * np.sqrt(np.maximum(values, 0.0)))

    def support(self, declared: Signals) -> tuple[np.ndarray, np.ndarray]:
        affine = self.affine(declared)
        reach = np.where(np.abs(affine.factor).sum(axis=1) > 0, np.inf, 0.0)
        return affine.offset - reach, affine.offset + reach
