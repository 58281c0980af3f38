"""A greenhouse that is heated for growth: a linear program over time, under sun and weather that are known ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, sin
from typing import Any

from systems.constraints import Box
from systems.costs import Nonlinear
from systems.distributions import Uniform
from systems.known_ahead import know_ahead
from systems.library.battery import DAY, HOUR, daily_price
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["Greenhouse", "greenhouse"]


@dataclass(frozen=True)
class Greenhouse(Plant):
    """Dry mass of a crop, and temperature of the air around it.

    dry_mass'    = light_use sun temperature
    temperature' = loss (outside - temperature) + gain heating      (both per hour)

    The example of chapter 2 of van Straten, van Willigenburg, van Henten & van Ooteghem, Optimal Control of Greenhouse
    Cultivation (2010), with its values, in grams.
    """

    light_use: float = positive(7.5e-5)  # g/(m^2 h) for 1 W/m^2 of sun and 1 degC
    loss: float = positive(1.0)  # 1/h
    gain: float = positive(0.1)  # K/h for 1 W/m^2 of heating
    most: float = nonnegative(100.0)  # W/m^2, of heating

    state = signals("dry_mass [g/m^2]", "temperature [degC]")
    input = signals("heating [W/m^2]")
    disturbance = signals("outside [degC]", "sun [W/m^2]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return (
            self.light_use * w.sun * x.temperature / HOUR,
            (self.loss * (w.outside - x.temperature) + self.gain * u.heating) / HOUR,
        )

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"heating": (0.0, self.most)}


VALUE = 0.1364
"""Value of the crop, EUR per g of dry mass."""

PRICE = 0.455
"""Mean cost of heat, EUR/kWh."""


def _sky(seconds: float) -> float:
    """The sine by which sun and outside temperature follow the time of day."""
    return sin(2.0 * pi * seconds / DAY - 0.65 * pi)


def greenhouse(preview: int = 4) -> Task:
    """Two days in half hours: the value of the crop that has grown, less the bill for heating.

    Sun, outside temperature and the value of the crop are those of the book. Heat costs the same at all times there;
    here, its price has the daily course of :func:`daily_price` around the same mean, errors of the temperature forecast
    are drawn and decay by 10 % per half hour, and each kelvin below 8 degC or above 30 degC costs 0.02 EUR/m^2 per half
    hour.

    Args:
        preview: half hours of forecast that learners observe; default: 4.
    """
    task = Task(
        name="greenhouse",
        plant=Greenhouse(),
        dt=0.5 * HOUR,
        steps=96,
        cost=Nonlinear(lambda x, u, xr, ur: 0.0),
        initial=Uniform({"temperature": 9.0}, {"temperature": 12.0}),
        constraints=(Box("temperature", {"temperature": (8.0, 30.0)}).soft(0.02),),
        reference=SetPoint({"temperature": 15.0}),
        tolerance={},
        discount=1.0,
        substeps=4,
    )
    hours, kilo = task.dt / HOUR, 1000.0
    return know_ahead(
        task,
        signals("outside [degC]", "sun [W/m^2]", "price [EUR/kWh]"),
        {
            "outside": lambda t: 15.0 + 10.0 * _sky(t),
            "sun": lambda t: 800.0 * max(0.0, _sky(t)),
            "price": lambda t: PRICE * daily_price(t) / 0.25,
        },
        cost=Nonlinear(
            lambda x, u, xr, ur: x.price * u.heating / kilo * hours,
            lambda x, xr: -VALUE * x.dry_mass,
        ),
        errors=Uniform({"outside": -0.5}, {"outside": 0.5}),
        persistence=0.9,
        preview=preview,
    )
