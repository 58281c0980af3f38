"""Quadrotor in space with a quaternion attitude, and the task of hovering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from systems.constraints import Box
from systems.costs import Quadratic
from systems.distributions import Uniform
from systems.drawing.shapes import Drawing, segment
from systems.error_coordinates import in_error_coordinates
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["Quadrotor", "quadrotor", "quadrotor_error_coordinates"]

NORM_RATE = 1.0
"""1/s. A number without physics: how strongly the quaternion is drawn back to norm 1, see :class:`Quadrotor`."""


@dataclass(frozen=True)
class Quadrotor(Plant):
    """Rigid body with four rotors in an X; body axes forward, left, up; world axis z up; no drag.

    p' = v
    q' = 1/2 q * (0, omega) + k (1 - |q|^2) q
    m v' = R(q) (0, 0, sum of the thrusts) - (0, 0, m g) + wind
    J omega' = torque - omega x J omega

    q = (qw, qx, qy, qz) turns body into world coordinates, p, v and the wind are in world and omega in body coordinates
    (Newton and Euler; quaternion kinematics as in Diebel, 2006). With d = arm / sqrt(2) the torques are

    roll  = d (front_left + back_left - front_right - back_right)
    pitch = d (back_left + back_right - front_left - front_right)
    yaw   = drag_ratio (front_right + back_left - front_left - back_right)

    Normalisation: nothing renormalises the state. The term in k (``NORM_RATE``) vanishes on |q| = 1, so the trajectory
    there is exact, and it makes the unit quaternions attractive: integration error decays instead of piling up, and
    the linearised plant has no uncontrollable mode at the border of stability. R(q) is written for a unit quaternion.

    The default values describe the Crazyflie 2 as in the ``cf2x`` model of gym-pybullet-drones (Panerati et al., 2021).
    """

    mass: float = positive(0.027)  # kg
    inertia_x: float = positive(1.4e-5)  # kg m^2
    inertia_y: float = positive(1.4e-5)  # kg m^2
    inertia_z: float = positive(2.17e-5)  # kg m^2
    arm: float = positive(0.0397)  # m, centre of mass to rotor
    drag_ratio: float = nonnegative(7.94e-12 / 3.16e-10)  # m, torque about its axis over thrust of a rotor
    gravity: float = nonnegative(9.81)  # m/s^2
    thrust_ratio: float = positive(2.25)  # -, largest thrust of all rotors over the weight

    state = signals(
        "px [m]", "py [m]", "pz [m]", "qw [-]", "qx [-]", "qy [-]", "qz [-]",
        "vx [m/s]", "vy [m/s]", "vz [m/s]", "roll_rate [rad/s]", "pitch_rate [rad/s]", "yaw_rate [rad/s]",
    )  # fmt: skip
    input = signals("front_left [N]", "back_left [N]", "back_right [N]", "front_right [N]")
    disturbance = signals("wind_x [N]", "wind_y [N]", "wind_z [N]")

    @property
    def hover_thrust(self) -> float:
        """Thrust of each rotor at rest, N."""
        return 0.25 * self.mass * self.gravity

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        qw, qx, qy, qz = x.qw, x.qx, x.qy, x.qz
        p, q, r = x.roll_rate, x.pitch_rate, x.yaw_rate
        lift = (u.front_left + u.back_left + u.back_right + u.front_right) / self.mass
        d = self.arm * 0.5**0.5
        roll = d * (u.front_left + u.back_left - u.front_right - u.back_right)
        pitch = d * (u.back_left + u.back_right - u.front_left - u.front_right)
        yaw = self.drag_ratio * (u.front_right + u.back_left - u.front_left - u.back_right)
        pull = NORM_RATE * (1.0 - (qw**2 + qx**2 + qy**2 + qz**2))
        jx, jy, jz = self.inertia_x, self.inertia_y, self.inertia_z
        return (
            x.vx,
            x.vy,
            x.vz,
            0.5 * (-qx * p - qy * q - qz * r) + pull * qw,
            0.5 * (qw * p + qy * r - qz * q) + pull * qx,
            0.5 * (qw * q + qz * p - qx * r) + pull * qy,
            0.5 * (qw * r + qx * q - qy * p) + pull * qz,
            2.0 * (qx * qz + qw * qy) * lift + w.wind_x / self.mass,
            2.0 * (qy * qz - qw * qx) * lift + w.wind_y / self.mass,
            (1.0 - 2.0 * (qx**2 + qy**2)) * lift - self.gravity + w.wind_z / self.mass,
            (roll + (jy - jz) * q * r) / jx,
            (pitch + (jz - jx) * r * p) / jy,
            (yaw + (jx - jy) * p * q) / jz,
        )

    def limits(self) -> Mapping[str, tuple[float, float]]:
        most = 0.25 * self.thrust_ratio * self.mass * self.gravity
        return dict.fromkeys(self.input.names, (0.0, most))

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From the side: the four arms, and the thrusts of their rotors as bars."""
        w, i, j, k = (float(value) for value in x[3:7])
        side = np.array([0, 2])  # of the world
        ahead = np.array([1 - 2 * (j**2 + k**2), 2 * (i * j + w * k), 2 * (i * k - w * j)])[side]
        left = np.array([2 * (i * j - w * k), 1 - 2 * (i**2 + k**2), 2 * (j * k + w * i)])[side]
        above = np.array([2 * (i * k + w * j), 2 * (j * k - w * i), 1 - 2 * (i**2 + j**2)])[side]
        centre, d, hover = x[side], self.arm * 0.5**0.5, max(self.hover_thrust, 1e-9)
        shapes = []
        for (forward, sideways), thrust in zip(((1, 1), (-1, 1), (-1, -1), (1, -1)), u, strict=True):
            rotor = centre + d * (forward * ahead + sideways * left)
            shapes.append(segment(centre, rotor))
            shapes.append(segment(rotor, rotor + self.arm * float(thrust) / hover * above, "force"))
        return Drawing(shapes, across="px", up="pz")


def quadrotor() -> Task:
    """Hover level at the origin in gusts, from initial states near it."""
    plant = Quadrotor()
    reach = {"px": 0.5, "py": 0.5, "pz": 0.5, "qx": 0.1, "qy": 0.1, "qz": 0.1, "vx": 0.3, "vy": 0.3, "vz": 0.3}
    weights = {"px": 1.0, "py": 1.0, "pz": 1.0, "qx": 1.0, "qy": 1.0, "qz": 0.5, "vx": 0.2, "vy": 0.2, "vz": 0.2}
    rates = dict.fromkeys(("roll_rate", "pitch_rate", "yaw_rate"), 0.01)
    return Task(
        name="quadrotor",
        plant=plant,
        dt=0.02,
        steps=250,
        cost=Quadratic(Q=weights | rates, R=dict.fromkeys(plant.input.names, 10.0)),
        reference=SetPoint(x={"qw": 1.0}, u=dict.fromkeys(plant.input.names, plant.hover_thrust)),
        initial=Uniform({name: -value for name, value in reach.items()} | {"qw": 1.0}, reach | {"qw": 1.0}),
        disturbance=Uniform(
            {"wind_x": -0.005, "wind_y": -0.005, "wind_z": -0.005}, {"wind_x": 0.005, "wind_y": 0.005, "wind_z": 0.005}
        ),
        domain=Box("model", {"px": (-3.0, 3.0), "py": (-3.0, 3.0), "pz": (-3.0, 3.0), "qw": (0.0, 1.5)}),
        tolerance={"px": 0.1, "py": 0.1, "pz": 0.1, "qx": 0.05, "qy": 0.05, "qz": 0.05},
    )


def quadrotor_error_coordinates() -> Task:
    """The same, its attitude by the three components of its error: the coordinates to prove something in."""
    return in_error_coordinates(quadrotor(), ("qw", "qx", "qy", "qz"))
