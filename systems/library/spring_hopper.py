"""A hopper on a massless spring leg, as a hybrid system in the plane, and its map from apex to apex on the spot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca

from systems.constraints import Box
from systems.costs import Quadratic
from systems.distributions import Uniform
from systems.hybrid import HybridSystem, Mode, Transition
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["Flight", "Stance", "VerticalHop", "spring_hopper", "vertical_hop"]

MASS = 80.0  # kg
STIFFNESS = 32_000.0  # N/m
LENGTH = 1.0  # m, of the leg at rest
GRAVITY = 10.0  # m/s^2
THRUST = 3000.0  # N


@dataclass(frozen=True)
class Flight(Plant):
    """A point mass in free fall; its leg is swung without moving the mass.

    ``angle`` is that of the leg, positive with the foot ahead: the foot is at place + length sin(angle), height -
    length cos(angle).
    """

    gravity: float = positive(GRAVITY)  # m/s^2

    state = signals("place [m]", "height [m]", "speed [m/s]", "climb [m/s]", "angle [rad]")
    input = signals("swing [rad/s]", "thrust [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return x.speed, x.climb, 0.0, -self.gravity, u.swing

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"thrust": (-THRUST, THRUST)}


@dataclass(frozen=True)
class Stance(Plant):
    """A point mass on a spring whose foot does not slip; an actuator in the leg adds a force along it."""

    mass: float = positive(MASS)  # kg
    stiffness: float = positive(STIFFNESS)  # N/m
    length: float = positive(LENGTH)  # m, of the leg at rest
    gravity: float = positive(GRAVITY)  # m/s^2
    actuated: float = nonnegative(1.0)  # -, share of the thrust that acts

    state = signals("place [m]", "height [m]", "speed [m/s]", "climb [m/s]", "foot [m]")
    input = signals("swing [rad/s]", "thrust [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        aside = x.place - x.foot
        length = ca.hypot(aside, x.height)
        along = (self.stiffness * (self.length - length) + self.actuated * u.thrust) / self.mass
        return x.speed, x.climb, along * aside / length, along * x.height / length - self.gravity, 0.0

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"thrust": (-THRUST, THRUST)}


def spring_hopper(
    mass: float = MASS, stiffness: float = STIFFNESS, length: float = LENGTH, gravity: float = GRAVITY
) -> HybridSystem:
    """The hopper with three modes: flight, compression, in which the thrust acts, and extension, in which it does not.

    The spring-loaded inverted pendulum (Blickhan, 1989) with the parameters and the actuator of Meng & Fan (2023).
    Nothing is lost at touch-down, as leg and foot have no mass; without thrust the energy is constant.

    Args:
        mass: kg; default: 80.
        stiffness: N/m; default: 32,000.
        length: m, of the leg at rest; default: 1.
        gravity: m/s^2; default: 10.
    """

    def stretch(x: Vector) -> Any:
        """Length of the leg times its rate."""
        return (x.place - x.foot) * x.speed + x.height * x.climb

    def leg(x: Vector) -> Any:
        return ca.hypot(x.place - x.foot, x.height)

    def touched(x: Vector) -> Any:
        return x.place, x.height, x.speed, x.climb, x.place + length * ca.sin(x.angle)

    def released(x: Vector) -> Any:
        return x.place, x.height, x.speed, x.climb, ca.atan2(x.foot - x.place, x.height)

    return HybridSystem(
        (
            Mode("flight", Flight(gravity)),
            Mode("compression", Stance(mass, stiffness, length, gravity)),
            Mode("extension", Stance(mass, stiffness, length, gravity, actuated=0.0)),
        ),
        (
            Transition("flight", "compression", lambda x: x.height - length * ca.cos(x.angle), touched),
            Transition("compression", "extension", lambda x: -stretch(x)),
            Transition("extension", "flight", lambda x: length - leg(x), released),
        ),
    )


@dataclass(frozen=True)
class VerticalHop(Plant):
    """From one apex to the next with the leg upright, in closed form; the thrust is held during compression.

    The spring is compressed by d where the energy is used up, k d^2 / 2 + u d = m g (height - length + d), of which the
    thrust has taken u d.
    """

    dt: float = 1.0  # one hop, whatever time it takes
    mass: float = positive(MASS)  # kg
    stiffness: float = positive(STIFFNESS)  # N/m
    length: float = positive(LENGTH)  # m, of the leg at rest
    gravity: float = positive(GRAVITY)  # m/s^2

    state = signals("height [m]")
    input = signals("thrust [N]")

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        weight = self.mass * self.gravity
        net = weight - u.thrust
        energy = weight * (x.height - self.length)
        compressed = (net + ca.sqrt(net * net + 2 * self.stiffness * energy)) / self.stiffness
        return (x.height - u.thrust * compressed / weight,)

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"thrust": (-THRUST, THRUST)}


def vertical_hop() -> Task:
    """Hop on the spot at apices of 3 m, between 1.01 and 5 m."""
    return Task(
        name="vertical-hop",
        plant=VerticalHop(),
        dt=1.0,
        steps=20,
        cost=Quadratic(Q={"height": 1.0}, R={"thrust": 1e-7}),
        reference=SetPoint({"height": 3.0}),
        initial=Uniform({"height": 1.1}, {"height": 4.9}),
        domain=Box("heights", {"height": (1.01, 5.0)}),
    )
