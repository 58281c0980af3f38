"""A double pendulum on a cart that has to pass below an obstacle, swung up at one place and moved to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi
from typing import Any

import casadi as ca
import numpy as np

from systems.constraints import Inequality
from systems.costs import Nonlinear
from systems.distributions import Fixed
from systems.drawing.shapes import Drawing, box, segment
from systems.inputs import limit_changes
from systems.parameters import positive
from systems.plant import Plant
from systems.references import Trajectory
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["DoublePendulum", "double_pendulum_obstacle"]


@dataclass(frozen=True)
class DoublePendulum(Plant):
    """M(x) q'' = f(x, u) for the cart and two rods, q = (position, angle_1, angle_2), angles from upright.

    The default values are those of the example DIP in the gallery of do-mpc. It gives each rod the moment of inertia
    m l^2 / 3 about its centre, l being half of its length, and solves for the accelerations as algebraic states.
    """

    cart_mass: float = positive(0.6)  # kg
    mass_1: float = positive(0.2)  # kg
    mass_2: float = positive(0.2)  # kg
    length_1: float = positive(0.5)  # m
    length_2: float = positive(0.5)  # m
    inertia_1: float = positive(0.2 * 0.25**2 / 3.0)  # kg m^2, about the centre
    inertia_2: float = positive(0.2 * 0.25**2 / 3.0)  # kg m^2
    gravity: float = positive(9.80665)  # m/s^2
    max_force: float = positive(4.0)  # N

    state = signals("position [m]", "angle_1 [rad]", "angle_2 [rad]", "speed [m/s]", "rate_1 [rad/s]", "rate_2 [rad/s]")
    input = signals("force [N]")

    def mass_matrix(self, x: Vector) -> Any:
        """M(x), (3, 3)."""
        c1, c2, c12 = ca.cos(x.angle_1), ca.cos(x.angle_2), ca.cos(x.angle_1 - x.angle_2)
        half_1, half_2 = 0.5 * self.length_1, 0.5 * self.length_2
        moment_1, moment_2 = self.mass_1 * half_1 + self.mass_2 * self.length_1, self.mass_2 * half_2
        shared = moment_2 * self.length_1 * c12
        turned = self.mass_1 * half_1**2 + self.mass_2 * self.length_1**2 + self.inertia_1
        return ca.vertcat(
            ca.horzcat(self.cart_mass + self.mass_1 + self.mass_2, moment_1 * c1, moment_2 * c2),
            ca.horzcat(moment_1 * c1, turned, shared),
            ca.horzcat(moment_2 * c2, shared, moment_2 * half_2 + self.inertia_2),
        )

    def forces(self, x: Vector, u: Vector) -> Any:
        """f(x, u), (3,): the cart's force, weights, and what the rates contribute."""
        s1, s2, s12 = ca.sin(x.angle_1), ca.sin(x.angle_2), ca.sin(x.angle_1 - x.angle_2)
        moment_1 = 0.5 * self.mass_1 * self.length_1 + self.mass_2 * self.length_1
        moment_2 = 0.5 * self.mass_2 * self.length_2
        shared = moment_2 * self.length_1 * s12
        return ca.vertcat(
            moment_1 * x.rate_1**2 * s1 + moment_2 * x.rate_2**2 * s2 + u.force,
            moment_1 * self.gravity * s1 - shared * x.rate_2**2,
            moment_2 * self.gravity * s2 + shared * x.rate_1**2,
        )

    def kinetic_energy(self, x: Vector) -> Any:
        """In J."""
        rates = ca.vertcat(x.speed, x.rate_1, x.rate_2)
        return 0.5 * ca.bilin(self.mass_matrix(x), rates, rates)

    def potential_energy(self, x: Vector) -> Any:
        """In J, zero where both rods are horizontal."""
        moment_1 = 0.5 * self.mass_1 * self.length_1 + self.mass_2 * self.length_1
        moment_2 = 0.5 * self.mass_2 * self.length_2
        return self.gravity * (moment_1 * ca.cos(x.angle_1) + moment_2 * ca.cos(x.angle_2))

    def joints(self, x: Vector) -> tuple[tuple[Any, Any], ...]:
        """Horizontal and vertical positions of the pivot, the joint and the tip, in m."""
        across, up = x.position + self.length_1 * ca.sin(x.angle_1), self.length_1 * ca.cos(x.angle_1)
        tip = across + self.length_2 * ca.sin(x.angle_2), up + self.length_2 * ca.cos(x.angle_2)
        return (x.position, 0.0), (across, up), tip

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return ca.vertcat(x.speed, x.rate_1, x.rate_2, ca.solve(self.mass_matrix(x), self.forces(x, u)))

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"force": (-self.max_force, self.max_force)}

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From the side: the cart, two rods, and the force as a bar."""
        joints = self.joints(Vector(self.state, ca.DM(x), "state"))
        pivot, joint, tip = (np.array([float(a), float(b)]) for a, b in joints)
        end = pivot[0] + 0.5 * float(u[0]) / self.max_force
        return Drawing(
            [
                segment((-100.0, 0.0), (100.0, 0.0), "ground"),
                box(pivot, 0.2, 0.1),
                segment(pivot, joint),
                segment(joint, tip),
                segment(pivot, (end, 0.0), "force"),
            ]
        )


def double_pendulum_obstacle() -> Task:
    """Swing up at -0.8 m, and after 4 s move to 0.8 m, below a disc of radius 0.315 m that is 0.6 m above the rail.

    Start, obstacle, limits, weights and sample time are those of the example DIP of do-mpc 5.1 with obstacle and
    changing set-point, which predicts 100 samples. The set-point is known ahead here. The cost counts the potential
    energy from the upright position; the kinetic energy at the end contains the rotation of the second rod, for which
    the example takes the rate of the first.
    """
    plant, radius = DoublePendulum(), 1.05 * 0.3
    dt, steps, switch = 0.04, 240, 101
    positions = np.where(np.arange(steps + 1) < switch, -0.8, 0.8)
    highest = plant.gravity * (
        0.5 * plant.mass_1 * plant.length_1 + plant.mass_2 * (plant.length_1 + 0.5 * plant.length_2)
    )

    def clearance(x: Vector, u: Vector) -> Any:
        return ca.vertcat(*[radius - ca.sqrt(a**2 + (b - 0.6) ** 2) for a, b in plant.joints(x)])

    task = Task(
        name="double-pendulum-obstacle",
        plant=plant,
        dt=dt,
        steps=steps,
        cost=Nonlinear(
            lambda x, u, xr, ur: highest - plant.potential_energy(x) + 10.0 * (x.position - xr.position) ** 2,
            lambda x, xr: highest - plant.potential_energy(x) + plant.kinetic_energy(x),
        ),
        constraints=(Inequality("obstacle", clearance),),
        reference=Trajectory(np.column_stack([positions, np.zeros((steps + 1, 5))])),
        initial=Fixed([0.0, 0.9 * pi, 0.9 * pi, 0.0, 0.0, 0.0]),
        tolerance={"position": 0.05, "angle_1": 0.05, "angle_2": 0.05, "speed": 0.1, "rate_1": 0.2, "rate_2": 0.2},
    )
    return limit_changes(task, weights={"force": 0.1}, previous={"force": 0.0})
