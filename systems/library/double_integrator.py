"""Double integrator: a unit mass on a frictionless line, and tasks of bringing it to rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from systems.constraints import Box, Inequality
from systems.costs import Quadratic
from systems.distributions import Uniform
from systems.drawing.shapes import Drawing, box, segment
from systems.errors import InvalidValue
from systems.parameters import nonnegative
from systems.plant import Plant
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["DoubleIntegrator", "braking", "can_stop", "double_integrator", "effort_budget"]


@dataclass(frozen=True)
class DoubleIntegrator(Plant):
    """Newton's second law for a unit mass, the smallest plant on which a constrained regulator is not trivial.

    position'' = acceleration + push
    """

    max_acceleration: float = nonnegative(1.0)  # m/s^2

    state = signals("position [m]", "speed [m/s]")
    input = signals("acceleration [m/s^2]")
    disturbance = signals("push [m/s^2]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return x.speed, u.acceleration + w.push

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"acceleration": (-self.max_acceleration, self.max_acceleration)}

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From the side: a block, and the acceleration as a bar."""
        position = float(x[0])
        push = position + float(u[0]) / max(self.max_acceleration, 1e-9)
        shapes = (
            segment((-1e3, -0.3), (1e3, -0.3), "ground"),
            box((position, 0.0), 0.6, 0.6),
            segment((position, 0.0), (push, 0.0), "force"),
        )
        return Drawing(shapes, across="position")


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


def braking() -> Task:
    """Drive to a wall at position 0 as fast as possible and stop before it; sampled exactly at 10 Hz.

    It is feasible from every initial state: :func:`can_stop` describes the feasible set in closed form. The cost drives
    every run to the edge of that set, so a learner that brakes too late violates the constraint.
    """
    return Task(
        name="braking",
        plant=DoubleIntegrator(),
        dt=0.1,
        steps=60,
        cost=Quadratic(Q={"position": 1.0, "speed": 0.05}, R={"acceleration": 0.02}),
        constraints=(Box("wall", {"position": (-np.inf, 0.0)}).budget(0.5),),
        initial=Uniform({"position": -2.0, "speed": 0.0}, {"position": -0.5, "speed": 0.95}),
        domain=Box("model", {"position": (-4.0, 2.0), "speed": (-3.0, 3.0)}),
        tolerance={"position": 0.1, "speed": 0.1},
        discount=0.95,
        integrator="exact",
    )


def can_stop(task: Task, x: np.ndarray) -> np.ndarray:
    """Whether the states (..., 2) of :func:`braking` can be kept at or below position 0 at all samples, (...) of bool.

    Full braking is best, since it has the least position at every later sample. Under it the position after k samples
    is p + k h v - (k h)^2 a / 2, a parabola in k whose largest value at whole numbers is next to k = v / (a h).
    """
    plant = task.plant
    if not isinstance(plant, DoubleIntegrator):
        raise InvalidValue(
            f"task '{task.name}' is of {plant.name}; expected one of DoubleIntegrator, as braking() gives"
        )
    a, h = plant.max_acceleration, task.dt
    position, speed = x[..., 0], x[..., 1]
    worst = position
    for k in (np.floor(speed / (a * h)), np.ceil(speed / (a * h))):
        t = h * np.maximum(k, 0.0)
        worst = np.maximum(worst, position + t * speed - 0.5 * a * t**2)
    return np.asarray(worst <= 1e-12)


def effort_budget() -> Task:
    """Linear-quadratic regulation with a discounted budget on the squared acceleration.

    The optimum is a linear law, the regulator whose weight on the input is raised by the multiplier of the budget, so
    cost and multiplier can be computed to any accuracy. Inputs are wide enough not to saturate under it.
    """
    return Task(
        name="effort-budget",
        plant=DoubleIntegrator(max_acceleration=1.5),
        dt=0.1,
        steps=80,
        cost=Quadratic(Q={"position": 1.0, "speed": 0.1}, R={"acceleration": 0.01}),
        constraints=(Inequality("effort", lambda x, u: u.acceleration**2).budget(0.6, "discounted", "excess"),),
        initial=Uniform({"position": -1.0, "speed": -0.5}, {"position": 1.0, "speed": 0.5}),
        domain=Box("model", {"position": (-10.0, 10.0), "speed": (-10.0, 10.0)}),
        tolerance={"position": 0.1, "speed": 0.1},
        discount=0.95,
        integrator="exact",
    )
