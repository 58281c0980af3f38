"""Regression for residuals: a function of a few features, with its standard deviation."""

from __future__ import annotations

from abc import ABC, abstractmethod

import casadi as ca
import numpy as np

__all__ = ["FittedRegression", "Regression"]


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
