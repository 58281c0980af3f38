"""A car that crosses an intersection among road users whose intentions it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np

from systems.constraints import Box, Inequality
from systems.costs import Quadratic
from systems.distributions import Gaussian, Uniform
from systems.drawing.shapes import Drawing, Shape, box, segment
from systems.multimodal import Agent, MultiModalPlant
from systems.parameters import nonnegative, parameter, positive
from systems.references import Trajectory
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["Intersection", "Manoeuvre", "RoadUser", "collided", "intersection"]

LANE = 3.5  # m, width
LENGTH, WIDTH = 4.5, 1.8  # m, of cars
SPEED = 9.0  # m/s, desired by the ego
DT, STEPS = 0.2, 50  # s, samples per run


@final
@dataclass(frozen=True)
class Manoeuvre:
    """The acceleration stiffness (stop - along) + damping (speed - present speed) along a road user's lane.

    Args:
        name: in drawings and documentation.
        speed: desired, m/s.
        damping: 1/s.
        stop: place at which it stops, m.
        stiffness: 1/s^2; 0 for a manoeuvre that does not stop.
    """

    name: str
    speed: float
    damping: float
    stop: float = 0.0
    stiffness: float = 0.0


@final
@dataclass(frozen=True)
class RoadUser:
    """A road user on a straight lane across that of the ego.

    Args:
        name: in signals.
        crosses_at: place on the ego's lane that it crosses, m.
        heading: 1 if it comes from the right of the ego, -1 if from the left.
        length, width: m.
        half_axes: along and across the ego's lane, m, of the ellipse that the ego's centre must not enter. It contains
            every position in which the two overlap.
        manoeuvres: of which one is followed during a run.
    """

    name: str
    crosses_at: float
    heading: float
    length: float
    width: float
    half_axes: tuple[float, float]
    manoeuvres: tuple[Manoeuvre, ...]


def _yield(stop: float) -> Manoeuvre:
    return Manoeuvre("stops", 0.0, 1.0, stop, 0.25)


USERS = (
    RoadUser(
        "left", -0.5 * LANE, -1.0, LENGTH, WIDTH, (4.5, 4.5), (Manoeuvre("crosses", 9.0, 0.5), _yield(-8.0))
    ),
    RoadUser(
        "right", 0.5 * LANE, 1.0, LENGTH, WIDTH, (4.5, 4.5), (Manoeuvre("crosses", 9.0, 0.5), _yield(-8.0))
    ),
    RoadUser(
        "cyclist", 2.0 * LANE, 1.0, 1.8, 0.6, (3.7, 2.6),
        (
            Manoeuvre("rides", 5.0, 0.8),
            Manoeuvre("rides slowly", 3.0, 0.8),
            Manoeuvre("walks", 1.5, 0.8),
            _yield(-4.0),
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Intersection(MultiModalPlant):
    """A double integrator along a lane, and three road users on lanes across it: a car from the left, a car from the
    right, and a cyclist behind the intersection.

    The ego's position is 0 in the middle of the intersection; that of a road user, ``along``, is 0 in the middle of the
    ego's lane. Each road user follows one of its manoeuvres, of which the parameter ``intention`` selects one by its
    integer part, and is disturbed by accelerations. It does not react to the ego.

    The interaction (one controlled double integrator, targets with several modes, ellipses to be kept out of) is that
    of Kim, Nair & Borrelli (2024, arXiv 2402.01116); manoeuvres, geometry and numbers are this project's.
    """

    strongest_braking: float = nonnegative(5.0)  # m/s^2
    strongest_drive: float = nonnegative(2.0)  # m/s^2
    intention_left: float = parameter(0.5, least=0.0, most=2.0)
    intention_right: float = parameter(0.5, least=0.0, most=2.0)
    intention_cyclist: float = parameter(0.5, least=0.0, most=4.0)
    clearance: float = positive(1.0)  # factor of all half axes

    state = signals(
        "position [m]",
        "speed [m/s]",
        *(text.format(user.name) for user in USERS for text in ("along_{} [m]", "speed_{} [m/s]")),
    )
    input = signals("acceleration [m/s^2]")
    disturbance = signals(*(f"push_{user.name} [m/s^2]" for user in USERS))

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"acceleration": (-self.strongest_braking, self.strongest_drive)}

    @property
    def agents(self) -> tuple[Agent, ...]:
        return tuple(
            Agent(
                user.name,
                (f"along_{user.name}", f"speed_{user.name}"),
                (f"push_{user.name}",),
                tuple({f"intention_{user.name}": i + 0.5} for i in range(len(user.manoeuvres))),
                (1.0 / len(user.manoeuvres),) * len(user.manoeuvres),
            )
            for user in USERS
        )

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        rates = [x.speed, u.acceleration]
        for user in USERS:
            intention = getattr(self, f"intention_{user.name}")
            speed, damping, stop, stiffness = (
                _selected(intention, [getattr(manoeuvre, name) for manoeuvre in user.manoeuvres])
                for name in ("speed", "damping", "stop", "stiffness")
            )
            along, present = x[f"along_{user.name}"], x[f"speed_{user.name}"]
            acceleration = stiffness * (stop - along) + damping * (speed - present) + w[f"push_{user.name}"]
            rates += [present, acceleration]
        return rates

    def gap(self, x: Vector, u: Vector) -> list[Any]:
        """1 - (distance along / half axis)^2 - (distance across / half axis)^2 of each road user; > 0 within its
        ellipse."""
        rows = []
        for user in USERS:
            a, b = (self.clearance * half for half in user.half_axes)
            rows.append(1.0 - ((x.position - user.crosses_at) / a) ** 2 - (x[f"along_{user.name}"] / b) ** 2)
        return rows

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From above: the lanes, the ego with its acceleration, and the road users with their ellipses."""
        far = 60.0
        shapes: list[Shape] = []
        for edge in (-0.5 * LANE, 0.5 * LANE, 1.5 * LANE):
            for low, high in ((-far, -LANE), (LANE, far)):
                shapes.append(segment((low, edge), (high, edge), "ground"))
        for user in USERS:
            half = 0.5 * LANE if user.name != "cyclist" else 0.25 * LANE
            for side in (-half, half):
                for low, high in ((-far, -0.5 * LANE), (1.5 * LANE, far)):
                    place = user.crosses_at + side
                    shapes.append(segment((place, low), (place, high), "ground"))
        turns = np.linspace(0.0, 2.0 * np.pi, 41)
        for user in USERS:
            centre = np.array([user.crosses_at, user.heading * x[self.state.where(f"along_{user.name}")]])
            axes = self.clearance * np.array(user.half_axes)
            outline = centre + axes * np.stack([np.cos(turns), np.sin(turns)], axis=1)
            shapes += [Shape(outline, "ground"), box(centre, user.width, user.length)]
        ego = np.array([float(x[0]), 0.0])
        shapes.append(box(ego, LENGTH, WIDTH))
        shapes.append(segment(ego, ego + np.array([float(u[0]), 0.0]), "force"))
        return Drawing(shapes)


def collided(states: np.ndarray) -> np.ndarray:
    """Whether the ego overlaps each of the road users, (..., road users), in states (..., n) of the plant."""
    hit = []
    for user in USERS:
        along = np.abs(states[..., 0] - user.crosses_at) < 0.5 * (LENGTH + user.width)
        across = np.abs(states[..., Intersection.state.where(f"along_{user.name}")]) < 0.5 * (WIDTH + user.length)
        hit.append(along & across)
    return np.stack(hit, axis=-1)


def intersection(plant: Intersection | None = None) -> Task:
    """Cross the intersection at 9 m/s without entering the ellipses around the other road users.

    Each sample must be free of them with a probability of 97 %. Intentions are drawn for every run: controllers
    know the manoeuvres and their probabilities, but not which one was drawn. Accelerations of the road users are
    disturbed by normal noise of 1 m/s^2 (the cyclist: 0.5 m/s^2).

    Args:
        plant: default: :class:`Intersection` with its default values.
    """
    plant = Intersection() if plant is None else plant
    return Task(
        name="intersection",
        plant=plant,
        dt=DT,
        steps=STEPS,
        cost=Quadratic(Q={"speed": 1.0}, R={"acceleration": 1.0}),
        constraints=(
            Box("forwards", {"speed": (0.0, 12.0)}),
            Inequality("gap", plant.gap).chance(0.97),
        ),
        reference=Trajectory(_flowing(plant)),
        initial=Uniform(
            {
                "position": -35.0, "speed": 7.0, "along_left": -35.0, "speed_left": 7.0, "along_right": -35.0,
                "speed_right": 7.0, "along_cyclist": -16.0, "speed_cyclist": 2.0,
            },
            {
                "position": -22.0, "speed": 10.0, "along_left": -15.0, "speed_left": 10.0, "along_right": -15.0,
                "speed_right": 10.0, "along_cyclist": -6.0, "speed_cyclist": 4.0,
            },
        ),
        disturbance=Gaussian({"push_left": 1.0, "push_right": 1.0, "push_cyclist": 0.5}),
        tolerance={"speed": 1.0},
        variation=Uniform(
            {f"intention_{user.name}": 0.0 for user in USERS},
            {f"intention_{user.name}": float(len(user.manoeuvres)) for user in USERS},
        ),
    )  # fmt: skip


def _flowing(plant: Intersection) -> np.ndarray:
    """States (STEPS + 1, n) of the ego and of the road users' first manoeuvres at their desired speeds, away from the
    intersection."""
    start = np.zeros(len(plant.state))
    start[1::2] = [SPEED, *(user.manoeuvres[0].speed for user in USERS)]
    start[::2] = 60.0
    path = np.repeat(start[None], STEPS + 1, axis=0)
    path[:, ::2] += np.arange(STEPS + 1)[:, None] * DT * start[1::2]
    return path


def _selected(intention: Any, values: list[float]) -> Any:
    """The value of the manoeuvre that an intention selects, also where the intention is a symbol."""
    selected = ca.SX(values[-1])
    for i in range(len(values) - 1, 0, -1):
        selected = ca.if_else(ca.SX(intention) < i, values[i - 1], selected)
    return selected
