"""Regression for residuals: a function of a few features, with its standard deviation."""

from __future__ import annotations

from abc import ABC, abstractmethod

import casadi as ca
import numpy as np

from systems.errors import DimensionMismatch, InvalidValue

__all__ = ["FittedRegression", "Regression", "expect_samples"]


class FittedRegression(ABC):
    """A scalar function of features z, with the standard deviation of its error.

    Attributes:
        remarks: limitations of the fit, one sentence each.
    """

    remarks: tuple[str, ...]

    @abstractmethod
    def mean(self, z: ca.SX) -> ca.SX:
        """The function at a column of features (d, 1), as an expression."""

    @abstractmethod
    def deviation(self, z: ca.SX) -> ca.SX:
        """Standard deviation of the function there, without the noise of a sample, as an expression."""

    @abstractmethod
    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation at many features (k, d): (k,) and (k,)."""

    @abstractmethod
    def without(self, samples: np.ndarray) -> FittedRegression:
        """The fit to the other samples alone, with the same hyperparameters; (samples,) of bool says which to leave
        out."""


class Regression(ABC):
    """A method that fits such a function."""

    @abstractmethod
    def fit(self, z: np.ndarray, y: np.ndarray) -> FittedRegression:
        """The function that explains y, (samples,), by the features z, (samples, d)."""


def expect_samples(z: np.ndarray, y: np.ndarray) -> None:
    """Raises InvalidValue for samples that no function can be fitted to, and DimensionMismatch for other shapes.

    Args:
        z: (samples, d). y: (samples,).
    """
    if np.ndim(z) != 2 or np.shape(y) != np.shape(z)[:1]:
        raise DimensionMismatch(
            f"features of shape {np.shape(z)} and values of shape {np.shape(y)}; expected (samples, d) and (samples,)"
        )
    for name, numbers in (("features", z), ("values", y)):
        bad = ~np.isfinite(numbers).reshape(len(y), -1).all(axis=1)
        if bad.any():
            raise InvalidValue(
                f"{name} that are not finite in {int(bad.sum())} of {len(y)} samples, the first at row "
                f"{int(bad.argmax())}; leave these samples out"
            )
    if len(y) < 2:
        raise InvalidValue(f"{len(y)} samples; give at least 2")
    for i, width in enumerate(np.ptp(z, axis=0)):
        if width == 0.0:
            raise InvalidValue(f"feature {i} is constant in all samples; leave it out, or excite it")
