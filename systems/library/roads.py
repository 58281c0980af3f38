"""Roads whose friction, curvature and speed change from segment to segment, as hybrid systems of a car."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np

from systems.arguments import expect_number
from systems.constraints import Box
from systems.costs import Quadratic
from systems.distributions import Uniform
from systems.errors import InvalidValue, expect
from systems.hybrid import HybridSystem, Mode, Transition, WithIntegral
from systems.library.road_car import RoadCar
from systems.references import SetPoint
from systems.signals import Signal, Vector
from systems.task import Task

__all__ = ["LANE", "SPEEDS", "Segment", "joined", "random_road", "road_system", "segment_task"]

LANE = 2.0  # m, the centre of gravity's room on either side of the middle of the lane
ANGLE = 0.6  # rad
SPEEDS = (3.0, 22.0)  # m/s, in which the model is meant to hold
DT = 0.05  # s


@final
@dataclass(frozen=True)
class Segment:
    """A piece of road of one friction and curvature, and how the next one continues it.

    Args:
        length: m, along the middle of the lane.
        friction: of tyres and road.
        curvature: 1/m, positive to the left.
        speed: m/s, posted.
        turn: rad, by which the next segment heads to the left of this one's end.
        shift: m, by which the lane of the next segment begins to the left of this one's end.

    Raises:
        InvalidValue: a number out of its range, or that is not finite.
    """

    length: float
    friction: float
    curvature: float
    speed: float
    turn: float = 0.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        for name in ("length", "friction", "speed"):
            expect_number(getattr(self, name), f"Segment: {name}", above=0.0)
        for name in ("curvature", "turn", "shift"):
            expect_number(getattr(self, name), f"Segment: {name}")

    @property
    def plant(self) -> RoadCar:
        """The car on this segment."""
        return RoadCar(friction=self.friction, curvature=self.curvature)


def road_system(segments: tuple[Segment, ...]) -> HybridSystem:
    """The hybrid system of a road: one mode per segment, named "0", "1", ...; the last one has no end.

    A segment ends where its length has been travelled. The reset expresses the same place, heading and speed in the
    coordinates of the next segment, which begins ``shift`` to the left and heads ``turn`` to the left:

    offset+ = cos(turn) (offset - shift)    angle+ = angle - turn    travelled+ = sin(turn) (offset - shift)

    Args:
        segments: at least one, in order.

    Raises:
        InvalidValue: no segment, or an entry that is not one.
    """
    for segment in segments:
        expect(
            segment, Segment, "an entry of segments", "such as Segment(50.0, friction=1.0, curvature=0.0, speed=14.0)"
        )
    if not segments:
        raise InvalidValue("a road without segments; give at least one")
    travelled = Signal("travelled", "m")
    modes = [Mode(str(i), WithIntegral(segment.plant, travelled, _progress)) for i, segment in enumerate(segments)]
    return HybridSystem(
        tuple(modes),
        tuple(_joint(i, segment) for i, segment in enumerate(segments[:-1])),
    )


def _progress(plant: RoadCar, x: Vector) -> Any:
    return plant.progress(x)


def _joint(i: int, segment: Segment) -> Transition:
    def guard(x: Vector) -> Any:
        return segment.length - x.travelled

    def reset(x: Vector) -> Any:
        # What a sample has gone beyond the end counts as travelled on the next segment.
        return joined(x, x.travelled - segment.length, segment.turn, segment.shift)

    return Transition(str(i), str(i + 1), guard, reset)


def joined(x: Vector, beyond: Any, turn: Any, shift: Any) -> tuple[Any, Any, Any, Any]:
    """Offset, angle, speed and way travelled in the coordinates of the next segment, see :func:`road_system`.

    Args:
        x: with offset, angle and speed in the coordinates of the segment that ends.
        beyond: m, how far the car is beyond its end.
        turn: rad, of the next segment to the left.
        shift: m, of the next segment to the left.
    """
    aside = x.offset - shift
    return ca.cos(turn) * aside, x.angle - turn, x.speed, beyond + ca.sin(turn) * aside


def segment_task(friction: float, curvature: float, speed: float) -> Task:
    """Follow the middle of the lane at a speed on an endless segment; to leave the lane is to leave the domain.

    Args:
        friction: of tyres and road.
        curvature: 1/m, positive to the left.
        speed: m/s.
    """
    steady = curvature * speed**2
    return Task(
        name=f"road-{friction:g}-{curvature:g}-{speed:g}",
        plant=RoadCar(friction=friction, curvature=curvature),
        dt=DT,
        steps=200,
        cost=Quadratic(
            Q={"offset": 1.0, "angle": 20.0, "speed": 0.3},
            R={"turning": 0.2, "acceleration": 0.5},
        ),
        reference=SetPoint({"speed": speed}, {"turning": steady}),
        initial=Uniform(
            {"offset": -0.5, "angle": -0.1, "speed": speed - 1.0}, {"offset": 0.5, "angle": 0.1, "speed": speed + 1.0}
        ),
        domain=Box("model", {"offset": (-LANE, LANE), "angle": (-ANGLE, ANGLE), "speed": SPEEDS}),
        tolerance={"offset": 0.1, "angle": 0.05, "speed": 0.3},
    )


def random_road(
    rng: np.random.Generator, speeds: dict[tuple[float, float], tuple[float, ...]], segments: int = 10
) -> tuple[Segment, ...]:
    """A road of segments 30 to 120 m long, with turns of up to 0.15 rad and shifts of up to 0.5 m between them.

    Args:
        rng: of the draws.
        speeds: for each friction and curvature that may occur, the speeds that may be posted.
        segments: how many; default: 10.
    """
    kinds, road = list(speeds), []
    for _ in range(segments):
        friction, curvature = kinds[rng.integers(len(kinds))]
        posted = speeds[friction, curvature]
        road.append(
            Segment(
                length=float(rng.uniform(30.0, 120.0)),
                friction=friction,
                curvature=curvature,
                speed=posted[rng.integers(len(posted))],
                turn=float(rng.uniform(-0.15, 0.15)),
                shift=float(rng.uniform(-0.5, 0.5)),
            )
        )
    return tuple(road)
