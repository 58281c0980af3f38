"""What a rule learns from one sample after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

__all__ = ["RADIUS", "Learned", "OnlineRule"]

RADIUS = np.sqrt(0.5)
"""Largest norm of the weights of one output. Features of a squared norm of at most 2 then give at most 1."""


@final
@dataclass(frozen=True, eq=False)
class Learned:
    """The state of a rule; nothing else is needed to go on, to the bit.

    Args:
        estimate: (count, outputs).
        covariance: (count, count) of the weights of each output, in the unit of their squares; (0, 0) for a rule that
            has none.
        samples: from which it was learned.
    """

    estimate: np.ndarray
    covariance: np.ndarray
    samples: int = 0

    @property
    def weights(self) -> np.ndarray:
        """The estimate of each output projected onto the ball of radius ``RADIUS``, (count, outputs)."""
        return projected(self.estimate)


class OnlineRule(ABC):
    """A rule that learns weights a of features phi, so that y = a' phi, one sample at a time."""

    @abstractmethod
    def start(self, count: int, outputs: int) -> Learned:
        """Before any sample."""

    @abstractmethod
    def update(self, learned: Learned, features: np.ndarray, y: np.ndarray) -> Learned:
        """After one more sample: features (count,), whose squares sum to at most 2, and y (outputs,), within +-1."""


def projected(weights: np.ndarray) -> np.ndarray:
    """The nearest point, column by column, in the ball of radius ``RADIUS``."""
    norms = np.sqrt((weights**2).sum(axis=0))
    return np.asarray(weights * (RADIUS / np.maximum(norms, RADIUS)))
