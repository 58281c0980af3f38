"""Tasks that between them use every rule of the environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import casadi as ca

from systems import (
    Box,
    Fixed,
    Gaussian,
    Inequality,
    Plant,
    Quadratic,
    Sinusoid,
    Task,
    Uniform,
    signals,
)
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum, pendulum_swing_up


@dataclass(frozen=True)
class Mass(Plant):
    """A point mass."""

    mass: float = 2.0

    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")
    disturbance = signals("push [N]", "drag [N]")

    def ode(self, x: Any, u: Any, w: Any) -> Any:
        return x.speed, (u.force + w.push - w.drag) / self.mass

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"force": (-3.0, 5.0)}


@dataclass(frozen=True)
class FreeMass(Mass):
    """A point mass that any force may push."""

    def limits(self) -> dict[str, tuple[float, float]]:
        return {}


@dataclass(frozen=True)
class Root(Plant):
    """A state that is no number below zero, and another that grows without bound."""

    dt: float = 1.0

    state = signals("level [m]", "growth [-]")
    input = signals("flow [m]")

    def step(self, x: Any, u: Any, w: Any) -> Any:
        return ca.sqrt(x.level + u.flow), x.growth * x.growth

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"flow": (-10.0, 10.0)}


def tracking() -> Task:
    """A moving reference, correlated Gaussian pushes, two constraints, a fixed start."""
    return Task(
        name="tracking",
        plant=Mass(),
        dt=0.1,
        steps=7,
        cost=Quadratic(Q={"position": 2.0, "speed": 0.5}, R={"force": 0.1}),
        initial=Fixed({"position": 0.3, "speed": -0.2}),
        disturbance=Gaussian(covariance_matrix=[[0.04, 0.01], [0.01, 0.09]], average=[0.1, 0.0]),
        reference=Sinusoid(0.4, x_sine={"position": 1.0}, x_cosine={"speed": 0.4}, u_mean={"force": 0.2}),
        constraints=(
            Inequality("slow", lambda x, u: x.speed**2 - 1.0),
            Box("corridor", {"position": (-0.5, 0.25), "force": (-2.0, 4.0)}),
        ),
    )


def ledge(discount: float = 0.9) -> Task:
    """A mass that falls off at 1 m."""
    return Task(
        name="ledge",
        plant=Mass(),
        dt=0.1,
        steps=10,
        cost=Quadratic(Q={"position": 2.0, "speed": 0.5}, R={"force": 0.1}),
        initial=Fixed({"position": 0.95, "speed": 1.0}),
        domain=Box("ledge", {"position": (-1.0, 1.0)}),
        constraints=(Box("edge", {"position": (-1.0, 1.0)}),),
        discount=discount,
    )


def root() -> Task:
    return Task(
        name="root",
        plant=Root(),
        dt=1.0,
        steps=20,
        cost=Quadratic(Q={"level": 1.0, "growth": 1.0}, R={"flow": 0.01}),
        initial=Uniform({"level": 1.0, "growth": 2.0}, {"level": 2.0, "growth": 2.0}),
        constraints=(Box("level", {"level": (0.0, 100.0)}),),
        discount=0.9,
    )


ALL = [cartpole, pendulum, pendulum_swing_up, tracking, ledge, root]
