"""A house with a heat pump: electricity by a price, comfort by the time of day, under weather that is forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import numpy as np

from systems.constraints import Box, Inequality
from systems.costs import Nonlinear
from systems.distributions import Uniform
from systems.known_ahead import know_ahead
from systems.library.battery import DAY, HOUR, daily_price
from systems.parameters import parameter, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["HeatPump", "heat_pump"]


@dataclass(frozen=True)
class HeatPump(Plant):
    """Air of the rooms, floor, and water in the pipes of the floor, which a heat pump warms.

    C_room room'   = floor_room (floor - room) - loss (room - outside) + (1 - share) sun
    C_floor floor' = water_floor (water - floor) - floor_room (floor - room) + share sun
    C_water water' = performance * power - water_floor (water - floor)

    A model of three capacities in the manner of Halvgaard, Poulsen, Madsen & Jørgensen (2012), written from memory; the
    values are round numbers of a small house.
    """

    room_capacity: float = positive(1.0)  # kWh/K
    floor_capacity: float = positive(3.5)  # kWh/K
    water_capacity: float = positive(0.25)  # kWh/K
    loss: float = positive(0.1)  # kW/K, from the rooms to the outside
    floor_room: float = positive(0.6)  # kW/K
    water_floor: float = positive(0.3)  # kW/K
    sun_on_floor: float = parameter(0.1, least=0.0, most=1.0)  # share of the sun that warms the floor
    performance: float = positive(3.0)  # heat by electricity
    power: float = positive(2.0)  # kW

    state = signals("room [degC]", "floor [degC]", "water [degC]")
    input = signals("power [kW]")
    disturbance = signals("outside [degC]", "sun [kW]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        to_room = self.floor_room * (x.floor - x.room)
        to_floor = self.water_floor * (x.water - x.floor)
        out = self.loss * (x.room - w.outside)
        return (
            (to_room - out + (1.0 - self.sun_on_floor) * w.sun) / self.room_capacity / HOUR,
            (to_floor - to_room + self.sun_on_floor * w.sun) / self.floor_capacity / HOUR,
            (self.performance * u.power - to_floor) / self.water_capacity / HOUR,
        )

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"power": (0.0, self.power)}


def heat_pump(preview: int = 4) -> Task:
    """Two winter days in half hours: 21 degC from 6 to 22 o'clock and 18 degC at night, each kelvin below costing
    1 EUR per half hour, for the least bill. Errors of the temperature forecast are drawn and fade by 10 % per half
    hour. Heat left at the end is worth what it costs at 0.15 EUR/kWh.

    Args:
        preview: half hours of forecast that learners observe; default: 4.
    """
    plant = HeatPump()
    task = Task(
        name="heat-pump",
        plant=plant,
        dt=0.5 * HOUR,
        steps=96,
        cost=Nonlinear(lambda x, u, xr, ur: 0.0),
        initial=Uniform(
            {"room": 20.0, "floor": 22.0, "water": 24.0},
            {"room": 22.0, "floor": 24.0, "water": 30.0},
        ),
        constraints=(Box("water", {"water": (-np.inf, 55.0)}),),
        reference=SetPoint({"room": 21.0, "floor": 24.0, "water": 30.0}),
        tolerance={},
        discount=1.0,
        integrator="exact",
    )
    worth = 0.15 / plant.performance

    def left(x: Vector, xr: Vector) -> Any:
        return -worth * sum(
            capacity * (x[name] - 20.0)
            for name, capacity in (
                ("room", plant.room_capacity),
                ("floor", plant.floor_capacity),
                ("water", plant.water_capacity),
            )
        )

    return know_ahead(
        task,
        signals("outside [degC]", "sun [kW]", "price [EUR/kWh]", "lowest [degC]"),
        {
            "outside": lambda t: -1.0 - 5.0 * cos(2.0 * pi * (t / DAY - 0.125)),
            "sun": lambda t: 2.0 * max(0.0, -cos(2.0 * pi * t / DAY) - 0.3),
            "price": daily_price,
            "lowest": lambda t: 21.0 if 6.0 <= t / HOUR % 24.0 < 22.0 else 18.0,
        },
        cost=Nonlinear(lambda x, u, xr, ur: x.price * u.power * (task.dt / HOUR), left),
        constraints=(Inequality("comfort", lambda x, u: x.lowest - x.room).soft(1.0),),
        errors=Uniform({"outside": -0.8}, {"outside": 0.8}),
        persistence=0.9,
        preview=preview,
    )
