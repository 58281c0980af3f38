"""A house battery that buys and sells at prices known ahead: a linear program over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import Any

from systems.constraints import Box
from systems.costs import Nonlinear
from systems.distributions import Uniform
from systems.known_ahead import know_ahead
from systems.parameters import parameter, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["Battery", "battery", "daily_price"]

HOUR, DAY = 3600.0, 86400.0


@dataclass(frozen=True)
class Battery(Plant):
    """E' = efficiency * charging - discharging / efficiency.

    Capacity, power and a round-trip efficiency of 90 % are those of a usual home battery, not of a data sheet.
    """

    capacity: float = positive(13.5)  # kWh
    power: float = positive(5.0)  # kW, of charging and of discharging
    efficiency: float = parameter(0.9**0.5, above=0.0, most=1.0)  # one way

    state = signals("energy [kWh]")
    input = signals("charging [kW]", "discharging [kW]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return ((self.efficiency * u.charging - u.discharging / self.efficiency) / HOUR,)

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"charging": (0.0, self.power), "discharging": (0.0, self.power)}


def daily_price(seconds: float) -> float:
    """A price in EUR/kWh with a low at night and peaks in the morning and the evening, in the shape of day-ahead
    markets; a formula, not a record."""
    phase = 2.0 * pi * seconds / DAY
    return 0.25 - 0.06 * cos(phase) - 0.05 * cos(2.0 * phase - 1.0)


def battery(preview: int = 6) -> Task:
    """Two days of trade, hour by hour, at a price that is known ahead; energy left at the end is worth 0.2 EUR/kWh.

    Args:
        preview: hours of prices ahead that learners observe; default: 6.
    """
    plant = Battery()
    task = Task(
        name="battery",
        plant=plant,
        dt=HOUR,
        steps=48,
        cost=Nonlinear(lambda x, u, xr, ur: 0.0),
        initial=Uniform({"energy": 2.0}, {"energy": 11.5}),
        constraints=(Box("capacity", {"energy": (0.0, plant.capacity)}),),
        reference=SetPoint({"energy": 0.5 * plant.capacity}),
        tolerance={},
        discount=1.0,
        integrator="exact",
    )
    return know_ahead(
        task,
        signals("price [EUR/kWh]"),
        {"price": daily_price},
        cost=Nonlinear(
            lambda x, u, xr, ur: x.price * (u.charging - u.discharging) * (task.dt / HOUR),
            lambda x, xr: -0.2 * x.energy,
        ),
        preview=preview,
    )
