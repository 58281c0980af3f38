"""Poles of a fitted linear plant with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from systems.statistics import LEVEL

__all__ = ["Poles", "nearest_order"]


@final
@dataclass(frozen=True, eq=False)
class Poles:
    """Poles in the plane of z, with 95 % intervals of their real and imaginary parts.

    Args:
        values: (n,) complex.
        low, high: (n,) complex: ends of the intervals of both parts.
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def hold(self, poles: np.ndarray) -> np.ndarray:
        """Which of other poles, matched to the nearest of these, lie in both intervals, (n,) of bool in the order of
        ``values``."""
        other = poles[nearest_order(self.values, poles)]
        real = (self.low.real <= other.real) & (other.real <= self.high.real)
        return np.asarray(real & (self.low.imag <= other.imag) & (other.imag <= self.high.imag))

    def __str__(self) -> str:
        return "\n".join(
            f"  pole {value:.4f} ({LEVEL:.0%}: {low:.4f} to {high:.4f})"
            for value, low, high in zip(self.values, self.low, self.high, strict=True)
        )


def nearest_order(poles: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The order in which ``others`` (n,) are matched to ``poles`` (n,) with the least sum of distances."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    return np.asarray(linear_sum_assignment(np.abs(poles[:, None] - others[None, :]))[1])
