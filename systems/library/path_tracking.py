"""Kinematic car following a circle at constant speed, in two path coordinates; also within a lane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.constraints import Box
from systems.costs import Quadratic
from systems.distributions import Uniform
from systems.drawing.shapes import Drawing, box, segment
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["PathTracking", "lane_bound", "path_tracking"]


@dataclass(frozen=True)
class PathTracking(Plant):
    """Distance from and angle to a circle of radius R, driven at speed v with wheelbase L.

    offset'  = v sin(angle)
    angle'   = v steering / L - cos(angle) / (R / v - sin(angle))

    ``steering`` is the tangent of the front wheels' angle. Equations and default values are those of the published code
    of Yang, Dai, Shi, Hsieh, Tedrake & Zhang (2024), so that certificates can be compared. The circle's own geometry
    has v cos(angle) / (R - offset) for the second term; both equal v / R on the circle.
    """

    speed: float = positive(2.0)  # m/s
    wheelbase: float = positive(1.0)  # m
    radius: float = positive(10.0)  # m
    max_steering: float = nonnegative(0.84)  # -, about the tangent of 40 degrees

    state = signals("offset [m]", "angle [rad]")
    input = signals("steering [-]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        turning = ca.cos(x.angle) / (self.radius / self.speed - ca.sin(x.angle))
        return self.speed * ca.sin(x.angle), self.speed * u.steering / self.wheelbase - turning

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"steering": (-self.max_steering, self.max_steering)}

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From above, along the path, which is drawn straight: the car and its front wheel."""
        angle, wheel = float(x[1]), float(x[1] + np.arctan(u[0]))
        rear = np.array([0.0, float(x[0])])
        along, turned = (np.array([np.cos(a), np.sin(a)]) for a in (angle, wheel))
        front = rear + self.wheelbase * along
        return Drawing(
            [
                segment((-100.0, 0.0), (100.0, 0.0), "ground"),
                box(rear + 0.5 * self.wheelbase * along, 1.4 * self.wheelbase, 0.6 * self.wheelbase, angle),
                segment(front, front + 0.4 * self.wheelbase * turned, "force"),
            ],
            up="offset",
        )


def path_tracking() -> Task:
    """Reach the circle and stay on it; Euler steps of 50 ms; domain of the published certificates, 3 m and 3 rad."""
    plant = PathTracking()
    return Task(
        name="path-tracking",
        plant=plant,
        dt=0.05,
        steps=150,
        cost=Quadratic(Q={"offset": 1.0, "angle": 1.0}, R={"steering": 10.0}),
        reference=SetPoint(u={"steering": plant.wheelbase / plant.radius}),
        initial=Uniform({"offset": -1.0, "angle": -0.5}, {"offset": 1.0, "angle": 0.5}),
        domain=Box("model", {"offset": (-3.0, 3.0), "angle": (-3.0, 3.0)}),
        tolerance={"offset": 0.1, "angle": 0.1},
        integrator="euler",
    )


def lane_bound() -> Task:
    """Return to the circle smoothly within a lane of 1 m on either side, from initial states that head outwards.

    Steering is expensive, so the cheapest way back swings out of the lane; turning in at once keeps to it from every
    start.
    """
    plant = PathTracking()
    return Task(
        name="lane-bound",
        plant=plant,
        dt=0.05,
        steps=150,
        cost=Quadratic(Q={"offset": 0.1, "angle": 0.3}, R={"steering": 30.0}),
        reference=SetPoint(u={"steering": plant.wheelbase / plant.radius}),
        constraints=(Box("lane", {"offset": (-1.0, 1.0)}).budget(1.0),),
        initial=Uniform({"offset": -0.8, "angle": -0.45}, {"offset": 0.8, "angle": 0.45}),
        domain=Box("model", {"offset": (-3.0, 3.0), "angle": (-3.0, 3.0)}),
        tolerance={"offset": 0.5, "angle": 0.2},
        discount=0.97,
        integrator="euler",
    )
