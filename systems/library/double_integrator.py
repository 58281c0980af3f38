"""Double integrator: a unit mass on a frictionless line, and the task of bringing it to rest at the origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from systems.constraints import Box
from systems.costs import Quadratic
from systems.distributions import Uniform
from systems.plant import Plant
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["DoubleIntegrator", "double_integrator"]


@dataclass(frozen=True)
class DoubleIntegrator(Plant):
    """Newton's second law for a unit mass, the smallest plant on which a constrained regulator is not trivial.

    position'' = acceleration + push
    """

    max_acceleration: float = 1.0  # m/s^2

    state = signals("position [m]", "speed [m/s]")
    input = signals("acceleration [m/s^2]")
    disturbance = signals("push [m/s^2]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return x.speed, u.acceleration + w.push

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"acceleration": (-self.max_acceleration, self.max_acceleration)}


def double_integrator() -> Task:
    """Come to rest at the origin, within 5 m of it and never faster than 1 m/s. Sampled exactly at 10 Hz.

    From every start the constraints can be kept: the stopping distance speed^2 / 2 fits into the room that is left.
    """
    return Task(
        name="double-integrator",
        plant=DoubleIntegrator(),
        dt=0.1,
        steps=100,
        cost=Quadratic(Q={"position": 1.0, "speed": 0.1}, R={"acceleration": 0.1}),
        constraints=(Box("track", {"position": (-5.0, 5.0)}), Box("speed limit", {"speed": (-1.0, 1.0)})),
        initial=Uniform({"position": -4.0, "speed": -0.8}, {"position": 4.0, "speed": 0.8}),
        domain=Box("model", {"position": (-10.0, 10.0), "speed": (-5.0, 5.0)}),
        tolerance={"position": 0.1, "speed": 0.1},
        integrator="exact",
    )
