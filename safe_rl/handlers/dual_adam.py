"""Dual ascent with Adam on the logarithm of the multiplier, as off-policy Lagrangian learners do it."""

from __future__ import annotations

from typing import final

import numpy as np

from ctrl.multipliers import MultiplierController
from systems.arguments import expect_number

__all__ = ["DualAdam"]

_BETA, _EPSILON = (0.9, 0.999), 1e-8
_LEAST = 1e-8  # a logarithm cannot start from zero


@final
class DualAdam(MultiplierController):
    """lam = exp(l), and l descends -lam e by Adam (Kingma & Ba, 2015); as in Wu et al. (2024, arXiv 2401.14758).

    Args:
        rate: Adam step of l.
        shape, maximum: see `MultiplierController`.
    """

    def __init__(self, rate: float, shape: int | tuple[int, ...] = 1, maximum: float | np.ndarray = np.inf) -> None:
        super().__init__(shape, maximum)
        expect_number(rate, "rate", above=0.0, hint="such as 3e-4")
        self.rate = rate
        self._log, self._first, self._second, self._count = (np.zeros(self.shape) for _ in range(4))
        self.start(np.full(self.shape, _LEAST))

    def _memory(self) -> dict[str, np.ndarray]:
        return {
            "multipliers": self.multipliers,
            "log": self._log,
            "first": self._first,
            "second": self._second,
            "count": self._count,
        }

    def _advance(self, violation: np.ndarray, known: np.ndarray) -> np.ndarray:
        gradient = -np.exp(self._log) * violation
        count = self._count + 1.0
        first = _BETA[0] * self._first + (1.0 - _BETA[0]) * gradient
        second = _BETA[1] * self._second + (1.0 - _BETA[1]) * gradient**2
        step = first / (1.0 - _BETA[0] ** count) / (np.sqrt(second / (1.0 - _BETA[1] ** count)) + _EPSILON)
        with np.errstate(divide="ignore"):
            log = np.minimum(np.maximum(self._log - self.rate * step, np.log(_LEAST)), np.log(self.maximum))
        for memory, value in (
            (self._count, count),
            (self._first, first),
            (self._second, second),
            (self._log, log),
        ):
            memory[known] = value[known]
        return np.exp(self._log)

    def start(self, multipliers: np.ndarray) -> None:
        self._place(multipliers)
        self._log[:] = np.log(np.maximum(self.multipliers, _LEAST))
        self._first[:], self._second[:], self._count[:] = 0.0, 0.0, 0.0
