"""A quadcopter of 28 g in Euler angles, and the task of flying a figure of eight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, sin
from typing import Any

import casadi as ca
import numpy as np

from systems.costs import Quadratic
from systems.distributions import Fixed
from systems.drawing.shapes import Drawing, segment
from systems.inputs import limit_changes
from systems.parameters import positive
from systems.plant import Plant
from systems.references import Trajectory
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["Quadcopter", "quadcopter_figure_eight"]

INERTIA = 1e-6 * np.array(
    [[16.571710, 0.830806, 0.718277], [0.830806, 16.655602, 1.800197], [0.718277, 1.800197, 29.261652]]
)  # kg m^2, of the Crazyflie 2.0 (Förster, 2015)


@dataclass(frozen=True)
class Quadcopter(Plant):
    """m p'' = R (0, 0, F) - m g,  J w' = D f - w x J w,  with R = R_z(yaw) R_y(pitch) R_x(roll) and body rates w.

    f are the thrusts of the rotors, F is their sum. The default values are those of the quadcopter in the paper on
    do-mpc (Fiedler et al., 2023), a Crazyflie 2.0. The code published with it takes R w for the derivative of (yaw,
    pitch, roll), which are not Euler angles of the attitude R; here the angles have their kinematics.
    """

    mass: float = positive(0.028)  # kg
    arm: float = positive(0.040)  # m
    drag: float = positive(0.005964552)  # m, torque about the axis of a rotor per thrust
    gravity: float = positive(9.81)  # m/s^2
    max_thrust: float = positive(0.3)  # N, per rotor

    state = signals(
        "px [m]", "py [m]", "pz [m]", "vx [m/s]", "vy [m/s]", "vz [m/s]", "yaw [rad]", "pitch [rad]", "roll [rad]",
        "rate_x [rad/s]", "rate_y [rad/s]", "rate_z [rad/s]",
    )  # fmt: skip
    input = signals("thrust_1 [N]", "thrust_2 [N]", "thrust_3 [N]", "thrust_4 [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        (sy, sp, sr), (cy, cp, cr) = ((f(x.yaw), f(x.pitch), f(x.roll)) for f in (ca.sin, ca.cos))
        upward = ca.vertcat(cy * sp * cr + sy * sr, sy * sp * cr - cy * sr, cp * cr)
        side = self.arm * sin(pi / 4.0)
        f1, f2, f3, f4 = u
        torque = ca.vertcat(side * (f1 + f2 - f3 - f4), side * (-f1 + f2 - f3 + f4), self.drag * (f1 - f2 - f3 + f4))
        rates = ca.vertcat(x.rate_x, x.rate_y, x.rate_z)
        turned = (x.rate_y * sr + x.rate_z * cr) / cp
        return ca.vertcat(
            x.vx, x.vy, x.vz,
            upward * (f1 + f2 + f3 + f4) / self.mass - ca.vertcat(0.0, 0.0, self.gravity),
            turned, x.rate_y * cr - x.rate_z * sr, x.rate_x + turned * sp,
            ca.DM(np.linalg.inv(INERTIA)) @ (torque - ca.cross(rates, ca.DM(INERTIA) @ rates)),
        )  # fmt: skip

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return dict.fromkeys(self.input.names, (0.0, self.max_thrust))

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From above: the four arms, and the direction ahead as a bar."""
        (sy, sp, sr), (cy, cp, cr) = ((f(x[6:9])) for f in (np.sin, np.cos))
        ahead, left = np.array([cy * cp, sy * cp]), np.array([cy * sp * sr - sy * cr, sy * sp * sr + cy * cr])
        centre, side = x[:2], self.arm * sin(pi / 4.0)
        ends = [centre + side * (a * ahead + b * left) for a, b in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
        shapes = [*(segment(centre, end) for end in ends), segment(centre, centre + 1.5 * self.arm * ahead, "force")]
        return Drawing(shapes, across="px", up="py")


def quadcopter_figure_eight() -> Task:
    """Fly from rest on a figure of eight, 2 m wide and at a height of 1 m, in 200 samples of 0.05 s.

    Trajectory, limits, weights and sample time are those of the paper on do-mpc (Fiedler et al., 2023), which predicts
    30 samples; nothing disturbs the flight here.
    """
    plant, dt, steps = Quadcopter(), 0.05, 200
    t = dt * np.arange(steps + 1)
    path = np.column_stack([np.sin(t), np.sin(t) * np.cos(t), np.ones_like(t)])
    hover = np.full((steps + 1, 4), 0.25 * plant.mass * plant.gravity)
    weights = {
        **dict.fromkeys(("px", "py", "pz", "yaw", "pitch", "roll"), 1.0),
        **dict.fromkeys(("vx", "vy", "vz", "rate_x", "rate_y", "rate_z"), 0.1),
    }
    task = Task(
        name="quadcopter-figure-eight",
        plant=plant,
        dt=dt,
        steps=steps,
        cost=Quadratic(Q=weights, R={}, P={name: 10.0 * weight for name, weight in weights.items()}),
        reference=Trajectory(np.hstack([path, np.zeros((steps + 1, 9))]), hover),
        initial=Fixed([0.0] * 12),
        tolerance={"px": 0.2, "py": 0.2, "pz": 0.2},
        substeps=2,
    )
    names = plant.input.names
    return limit_changes(task, weights=dict.fromkeys(names, 10.0), previous=dict.fromkeys(names, 0.0))
