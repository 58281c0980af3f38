"""Recursive least squares with a prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from systems.arguments import expect_number
from systems.identification.online.rule import Learned, OnlineRule

__all__ = ["RecursiveLeastSquares"]


@final
@dataclass(frozen=True)
class RecursiveLeastSquares(OnlineRule):
    """Recursive Bayesian least squares for weights that drift: the Kalman filter of a+ = gamma a + v, whose stationary
    distribution is the prior, with gamma = exp(-1 / memory).

    It is Gaussian process regression with the features' kernel times gamma^|i - j| between the samples i and j. The
    covariance never exceeds the prior, so that signals that stand still do no harm, unlike with a forgetting factor.
    The estimate itself is not projected, only what is used of it; see :class:`Learned`.

    Args:
        noise: standard deviation of y; default: 0.02.
        prior: standard deviation of the function, before any sample; default: 0.5.
        memory: number of samples after which an observation counts e times less; infinity for a function that
            does not change; default: 1000.

    Raises:
        InvalidValue: a number that is not positive.
    """

    noise: float = 0.02
    prior: float = 0.5
    memory: float = 1000.0

    def __post_init__(self) -> None:
        expect_number(self.noise, "noise", above=0.0)
        expect_number(self.prior, "prior", above=0.0)
        expect_number(self.memory, "memory", above=0.0, infinite=True, hint="in samples")

    def start(self, count: int, outputs: int) -> Learned:
        return Learned(np.zeros((count, outputs)), self.prior**2 * np.eye(count))

    def update(self, learned: Learned, features: np.ndarray, y: np.ndarray) -> Learned:
        kept = np.exp(-1.0 / self.memory)
        estimate, covariance = kept * learned.estimate, kept**2 * learned.covariance
        covariance.ravel()[:: len(covariance) + 1] += (1.0 - kept**2) * self.prior**2
        gain = covariance @ features
        variance = self.noise**2 + features @ gain
        estimate += np.outer(gain / variance, y - features @ estimate)
        root = gain / np.sqrt(variance)
        covariance -= root[:, None] * root  # exactly symmetric
        return Learned(estimate, covariance, learned.samples + 1)
