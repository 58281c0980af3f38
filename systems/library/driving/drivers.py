"""Models of the other drivers: car following by the intelligent driver model, lane changes by MOBIL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import casadi as ca

from systems.parameters import expect_parameters, nonnegative, positive

__all__ = ["Driver"]


@dataclass(frozen=True)
class Driver:
    """Parameters common to all drivers of a stream; their desired speeds are states of the traffic.

    Intelligent driver model (Treiber, Hennecke & Helbing, 2000), with v the speed, v0 the desired one, s the gap from
    bumper to bumper and dv the speed of approach:

        v' = a (1 - (v / v0)^4 - (s* / s)^2)        s* = s0 + max(0, v T + v dv / (2 sqrt(a b)))

    MOBIL (Kesting, Treiber & Helbing, 2007): change lanes if the new follower need not brake harder than
    ``safe_braking``, and if own gain and others' gain, the latter weighted by politeness, exceed a threshold.
    """

    headway: float = nonnegative(1.2)  # s, T
    standstill: float = positive(2.0)  # m, s0
    acceleration: float = positive(1.5)  # m/s^2, a
    braking: float = positive(2.0)  # m/s^2, b, comfortable
    hardest_braking: float = positive(8.0)  # m/s^2, what brakes and tyres can do
    politeness: float = nonnegative(0.0)  # -, weight of others' gain; from 0.1 on, faster followers are let by
    threshold: float = nonnegative(0.2)  # m/s^2, least gain for which a driver changes lanes
    safe_braking: float = nonnegative(3.0)  # m/s^2
    lateral_speed: float = positive(1.2)  # m/s, of a lane change

    def __post_init__(self) -> None:
        expect_parameters(self, "Driver")

    def brake(self, speed: Any, approach: Any, gap: Any) -> Any:
        """(s* / s)^2, what is given up of the acceleration for the vehicle in front, as a share of a."""
        kinetic = speed * (self.headway + approach / (2.0 * (self.acceleration * self.braking) ** 0.5))
        return ((self.standstill + ca.fmax(0.0, kinetic)) / gap) ** 2

    def follow(self, speed: Any, desired: Any, brake: Any) -> Any:
        """v' of the intelligent driver model, m/s^2, before the brakes' limit."""
        return self.acceleration * (1.0 - ((speed / desired) ** 2) ** 2 - brake)

    def apply(self, acceleration: Any) -> Any:
        """The acceleration that the car achieves: at most a, at least the hardest braking."""
        return ca.fmin(ca.fmax(acceleration, -self.hardest_braking), self.acceleration)

    def steady_gap(self, speed: float, desired: float) -> float:
        """The gap, m, at which a stream at this speed stays as it is (Treiber, Hennecke & Helbing, 2000)."""
        return float((self.standstill + speed * self.headway) / (1.0 - (speed / desired) ** 4) ** 0.5)

    def steady_desire(self, speed: float, gap: float) -> float:
        """The desired speed, m/s, for which a stream at this speed and gap stays as it is."""
        need = (self.standstill + speed * self.headway) / gap
        return float(speed / (1.0 - need**2) ** 0.25)
