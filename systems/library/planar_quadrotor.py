"""Quadrotor moving in a vertical plane, and the task of hovering."""

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

__all__ = ["PlanarQuadrotor", "planar_quadrotor"]


@dataclass(frozen=True)
class PlanarQuadrotor(Plant):
    """Rigid body with two rotors; a positive angle tilts it to the left, so that its thrust pulls to negative x.

    m x'' = -(right + left) sin(angle) + wind
    m z'' =  (right + left) cos(angle) - m g
    J angle'' = arm (right - left)

    The default values are the two-dimensional quadrotor used to certify neural controllers (Yang, Dai, Shi, Hsieh,
    Tedrake & Zhang, 2024): each rotor lifts at most 1.25 m g.
    """

    mass: float = positive(0.486)  # kg
    inertia: float = positive(0.00383)  # kg m^2
    arm: float = positive(0.25)  # m, centre of mass to rotor
    gravity: float = nonnegative(9.81)  # m/s^2
    thrust_ratio: float = positive(1.25)  # -, largest thrust of one rotor over the weight

    state = signals("x [m]", "z [m]", "angle [rad]", "x_rate [m/s]", "z_rate [m/s]", "angle_rate [rad/s]")
    input = signals("right [N]", "left [N]")
    disturbance = signals("wind [N]")

    @property
    def hover_thrust(self) -> float:
        """Thrust of each rotor at rest, N."""
        return 0.5 * self.mass * self.gravity

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        thrust = u.right + u.left
        return (
            x.x_rate,
            x.z_rate,
            x.angle_rate,
            (w.wind - thrust * ca.sin(x.angle)) / self.mass,
            thrust * ca.cos(x.angle) / self.mass - self.gravity,
            self.arm * (u.right - u.left) / self.inertia,
        )

    def limits(self) -> Mapping[str, tuple[float, float]]:
        most = self.thrust_ratio * self.mass * self.gravity
        return {"right": (0.0, most), "left": (0.0, most)}

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From the side: the body with its two rotors, and their thrusts as bars."""
        centre, angle = x[:2], float(x[2])
        along, up = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        most = self.thrust_ratio * self.mass * self.gravity
        shapes = [box(centre, 0.5 * self.arm, 0.3 * self.arm, angle)]
        for side, thrust in ((1.0, u[0]), (-1.0, u[1])):
            rotor = centre + side * self.arm * along
            shapes.append(segment(centre, rotor))
            shapes.append(segment(rotor, rotor + 1.5 * self.arm * float(thrust) / max(most, 1e-9) * up, "force"))
        return Drawing(shapes, across="x", up="z")


def planar_quadrotor() -> Task:
    """Hover at the origin in gusts, from initial states near it; thrust is nonnegative."""
    plant = PlanarQuadrotor()
    reach = {"x": 0.5, "z": 0.5, "angle": 0.3, "x_rate": 0.5, "z_rate": 0.5, "angle_rate": 0.5}
    return Task(
        name="planar-quadrotor",
        plant=plant,
        dt=0.02,
        steps=250,
        cost=Quadratic(
            Q={"x": 1.0, "z": 1.0, "angle": 0.5, "x_rate": 0.1, "z_rate": 0.1, "angle_rate": 0.01},
            R={"right": 0.1, "left": 0.1},
        ),
        reference=SetPoint(u={"right": plant.hover_thrust, "left": plant.hover_thrust}),
        initial=Uniform({name: -value for name, value in reach.items()}, reach),
        disturbance=Uniform({"wind": -0.05}, {"wind": 0.05}),
        domain=Box("model", {"x": (-3.0, 3.0), "z": (-3.0, 3.0), "angle": (-1.57, 1.57)}),
        tolerance={"x": 0.1, "z": 0.1, "angle": 0.1},
    )
