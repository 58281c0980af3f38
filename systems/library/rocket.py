"""Rocket stage that lands on its gimballed engine, moving in a vertical plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.constraints import Box, Polytope
from systems.costs import Nonlinear
from systems.distributions import Uniform
from systems.drawing.shapes import Drawing, box, segment
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["CLEARANCE", "Rocket", "rocket_landing"]

CLEARANCE = 0.5  # m, from the feet to the ground at z = 0, where the engine is cut
PAD = 3.0  # m, from its middle to its edge
TOUCH = 2.0  # m/s, of descent, that the legs bear
ERRORS = {
    "x": (2.0, 3.0), "z": (2.0, 1.4), "angle": (0.5, 0.07), "x_rate": (0.5, 0.7), "z_rate": (1.0, 0.3),
    "angle_rate": (0.25, 0.016), "thrust": (1.0, 50.0), "gimbal": (1.0, 0.2),
}  # fmt: skip
"""By state and input: a weight, and the error, in its unit, that is neither small nor large."""


@dataclass(frozen=True)
class Rocket(Plant):
    """A uniform slender rod of constant mass, pushed at its foot by an engine in a gimbal.

    With T the thrust, d the gimbal's angle, l half the length and J = m l^2 / 3:

    m x'' = -T sin(angle + d) + wind        m z'' = T cos(angle + d) - m g        J angle'' = -l T sin(d)

    x and z are those of the centre of mass, z = 0 where the feet are half a metre above the ground; a positive angle
    tilts the stage to the left, towards negative x, and a positive gimbal pushes its foot to the left, which turns it
    to the right. Once lit, the engine cannot be throttled below a share of the weight, nor cut and lit again.
    """

    mass: float = positive(20_000.0)  # kg, nearly empty
    half_length: float = positive(14.0)  # m, gimbal to centre of mass
    gravity: float = nonnegative(9.81)  # m/s^2
    least_thrust: float = nonnegative(0.4)  # -, of the weight
    most_thrust: float = nonnegative(2.0)  # -, of the weight
    most_gimbal: float = nonnegative(0.15)  # rad

    state = signals("x [m]", "z [m]", "angle [rad]", "x_rate [m/s]", "z_rate [m/s]", "angle_rate [rad/s]")
    input = signals("thrust [kN]", "gimbal [rad]")
    disturbance = signals("wind [kN]")

    @property
    def weight(self) -> Any:
        """kN; the thrust that hovers."""
        return 1e-3 * self.mass * self.gravity

    @property
    def inertia(self) -> Any:
        """About the centre of mass, kg m^2."""
        return self.mass * self.half_length**2 / 3.0

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        thrust = 1e3 * u.thrust
        return (
            x.x_rate,
            x.z_rate,
            x.angle_rate,
            (1e3 * w.wind - thrust * ca.sin(x.angle + u.gimbal)) / self.mass,
            thrust * ca.cos(x.angle + u.gimbal) / self.mass - self.gravity,
            -self.half_length * thrust * ca.sin(u.gimbal) / self.inertia,
        )

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {
            "thrust": (self.least_thrust * self.weight, self.most_thrust * self.weight),
            "gimbal": (-self.most_gimbal, self.most_gimbal),
        }

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From the side: the stage, and the flame of its engine as a bar."""
        centre, angle, flame = x[:2], float(x[2]), float(x[2] + u[1])
        foot = centre - self.half_length * np.array([-np.sin(angle), np.cos(angle)])
        length = self.half_length * float(u[0]) / max(self.weight, 1e-9)
        ground = -CLEARANCE - self.half_length
        return Drawing(
            [
                segment((-200.0, ground), (200.0, ground), "ground"),
                segment(foot, foot - length * np.array([-np.sin(flame), np.cos(flame)]), "force"),
                box(centre, 0.26 * self.half_length, 2.0 * self.half_length, angle),
            ],
            across="x",
            up="z",
        )


def rocket_landing() -> Task:
    """Land on the middle of a pad from 90 to 130 m, descending at 22 to 32 m/s.

    A run ends where the feet touch the ground, or when its time is up; either way it arrived if it ended on the pad,
    upright, and with no more than its legs bear. What touches the ground is charged for all future time for the
    state in which it does, as by a reward at touch-down. Every error e is charged w log(1 + (e/s)^2): about the goal
    that is a quadratic cost, from which regulators and predictive controllers get their gains, and far from it a matter
    of magnitudes; the idea of a logarithm is that of Jiang et al. (2024, arXiv 2407.15083). With the quadratic cost
    itself a crash would cost 10^4 times what a landing does, and a learner see nothing of the latter. Height weighs
    most: to hover should not be cheaper than to land.

    Constraints: the *descent* may be the faster the higher the stage still is, with the feet at height h no faster
    than 1.5 m/s + 0.35 h / s; the *cone* over the pad, |x| <= 3 m + h / 2; the *tilt*. Each has a weight.
    """
    plant, dt = Rocket(), 0.2
    start = {"x": 30.0, "angle": 0.2, "x_rate": 5.0, "angle_rate": 0.03}
    slow, near = np.array([1.5 + 0.35 * CLEARANCE]), np.full(2, PAD + 0.5 * CLEARANCE)
    return Task(
        name="rocket-landing",
        plant=plant,
        dt=dt,
        steps=100,
        substeps=2,
        cost=Nonlinear(_magnitudes),
        constraints=(
            Polytope("descent", ("z", "z_rate"), np.array([[-0.35, -1.0]]), slow).soft(2.0),
            Polytope("cone", ("x", "z"), np.array([[1.0, -0.5], [-1.0, -0.5]]), near).soft(2.0),
            Box("tilt", {"angle": (-0.35, 0.35)}).soft(5.0),
        ),
        reference=SetPoint(u={"thrust": plant.weight}),
        initial=Uniform(
            {name: -value for name, value in start.items()} | {"z": 90.0, "z_rate": -32.0},
            start | {"z": 130.0, "z_rate": -22.0},
        ),
        disturbance=Uniform({"wind": -4.0}, {"wind": 4.0}),
        domain=Box("model", {"x": (-100.0, 100.0), "z": (-CLEARANCE, 160.0), "angle": (-1.0, 1.0)}),
        discount=0.97,
        tolerance={
            "x": PAD,
            "z": CLEARANCE + dt * TOUCH,  # so far below may the last sample lie
            "angle": 0.1,
            "x_rate": 1.0,
            "z_rate": TOUCH,
            "angle_rate": 0.1,
        },
    )


def _magnitudes(x: Vector, u: Vector, xr: Vector, ur: Vector) -> Any:
    """Sum of w log(1 + (e/s)^2) over states and inputs."""
    weight, scale = np.array([ERRORS[name] for name in (*Rocket.state.names, *Rocket.input.names)]).T
    errors = ca.vertcat(x.column - xr.column, u.column - ur.column)
    return ca.sum1(weight * ca.log(1.0 + (errors / scale) ** 2))
