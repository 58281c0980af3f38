"""Online gradient descent with projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from systems.arguments import expect_number
from systems.identification.online.rule import Learned, OnlineRule, projected

__all__ = ["ProjectedGradient"]


@final
@dataclass(frozen=True)
class ProjectedGradient(OnlineRule):
    """Online gradient descent on the squared error, projected onto a ball (Zinkevich, 2003): one step,
    a <- proj(a + step (y - a' phi) phi), per sample.

    It costs the least, follows changes, and does not average noise.

    Args:
        step: from 0 to 1, where no step increases the error at its own sample; default: 0.5.

    Raises:
        InvalidValue: a step that is not in this range.
    """

    step: float = 0.5

    def __post_init__(self) -> None:
        expect_number(self.step, "step", above=0.0, most=1.0)

    def start(self, count: int, outputs: int) -> Learned:
        return Learned(np.zeros((count, outputs)), np.zeros((0, 0)))

    def update(self, learned: Learned, features: np.ndarray, y: np.ndarray) -> Learned:
        error = y - features @ learned.estimate
        moved = projected(learned.estimate + self.step * np.outer(features, error))
        return Learned(moved, learned.covariance, learned.samples + 1)
