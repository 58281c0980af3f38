"""Cars as single-track models, kinematic and dynamic, and the task of following a lane at constant speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.constraints import Box
from systems.costs import Quadratic
from systems.distributions import Uniform
from systems.drawing.shapes import Drawing, box, segment
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.references import Trajectory
from systems.signals import Vector, signals
from systems.task import Observation, Task

__all__ = ["DynamicCar", "KinematicCar", "dynamic_car", "kinematic_car"]

# BMW 320i, vehicle 2 of the CommonRoad vehicle models; shared by both plants.
FRONT = 1.156196  # m, centre of gravity to front axle
REAR = 1.422717  # m, centre of gravity to rear axle
LIMITS = {"steering_rate": (-0.4, 0.4), "acceleration": (-11.5, 11.5)}
MAX_STEERING = 1.066  # rad


@dataclass(frozen=True)
class KinematicCar(Plant):
    """Kinematic single-track model of the rear axle: no tyre slips (Althoff, Koschi & Manzinger, 2017, model KS).

    x' = speed cos(heading)        y' = speed sin(heading)        steering' = steering_rate
    speed' = acceleration          heading' = speed tan(steering) / (front + rear)
    """

    front: float = positive(FRONT)  # m, centre of gravity to front axle
    rear: float = positive(REAR)  # m, centre of gravity to rear axle

    state = signals("x [m]", "y [m]", "steering [rad]", "speed [m/s]", "heading [rad]")
    input = signals("steering_rate [rad/s]", "acceleration [m/s^2]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return (
            x.speed * ca.cos(x.heading),
            x.speed * ca.sin(x.heading),
            u.steering_rate,
            u.acceleration,
            x.speed / (self.front + self.rear) * ca.tan(x.steering),
        )

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return LIMITS

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From above: the car and its front wheels."""
        return _drawn(x, 0.0, self.front + self.rear)


@dataclass(frozen=True)
class DynamicCar(Plant):
    """Dynamic single-track model of the centre of gravity: linear tyres, load transfer (the same source, model ST).

    With l = front + rear, the axle loads per mass F_f = (g rear - a h) / l and F_r = (g front + a h) / l, a the
    acceleration, h the height, C the cornering stiffness and v the speed:

    x' = v cos(heading + slip)     y' = v sin(heading + slip)     steering' = steering_rate     v' = a
    heading' = yaw_rate
    yaw_rate' = mu m / J (front C F_f steering + (rear C F_r - front C F_f) slip
                          - (front^2 C F_f + rear^2 C F_r) yaw_rate / v)
    slip' = mu / v (C F_f steering - C (F_f + F_r) slip + (rear C F_r - front C F_f) yaw_rate / v) - yaw_rate

    It divides by the speed: near standstill the kinematic model must take over. The source also lowers the largest
    acceleration above 7.3 m/s and stops the steering at its end; here the former is not modelled and the latter is a
    constraint of the task.
    """

    mass: float = positive(1093.2952)  # kg
    inertia: float = positive(1791.5995)  # kg m^2
    front: float = positive(FRONT)  # m, centre of gravity to front axle
    rear: float = positive(REAR)  # m, centre of gravity to rear axle
    height: float = nonnegative(0.61373)  # m, of the centre of gravity
    friction: float = positive(1.0489)  # -, mu
    stiffness: float = positive(21.92 / 1.0489)  # 1/rad, C, per axle load and friction
    gravity: float = positive(9.81)  # m/s^2

    state = signals(
        "x [m]", "y [m]", "steering [rad]", "speed [m/s]", "heading [rad]", "yaw_rate [rad/s]", "slip [rad]"
    )
    input = signals("steering_rate [rad/s]", "acceleration [m/s^2]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        base, shift = self.front + self.rear, u.acceleration * self.height
        front = self.stiffness * (self.gravity * self.rear - shift) / base
        rear = self.stiffness * (self.gravity * self.front + shift) / base
        turn = x.yaw_rate / x.speed
        lever = self.rear * rear - self.front * front
        course = x.heading + x.slip
        return (
            x.speed * ca.cos(course),
            x.speed * ca.sin(course),
            u.steering_rate,
            u.acceleration,
            x.yaw_rate,
            self.friction
            * self.mass
            / self.inertia
            * (self.front * front * x.steering + lever * x.slip - (self.front**2 * front + self.rear**2 * rear) * turn),
            self.friction / x.speed * (front * x.steering - (front + rear) * x.slip + lever * turn) - x.yaw_rate,
        )

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return LIMITS

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From above: the car and its front wheels."""
        return _drawn(x, self.rear, self.front + self.rear)


def _drawn(x: np.ndarray, behind: float, base: float) -> Drawing:
    """A car whose rear axle is at a distance behind the point (x, y), in m."""
    heading, wheel = float(x[4]), float(x[4] + x[2])
    along, turned = (np.array([np.cos(a), np.sin(a)]) for a in (heading, wheel))
    rear = x[:2] - behind * along
    front = rear + base * along
    shapes = [box(rear + 0.5 * base * along, 1.7 * base, 0.65 * base, heading), segment(front, front + turned)]
    return Drawing(shapes, across="x", up="y")


def _lane(name: str, plant: Plant, model: Mapping[str, tuple[float, float]]) -> Task:
    dt, steps, speed = 0.05, 120, 15.0
    # The lane goes on beyond the run, so that a controller that looks ahead does not see it end.
    samples = np.arange(2 * steps + 1)
    path = np.zeros((len(samples), len(plant.state)))
    path[:, plant.state.where("x")] = speed * dt * samples
    path[:, plant.state.where("speed")] = speed
    start = {"x": 0.5, "y": 1.0, "heading": 0.1}
    return Task(
        name=name,
        plant=plant,
        dt=dt,
        steps=steps,
        cost=Quadratic(
            Q={"x": 0.1, "y": 1.0, "heading": 5.0, "speed": 0.1, "steering": 1.0},
            R={"steering_rate": 1.0, "acceleration": 0.05},
        ),
        constraints=(
            Box("lane", {"y": (-1.75, 1.75)}).soft(10.0),
            Box("steering stop", {"steering": (-MAX_STEERING, MAX_STEERING)}),
        ),
        reference=Trajectory(path),
        initial=Uniform(
            {name: -value for name, value in start.items()} | {"speed": speed - 1.0}, start | {"speed": speed + 1.0}
        ),
        domain=Box(
            "model",
            {"y": (-10.0, 10.0), "steering": (-1.3, 1.3), "speed": (5.0, 30.0), "heading": (-1.5, 1.5), **model},
        ),
        tolerance={"x": 0.5, "y": 0.1, "heading": 0.05, "speed": 0.5},
        observation=Observation(
            signals(*[f"{signal.name}_error [{signal.unit}]" for signal in plant.state]),
            lambda x, x_ref: [value - reference for value, reference in zip(x, x_ref, strict=True)],
        ),
    )


def kinematic_car() -> Task:
    """Follow a point that moves along the middle of a straight lane, 3.5 m wide, at 15 m/s."""
    return _lane("kinematic-car", KinematicCar(), {})


def dynamic_car() -> Task:
    """As kinematic-car, with the dynamic bicycle model and linear tyres."""
    return _lane("dynamic-car", DynamicCar(), {"yaw_rate": (-3.0, 3.0), "slip": (-0.5, 0.5)})
