"""A car among traffic on several lanes, as one plant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import casadi as ca

from systems.arguments import expect_names
from systems.discretise import rk4
from systems.errors import InvalidValue, expect
from systems.library.driving.drivers import Driver
from systems.library.driving.road import Road
from systems.library.driving.traffic import Vehicle, advance
from systems.library.single_track import KinematicCar
from systems.parameters import nonnegative
from systems.plant import Plant
from systems.signals import Signals, Vector, signals

__all__ = ["Highway"]

CAR = KinematicCar()


@dataclass(frozen=True)
class Highway(Plant):
    """A kinematic car (:class:`systems.library.single_track.KinematicCar`) among drivers who follow and change lanes.

    All positions are those of the rear axles: across, y counts from the middle of the road to the left; along, the
    others' are relative to the ego, ``ahead`` of it. The road is a ring, so a vehicle that falls far behind is the next
    one to come up ahead; ``ahead`` itself is never wrapped, because a jump in a state defeats every optimiser: what
    reads it takes it modulo the road's length. The ego is not an obstacle: where it is driven into others they
    pass through each other, and a constraint must say that this was wrong.

    For each other vehicle ``lane`` is the centre line it holds or makes for (any start is snapped to the nearest) and
    ``desired`` the speed it would like. The disturbance is the drivers' inattention, an acceleration.

    Args:
        others: number of other vehicles, as the length of this tuple of their names.
    """

    dt: float = 0.1  # s
    strongest_drive: float = nonnegative(3.0)  # m/s^2
    strongest_braking: float = nonnegative(6.0)  # m/s^2
    # At 28 m/s a sample of it changes the lateral acceleration by 1.5 m/s^2.
    fastest_steering: float = nonnegative(0.05)  # rad/s
    road: Road = field(default_factory=Road)
    driver: Driver = field(default_factory=Driver)
    others: tuple[str, ...] = tuple("abcdefgh")

    input = CAR.input

    def __post_init__(self) -> None:
        expect(self.road, Road, "Highway.road", "such as Road(lanes=2)")
        expect(self.driver, Driver, "Highway.driver", "such as Driver(politeness=0.2)")
        if not expect_names(self.others, "Highway.others"):
            raise InvalidValue("a highway without other vehicles; name at least one, such as others=('a',)")
        super().__post_init__()

    @property
    def state(self) -> Signals:  # type: ignore[override]
        """The ego's state without its position along the road, then five numbers of each other vehicle."""
        return _state(self.others)

    @property
    def disturbance(self) -> Signals:  # type: ignore[override]
        """One acceleration per other vehicle."""
        return _disturbance(self.others)

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {
            "steering_rate": (-self.fastest_steering, self.fastest_steering),
            "acceleration": (-self.strongest_braking, self.strongest_drive),
        }

    def vehicles(self, x: Vector) -> list[Vehicle]:
        """The ego, which is at 0 along the road, and the others."""
        return [
            Vehicle(ca.SX(0), x.y, x.speed),
            *(
                Vehicle(*(x[f"{what}_{name}"] for what in ("ahead", "y", "speed", "lane", "desired")))
                for name in self.others
            ),
        ]

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        start = ca.vertcat(*[ca.SX(0) if name == "x" else x[name] for name in CAR.state.names])
        no_disturbance = Vector(CAR.disturbance, ca.SX(0, 1))
        moved = rk4(lambda z: ca.vertcat(*CAR.ode(Vector(CAR.state, z), u, no_disturbance)), start, self.dt)
        driven, *ego = (moved[CAR.state.where(name)] for name in ("x", *(n for n in CAR.state.names if n != "x")))
        others = advance(self.road, self.driver, self.vehicles(x), list(w), self.dt)
        return [*ego, *(entry for v in others for entry in (v.ahead - driven, v.y, v.speed, v.lane, v.desired))]


@cache
def _state(others: tuple[str, ...]) -> Signals:
    ego = [str(signal) for signal in CAR.state if signal.name != "x"]
    each = ("ahead_{} [m]", "y_{} [m]", "speed_{} [m/s]", "lane_{} [m]", "desired_{} [m/s]")
    return signals(*ego, *(text.format(name) for name in others for text in each))


@cache
def _disturbance(others: tuple[str, ...]) -> Signals:
    return signals(*(f"inattention_{name} [m/s^2]" for name in others))
