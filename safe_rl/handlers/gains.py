"""The multiplier controller of a Lagrangian handler and its settings, frozen so that a run can be described."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from ctrl.multipliers import PID, Integral, MultiplierController, Predictive, ViolationModel
from safe_rl.handlers.dual_adam import DualAdam
from safe_rl.settings import expect_numbers

__all__ = ["DualAdamGains", "Gains", "IntegralGains", "PIDGains", "PredictiveGains"]


class Gains(Protocol):
    """Settings from which a multiplier controller is constructed."""

    def controller(self, constraints: int) -> MultiplierController: ...


@final
@dataclass(frozen=True)
class IntegralGains:
    """Dual ascent; see `ctrl.multipliers.Integral`. Gains are per unit of violation and update."""

    ki: float = 0.1
    maximum: float = 100.0

    def __post_init__(self) -> None:
        expect_numbers(self, ("ki",), least=0.0)
        self.controller(1)  # refuses what it cannot be made of

    def controller(self, constraints: int) -> MultiplierController:
        return Integral(self.ki, constraints, self.maximum)


@final
@dataclass(frozen=True)
class PIDGains:
    """PID-Lagrangian (Stooke, Achiam & Abbeel, 2020); see `ctrl.multipliers.PID`."""

    kp: float = 2.0
    ki: float = 0.1
    kd: float = 1.0
    maximum: float = 100.0
    filter_p: float = 0.8
    filter_d: float = 0.8
    delay: int = 10

    def __post_init__(self) -> None:
        expect_numbers(self, ("kp", "ki", "kd"), least=0.0)
        self.controller(1)  # refuses what it cannot be made of

    def controller(self, constraints: int) -> MultiplierController:
        return PID(self.kp, self.ki, self.kd, constraints, self.maximum, self.filter_p, self.filter_d, delay=self.delay)


@final
@dataclass(frozen=True)
class PredictiveGains:
    """Predictive multipliers on a violation model that is identified while the learner runs; see
    `ctrl.multipliers.Predictive` and `ctrl.multipliers.ViolationModel` for the meaning of the fields.

    The reference, which ends the violation within the horizon, has the same weight as the violation itself. With a
    small weight, the one-sided violation dominates: noise alone raises the multiplier, and within the budget only the
    weight on changes reduces it, so it oscillates between its extremes. The weight on changes spreads a correction over
    about three decisions; the large covariance lets the drift follow a policy that approaches its optimum.
    """

    horizon: int = 7
    r: float = 1.0
    s: float = 10.0
    maximum: float = 30.0
    effect: float = -0.2
    forgetting: float = 0.95
    b_min: float = 0.1
    max_drift_change: float = 0.02
    covariance: float = 2.0
    delay: int = 1
    smoothing: float = 0.5

    def __post_init__(self) -> None:
        self.controller(1)  # refuses what it cannot be made of

    def controller(self, constraints: int) -> MultiplierController:
        model = ViolationModel(
            self.effect,
            constraints,
            self.forgetting,
            self.b_min,
            self.max_drift_change,
            self.covariance,
            self.delay,
            self.smoothing,
        )
        return Predictive(model, self.horizon, 1.0, self.r, self.s, self.maximum)


@final
@dataclass(frozen=True)
class DualAdamGains:
    """Dual ascent by Adam on the logarithm; see `DualAdam`."""

    rate: float = 0.01
    initial: float = 0.6931
    maximum: float = 1e4

    def __post_init__(self) -> None:
        self.controller(1)  # refuses what it cannot be made of

    def controller(self, constraints: int) -> MultiplierController:
        rising = DualAdam(self.rate, constraints, self.maximum)
        rising.start(np.full(constraints, self.initial))
        return rising
