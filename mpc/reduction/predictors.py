"""Predictions of which chance constraints will be active: they decide how long a solve takes, never its result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

from systems.content import ByContent

__all__ = ["ConstraintPredictor", "EveryConstraint", "LastActiveSet", "Situation"]


@final
@dataclass(frozen=True, eq=False)
class Situation:
    """What a prediction can be based on.

    Args:
        x: (n,), measured state.
        probabilities: by agent, of its modes.
        shape: number of rows of chance constraints, joint modes, and samples; cones are numbered in this order.
        active: numbers of the cones that were active in the last solve; empty before the first.
        elapsed: samples since then.
    """

    x: np.ndarray
    probabilities: tuple[np.ndarray, ...]
    shape: tuple[int, int, int]
    active: np.ndarray
    elapsed: int


class ConstraintPredictor(ByContent, ABC):
    """Predicts the active cones of a sample. Whatever is missing is added by constraint generation."""

    def expect_fits(self, situation: Situation) -> None:  # most fit every controller
        """Raises InvalidValue if it is not made for a controller with such situations."""

    @abstractmethod
    def predict(self, situation: Situation) -> np.ndarray:
        """Numbers of the cones that are expected to be active."""


@final
@dataclass(frozen=True, eq=False)
class LastActiveSet(ConstraintPredictor):
    """The cones that were active in the last solve, at the times that they belong to."""

    def predict(self, situation: Situation) -> np.ndarray:
        i, j, t = np.unravel_index(situation.active, situation.shape)
        t = t - situation.elapsed
        ahead = t >= 0
        return np.ravel_multi_index((i[ahead], j[ahead], t[ahead]), situation.shape)


@final
@dataclass(frozen=True, eq=False)
class EveryConstraint(ConstraintPredictor):
    """All cones: the full program in one round, for comparison."""

    def predict(self, situation: Situation) -> np.ndarray:
        return np.arange(np.prod(situation.shape))
