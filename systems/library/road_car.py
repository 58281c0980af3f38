"""Car along a road of constant curvature whose forces the friction limits, in three path coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca

from systems.parameters import nonnegative, parameter, positive
from systems.plant import Plant
from systems.signals import Vector, signals

__all__ = ["RoadCar"]


@dataclass(frozen=True)
class RoadCar(Plant):
    """Point mass that moves where it heads, in the coordinates of a path of constant curvature.

    progress' = speed cos(angle) / (1 - curvature offset)
    offset'   = speed sin(angle)
    angle'    = turning / speed - curvature progress'
    speed'    = acceleration

    ``turning`` is the acceleration to the left that the tyres give. Both accelerations are limited by shares of
    friction times gravity whose squares add up to less than 1, so that together they stay within the friction circle.
    The model is reduced: it has neither side slip nor inertia in yaw, nor a limit on how fast the wheels are steered.
    """

    friction: float = positive(1.0)  # -, of tyres and road
    curvature: float = parameter(0.0)  # 1/m, positive to the left
    turning_share: float = nonnegative(0.9)  # -, of friction times gravity, sideways
    braking_share: float = nonnegative(0.4)  # -, of friction times gravity, along the road
    gravity: float = positive(9.81)  # m/s^2

    state = signals("offset [m]", "angle [rad]", "speed [m/s]")
    input = signals("turning [m/s^2]", "acceleration [m/s^2]")

    def progress(self, x: Vector) -> Any:
        """How fast the car advances along the path, in m/s."""
        return x.speed * ca.cos(x.angle) / (1 - self.curvature * x.offset)

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return (
            x.speed * ca.sin(x.angle),
            u.turning / x.speed - self.curvature * self.progress(x),
            u.acceleration,
        )

    def limits(self) -> Mapping[str, tuple[float, float]]:
        grip = self.friction * self.gravity
        turning, braking = self.turning_share * grip, self.braking_share * grip
        return {"turning": (-turning, turning), "acceleration": (-braking, braking)}
