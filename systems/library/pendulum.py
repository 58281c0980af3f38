"""Torque-limited pendulum, and its two standard tasks: balance it, swing it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.constraints import Box
from systems.costs import Nonlinear, Quadratic
from systems.distributions import Uniform
from systems.drawing.shapes import Drawing, Shape, disc, segment
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.signals import Vector, signals
from systems.task import Observation, Task

__all__ = ["Pendulum", "energies", "pendulum", "pendulum_swing_up"]


@dataclass(frozen=True)
class Pendulum(Plant):
    """Point mass on a rod, upright at angle 0, with a motor too weak to lift it slowly.

    angle'' = (g / l) sin(angle) - b / (m l^2) angle' + (torque + push) / (m l^2)

    The default values are the small-torque pendulum used to certify neural controllers (Yang, Dai, Shi, Hsieh, Tedrake
    & Zhang, 2024): the largest torque barely exceeds m g l = 0.736 N m.
    """

    mass: float = positive(0.15)  # kg
    length: float = positive(0.5)  # m
    damping: float = nonnegative(0.1)  # N m s
    gravity: float = nonnegative(9.81)  # m/s^2
    max_torque: float = nonnegative(0.75)  # N m

    state = signals("angle [rad]", "rate [rad/s]")
    input = signals("torque [N m]")
    disturbance = signals("push [N m]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        inertia = self.mass * self.length**2
        torque = u.torque + w.push - self.damping * x.rate
        return x.rate, self.gravity / self.length * ca.sin(x.angle) + torque / inertia

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"torque": (-self.max_torque, self.max_torque)}

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From the side: a rod with its mass, turned clockwise by a positive angle; the torque as an arc."""
        angle, length = float(x[0]), self.length
        end = length * np.array([np.sin(angle), np.cos(angle)])
        turned = np.linspace(0.0, np.pi * float(u[0]) / max(self.max_torque, 1e-9), 16)
        arc = 0.3 * length * np.stack([np.sin(turned), np.cos(turned)], axis=1)
        floor = segment((-1.15 * length, 0.0), (1.15 * length, 0.0), "ground")
        rod, mass = segment((0.0, 0.0), end), disc(end, 0.1 * length)
        return Drawing((floor, rod, mass, Shape(arc, "force")))


def pendulum() -> Task:
    """Balance from initial states near upright, under small disturbances; Euler steps of 50 ms, as published."""
    return Task(
        name="pendulum",
        plant=Pendulum(),
        dt=0.05,
        steps=100,
        cost=Quadratic(Q={"angle": 1.0, "rate": 1.0}, R={"torque": 1.0}),
        initial=Uniform({"angle": -0.6, "rate": -1.0}, {"angle": 0.6, "rate": 1.0}),
        disturbance=Uniform({"push": -0.02}, {"push": 0.02}),
        domain=Box("model", {"angle": (-12.0, 12.0), "rate": (-12.0, 12.0)}),
        tolerance={"angle": 0.2, "rate": 0.3},
        integrator="euler",
    )


def pendulum_swing_up() -> Task:
    """Swing up from anywhere, with the numbers of Gymnasium's Pendulum-v1.

    Gymnasium's uniform rod (m = 1 kg, l = 1 m, g = 10 m/s^2) moves as a point mass of 0.75 kg at 2/3 m does. Its cost,
    wrapped angle^2 + 0.1 rate^2 + 0.001 torque^2, its 200 samples of 50 ms and its starts are kept; its speed limit of
    8 rad/s (a clipping of the state) and its semi-implicit Euler step are not.
    """

    def stage(x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        wrapped = ca.atan2(ca.sin(x.angle), ca.cos(x.angle))
        return wrapped**2 + 0.1 * x.rate**2 + 0.001 * u.torque**2

    return Task(
        name="pendulum-swing-up",
        plant=Pendulum(mass=0.75, length=2.0 / 3.0, damping=0.0, gravity=10.0, max_torque=2.0),
        dt=0.05,
        steps=200,
        cost=Nonlinear(stage),
        initial=Uniform({"angle": -ca.pi, "rate": -1.0}, {"angle": ca.pi, "rate": 1.0}),
        tolerance={"angle": 0.1, "rate": 0.5},
        discount=0.99,
        observation=Observation(
            signals("cosine [-]", "sine [-]", "rate [rad/s]"),
            lambda x, x_ref: (ca.cos(x.angle), ca.sin(x.angle), x.rate),
        ),
    )


def energies() -> ca.Function:
    """Terms of the energy of a pendulum under a saturated torque: features for a fitted Lyapunov function."""
    x = ca.SX.sym("x", 2)
    angle, rate = x[0], x[1]
    wells = [ca.sqrt(1 + (k * angle) ** 2) - 1 for k in (1, 4)]
    cross = [rate * angle / ca.sqrt(1 + (k * angle) ** 2) for k in (1, 4)]
    waves = [ca.cos(angle) - 1, ca.cos(2 * angle) - 1, angle * ca.sin(angle)]
    mixed = [rate * ca.sin(angle), rate * ca.sin(2 * angle), rate**2 * ca.cos(angle), rate**2 * wells[0]]
    return ca.Function("energies", [x], [ca.vertcat(*wells, *cross, *waves, *mixed)])
