"""Multiplier controllers without a model: proportional, integral, PID."""

from __future__ import annotations

from typing import final

import numpy as np

from ctrl.multipliers.base import MultiplierController, gain
from systems.arguments import expect_number, expect_whole

__all__ = ["PID", "Integral", "Proportional"]


@final
class Proportional(MultiplierController):
    """lam = kp max(0, e): the gradient of the quadratic penalty kp/2 max(0, e)^2, hence with a standing violation.

    Args:
        kp: multiplier per unit of violation. shape, maximum: see :class:`MultiplierController`.
    """

    def __init__(
        self, kp: float | np.ndarray, shape: int | tuple[int, ...] = 1, maximum: float | np.ndarray = np.inf
    ) -> None:
        super().__init__(shape, maximum)
        self.kp = gain("kp", kp, self.shape)

    def _memory(self) -> dict[str, np.ndarray]:
        return {"multipliers": self.multipliers}

    def _advance(self, violation: np.ndarray, known: np.ndarray) -> np.ndarray:
        return self.kp * violation

    def start(self, multipliers: np.ndarray) -> None:
        self._place(multipliers)


@final
class Integral(MultiplierController):
    """lam <- clip(lam + ki e, 0, maximum): projected dual ascent with step ki.

    Args:
        ki: multiplier per unit of violation and update. shape, maximum: see :class:`MultiplierController`.
    """

    def __init__(
        self, ki: float | np.ndarray, shape: int | tuple[int, ...] = 1, maximum: float | np.ndarray = np.inf
    ) -> None:
        super().__init__(shape, maximum)
        self.ki = gain("ki", ki, self.shape)

    def _memory(self) -> dict[str, np.ndarray]:
        return {"multipliers": self.multipliers}

    def _advance(self, violation: np.ndarray, known: np.ndarray) -> np.ndarray:
        return self.multipliers + self.ki * violation

    def start(self, multipliers: np.ndarray) -> None:
        self._place(multipliers)


@final
class PID(MultiplierController):
    """The PID-Lagrangian (Stooke, Achiam & Abbeel, 2020) in its positional form:

        I <- clip(I + ki e, 0, maximum)
        P <- filter_p P + (1 - filter_p) e
        C <- filter_d C + (1 - filter_d) e,    D = max(0, C - C of ``delay`` updates ago)
        lam = clip(kp P + I + kd D, 0, maximum)

    P and C start at the first violation, so a run does not begin with a jump. The limits on I are the anti-windup: at
    saturation the multiplier leaves its maximum with the first update in which the constraint holds. Without kp and kd
    this is :class:`Integral`, without ki and kd :class:`Proportional`.

    Args:
        kp, ki, kd: gains. shape, maximum: see :class:`MultiplierController`.
        filter_p, filter_d: share of the old value, in [0, 1). delay: updates between the values D compares.
    """

    def __init__(
        self,
        kp: float | np.ndarray,
        ki: float | np.ndarray,
        kd: float | np.ndarray = 0.0,
        shape: int | tuple[int, ...] = 1,
        maximum: float | np.ndarray = np.inf,
        filter_p: float = 0.0,
        filter_d: float = 0.0,
        delay: int = 1,
    ) -> None:
        super().__init__(shape, maximum)
        self.kp, self.ki, self.kd = (gain(n, v, self.shape) for n, v in (("kp", kp), ("ki", ki), ("kd", kd)))
        for name, share in (("filter_p", filter_p), ("filter_d", filter_d)):
            expect_number(share, name, least=0.0, below=1.0, hint="the share of the old value")
        delay = expect_whole(delay, "delay", least=1, unit="updates")
        self.filter_p, self.filter_d = filter_p, filter_d
        self._integral, self._smooth = np.zeros(self.shape), np.zeros(self.shape)
        self._history = np.zeros((delay, *self.shape))  # C of the last updates, the newest first
        self._begun = np.zeros(self.shape, dtype=bool)

    def _memory(self) -> dict[str, np.ndarray]:
        return {
            "multipliers": self.multipliers,
            "integral": self._integral,
            "smooth": self._smooth,
            "history": self._history,
            "begun": self._begun,
        }

    def _advance(self, violation: np.ndarray, known: np.ndarray) -> np.ndarray:
        first = known & ~self._begun
        self._smooth[first] = violation[first]
        self._history[:, first] = violation[first]
        self._begun |= known
        integral = np.minimum(np.maximum(self._integral + self.ki * violation, 0.0), self.maximum)
        smooth = self.filter_p * self._smooth + (1.0 - self.filter_p) * violation
        level = self.filter_d * self._history[0] + (1.0 - self.filter_d) * violation
        rise = np.maximum(level - self._history[-1], 0.0)
        self._integral[known], self._smooth[known] = integral[known], smooth[known]
        self._history[:, known] = np.concatenate([level[None], self._history[:-1]])[:, known]
        return self.kp * smooth + integral + self.kd * rise

    def start(self, multipliers: np.ndarray) -> None:
        self._place(multipliers)
        self._integral[:] = self.multipliers
        self._smooth[:], self._history[:], self._begun[:] = 0.0, 0.0, False
