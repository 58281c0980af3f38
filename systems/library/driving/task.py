"""The task of getting ahead in traffic without coming too close to anyone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np

from systems.arguments import expect_pair
from systems.constraints import Box, Inequality
from systems.costs import Nonlinear
from systems.distributions import AffineMap, Distribution, Uniform
from systems.errors import expect
from systems.library.driving.highway import CAR, Highway
from systems.library.driving.observation import neighbourhood
from systems.library.driving.traffic import LENGTH, WIDTH, separation
from systems.references import SetPoint
from systems.signals import Signals, Vector
from systems.task import Task

__all__ = ["Start", "driving"]

SPEED = 28.0  # m/s, desired by the ego; the others desire less
KERB = 0.25  # m, to be kept between the ego and the edge of the road
GRIP = 4.0  # m/s^2, largest lateral acceleration


@final
@dataclass(frozen=True, eq=False)
class Start(Distribution):
    """The ego about the middle of the road, the others strung out along it, one in each of as many equal sections.

    Each of the others is as likely on any lane; its place on the road and its speeds are uniform and independent.
    """

    plant: Highway
    others: tuple[float, float] = (18.0, 24.0)  # m/s, present speeds
    desired: tuple[float, float] = (18.0, 25.0)  # m/s

    def __post_init__(self) -> None:
        expect(self.plant, Highway, "the plant of Start", "such as Highway()")
        for name in ("others", "desired"):
            expect_pair(getattr(self, name), f"Start.{name}")

    def _bounds(self, declared: Signals) -> tuple[np.ndarray, np.ndarray]:
        road, names = self.plant.road, self.plant.others
        section = road.length / (len(names) + 1)
        lower = {"y": -0.3, "steering": 0.0, "speed": 22.0, "heading": -0.01}
        upper = {"y": 0.3, "steering": 0.0, "speed": 26.0, "heading": 0.01}
        for i, name in enumerate(names, start=1):
            for bound, side, k in ((lower, -1.0, 0), (upper, 1.0, 1)):
                bound[f"ahead_{name}"] = section * (i + 0.22 * side)
                bound[f"y_{name}"] = bound[f"lane_{name}"] = side * road.edge
                bound[f"speed_{name}"], bound[f"desired_{name}"] = self.others[k], self.desired[k]
        return Uniform(lower, upper).support(declared)

    def support(self, declared: Signals) -> tuple[np.ndarray, np.ndarray]:
        return self._bounds(declared)

    def affine(self, declared: Signals) -> AffineMap:
        lower, upper = self._bounds(declared)
        factor = np.diag(upper - lower)
        for name in self.plant.others:  # one draw for both: a vehicle starts beside the middle of the lane it makes for
            lane, y = declared.where(f"lane_{name}"), declared.where(f"y_{name}")
            factor[lane, y], factor[lane, lane] = factor[lane, lane], 0.0
        return AffineMap("uniform", lower, factor)


def driving(plant: Highway | None = None) -> Task:
    """Drive at 28 m/s among 8 vehicles on 200 m of road whose desired speeds are 18 to 25 m/s.

    Constraints, each with a budget of one sample per run: the *gap* to every other vehicle, an ellipse, smooth so that
    optimisers can use it, that holds every position in which two vehicles touch; the edges of the *road*; the *grip* of
    the tyres. The cost knows nothing of the others: squared error of speed, the inputs, and a slight preference for the
    middle of a lane. It grows beyond the outer lanes' middles, so that leaving the road is never the cheaper way.

    The reference is a stream that flows at the desired speed with equal distances, an equilibrium of the plant.
    """
    plant = Highway() if plant is None else plant
    expect(plant, Highway, "the plant of driving", "such as Highway()")
    road = plant.road

    def gap(x: Vector, u: Vector) -> list[Any]:
        ego, *others = plant.vehicles(x)
        return [1.0 - separation(road, ego, other) for other in others]

    def grip(x: Vector, u: Vector) -> list[Any]:
        lateral = x.speed**2 * ca.tan(x.steering) / (CAR.front + CAR.rear)
        return [lateral / GRIP - 1.0, -lateral / GRIP - 1.0]

    def stage_cost(x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        beside = 1.0 - ca.cos(2.0 * ca.pi / road.lane_width * (x.y - road.centres[0]))
        beyond = ca.fmax(ca.fabs(x.y) - road.centres[-1], 0.0) ** 2
        return (
            0.01 * (x.speed - x_ref.speed) ** 2
            + 0.02 * u.acceleration**2
            + 20.0 * u.steering_rate**2
            + 500.0 * x.steering**2
            + 20.0 * x.heading**2
            + 0.05 * beside
            + 2.0 * beyond
        )

    inattention = dict.fromkeys(plant.disturbance.names, 0.5)
    limit = road.edge - 0.5 * WIDTH - KERB
    return Task(
        name="driving",
        plant=plant,
        dt=plant.dt,
        steps=200,
        cost=Nonlinear(stage_cost),
        constraints=(
            Inequality("gap", gap).budget(1.0),
            Box("road", {"y": (-limit, limit)}).budget(1.0),
            Inequality("grip", grip).budget(1.0),
        ),
        reference=SetPoint(_stream(plant)),
        initial=Start(plant),
        disturbance=Uniform({name: -value for name, value in inattention.items()}, inattention),
        domain=Box(
            "model",
            {
                "y": (-road.edge, road.edge),
                "steering": (-0.2, 0.2),
                "speed": (0.0, 45.0),
                "heading": (-0.5, 0.5),
            },
        ),
        tolerance={"speed": 2.0},
        observation=neighbourhood(plant),
    )


def _stream(plant: Highway) -> dict[str, float]:
    """All vehicles at the desired speed, on the lanes in turn and at equal distances, an equilibrium of the stream."""
    road, count = plant.road, len(plant.others) + 1
    middle = road.lanes // 2
    lanes = [(middle + i) % road.lanes for i in range(count)]
    state = {"speed": SPEED, "y": road.centres[middle]}
    for i, name in enumerate(plant.others, start=1):
        # The next vehicle on the same lane; a driver alone on its lane follows itself around the ring, as no one.
        following = next((n for n in range(1, count) if lanes[(i + n) % count] == lanes[i]), None)
        gap = math.inf if following is None else following * road.length / count - LENGTH
        state |= {
            f"ahead_{name}": i * road.length / count,
            f"y_{name}": road.centres[lanes[i]],
            f"lane_{name}": road.centres[lanes[i]],
            f"speed_{name}": SPEED,
            f"desired_{name}": plant.driver.steady_desire(SPEED, gap),
        }
    return state
