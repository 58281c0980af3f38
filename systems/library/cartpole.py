"""Cart with a free pole, and its standard tasks: balance it, also on a short track, swing it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.constraints import Box
from systems.costs import Nonlinear, Quadratic
from systems.distributions import Uniform
from systems.drawing.shapes import Drawing, box, segment
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Observation, Task

__all__ = ["CartPole", "cartpole", "cartpole_swing_up", "cartpole_track"]


@dataclass(frozen=True)
class CartPole(Plant):
    """Cart with a uniform pole on a pivot, angle = 0 upright. Barto, Sutton & Anderson (1983), without their friction.

    With M = cart_mass, m = pole_mass, l = half_length and F = force + push:

        temp    = (F + m l angle'^2 sin(angle)) / (M + m)
        angle'' = (g sin(angle) - cos(angle) temp) / (l (4/3 - m cos(angle)^2 / (M + m)))
        cart''  = temp - m l angle'' cos(angle) / (M + m)
    """

    cart_mass: float = positive(1.0)  # kg
    pole_mass: float = positive(0.1)  # kg
    half_length: float = positive(0.5)  # m, pivot to centre of mass
    gravity: float = nonnegative(9.81)  # m/s^2
    max_force: float = nonnegative(10.0)  # N

    state = signals("position [m]", "angle [rad]", "velocity [m/s]", "rate [rad/s]")
    input = signals("force [N]")
    disturbance = signals("push [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        mass = self.cart_mass + self.pole_mass
        sine, cosine = ca.sin(x.angle), ca.cos(x.angle)
        temp = (u.force + w.push + self.pole_mass * self.half_length * x.rate**2 * sine) / mass
        swing = (self.gravity * sine - cosine * temp) / (
            self.half_length * (4.0 / 3.0 - self.pole_mass * cosine**2 / mass)
        )
        return x.velocity, x.rate, temp - self.pole_mass * self.half_length * swing * cosine / mass, swing

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"force": (-self.max_force, self.max_force)}

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From the side: a cart on its track, the pole above it, the force as a bar."""
        position, angle = float(x[0]), float(x[1])
        reach = 2.0 * self.half_length
        tip = (position + reach * np.sin(angle), reach * np.cos(angle))
        side = 0.25 * reach
        push = position + reach * float(u[0]) / max(self.max_force, 1e-9)
        shapes = (
            segment((-1e3, -side), (1e3, -side), "ground"),
            box((position, -0.5 * side), 2.0 * side, side),
            segment((position, 0.0), tip),
            segment((position, -0.5 * side), (push, -0.5 * side), "force"),
        )
        return Drawing(shapes, across="position")


def cartpole() -> Task:
    """Balance the pole and bring the cart to the middle of its track, under random disturbances."""
    return Task(
        name="cartpole",
        plant=CartPole(),
        dt=0.05,
        steps=100,
        cost=Quadratic(Q={"position": 1.0, "angle": 5.0, "velocity": 0.1, "rate": 0.1}, R={"force": 0.01}),
        constraints=(Box("track", {"position": (-2.2, 2.2)}).soft(10.0),),
        initial=Uniform(
            {"position": -1.2, "angle": -0.2, "velocity": -0.5, "rate": -0.5},
            {"position": 1.2, "angle": 0.2, "velocity": 0.5, "rate": 0.5},
        ),
        disturbance=Uniform({"push": -0.5}, {"push": 0.5}),
        domain=Box("model", {"position": (-2.4, 2.4), "angle": (-0.6, 0.6)}),
        tolerance={"position": 0.2, "angle": 0.1},
        discount=0.97,  # a second and a half: at 0.99 a fall weighs so much that little resolution is left
    )


def cartpole_track() -> Task:
    """Balance the pole and go to 0.8 m on a track that ends at 0.7 m; five samples per run may lie beyond it.

    The reference lies outside, so the best policy stands at the end of the track, away from it by what its own
    noise and the swing of the pole need.
    """
    return Task(
        name="cartpole-track",
        plant=CartPole(),
        dt=0.05,
        steps=100,
        cost=Quadratic(Q={"position": 0.5, "angle": 5.0, "velocity": 0.1, "rate": 0.1}, R={"force": 0.02}),
        reference=SetPoint({"position": 0.8}),
        constraints=(Box("track", {"position": (-np.inf, 0.7)}).budget(5.0),),
        initial=Uniform(
            {"position": -0.5, "angle": -0.1, "velocity": -0.3, "rate": -0.2},
            {"position": 0.5, "angle": 0.1, "velocity": 0.3, "rate": 0.2},
        ),
        domain=Box("model", {"position": (-2.4, 2.4), "angle": (-0.6, 0.6)}),
        tolerance={"position": 0.2, "angle": 0.1},
        discount=0.97,
    )


def cartpole_swing_up() -> Task:
    """Swing the pole up from hanging and balance it, on the same track.

    The cost has the Hessian of the balancing task's at the upright position: 2 (1 - cos(angle)) stands for angle^2.
    """

    def stage(x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        lean = 10.0 * (1.0 - ca.cos(x.angle))
        return x.position**2 + lean + 0.1 * x.velocity**2 + 0.1 * x.rate**2 + 0.01 * u.force**2

    return Task(
        name="cartpole-swing-up",
        plant=CartPole(),
        dt=0.05,
        steps=120,
        cost=Nonlinear(stage),
        constraints=(Box("track", {"position": (-2.4, 2.4)}).soft(10.0),),
        initial=Uniform(
            {"position": -0.2, "angle": ca.pi - 0.2, "velocity": -0.1, "rate": -0.1},
            {"position": 0.2, "angle": ca.pi + 0.2, "velocity": 0.1, "rate": 0.1},
        ),
        domain=Box("model", {"position": (-4.8, 4.8)}),
        tolerance={"position": 0.3, "angle": 0.2, "velocity": 0.5, "rate": 0.5},
        observation=Observation(
            signals("position [m]", "cosine [-]", "sine [-]", "velocity [m/s]", "rate [rad/s]"),
            lambda x, x_ref: (x.position, ca.cos(x.angle), ca.sin(x.angle), x.velocity, x.rate),
        ),
    )
