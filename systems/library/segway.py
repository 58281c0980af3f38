"""Linear inverted pendulum on wheels with random kicks, discrete by nature: the running example of stochastic MPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import radians
from typing import Any

import numpy as np

from systems.constraints import Box
from systems.costs import Quadratic
from systems.distributions import Fixed, Uniform
from systems.drawing.shapes import Drawing, Shape, disc, segment
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["Segway", "segway"]


@dataclass(frozen=True)
class Segway(Plant):
    """Linearised inverted pendulum, x+ = A x + B u + w, whose kicks w come once per sample.

    angle+ = angle + dt rate + angle_kick
    rate+  = rate + dt (g / l angle - c rate + torque) + rate_kick

    With the default values A = [[1, 0.15], [0.15 * 9.81 / 1.3, 1 - 0.15 * 0.5]] and B = [0, 0.15]', the segway-like
    system of the stochastic-MPC notebooks of ETH Zurich's ``ampyc``. Angles are in radians throughout.
    """

    gravity: float = nonnegative(9.81)  # m/s^2
    length: float = positive(1.3)  # m
    damping: float = nonnegative(0.5)  # 1/s
    max_torque: float = nonnegative(4.0)  # rad/s^2, per moment of inertia
    dt: float = 0.15  # s

    state = signals("angle [rad]", "rate [rad/s]")
    input = signals("torque [rad/s^2]")
    disturbance = signals("angle_kick [rad]", "rate_kick [rad/s]")

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        swing = self.gravity / self.length * x.angle - self.damping * x.rate + u.torque
        return x.angle + self.dt * x.rate + w.angle_kick, x.rate + self.dt * swing + w.rate_kick

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"torque": (-self.max_torque, self.max_torque)}

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From the side: the body above its wheel, which stays in place; the torque as an arc around it."""
        angle, radius = float(x[0]), 0.2 * self.length
        turned = np.linspace(0.0, np.pi * float(u[0]) / max(self.max_torque, 1e-9), 16)
        arc = 1.3 * radius * np.stack([np.sin(turned), np.cos(turned)], axis=1)
        shapes = (
            segment((-1e3, -radius), (1e3, -radius), "ground"),
            segment((0.0, 0.0), self.length * np.array([np.sin(angle), np.cos(angle)])),
            disc((0.0, 0.0), radius),
            Shape(arc, "force"),
        )
        return Drawing(shapes)


def segway() -> Task:
    """Stay upright from 25 degrees under uniform disturbances of up to 2 degrees and 2.2 degrees per second.

    Angle and rate are each within 25 degrees (per second) with probability 0.8 in every step.
    """
    plant = Segway()
    kick = {"angle_kick": radians(2.0), "rate_kick": radians(2.2)}
    bound = (-radians(25.0), radians(25.0))
    return Task(
        name="segway",
        plant=plant,
        dt=plant.dt,
        steps=40,
        cost=Quadratic(Q={"angle": 1.0, "rate": 1.0}, R={"torque": 1000.0}),
        constraints=(Box("lean", {"angle": bound}).chance(0.8), Box("lean rate", {"rate": bound}).chance(0.8)),
        initial=Fixed({"angle": radians(25.0), "rate": radians(-20.0)}),
        disturbance=Uniform({name: -value for name, value in kick.items()}, kick),
        domain=Box("model", {"angle": (-1.5, 1.5)}),
        tolerance={"angle": radians(10.0), "rate": radians(15.0)},
    )
