"""A fed-batch bioreactor in which biomass makes a product, and the task of making as much as possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from systems.constraints import Box
from systems.costs import Nonlinear
from systems.distributions import Fixed
from systems.inputs import limit_changes
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["FedBatchBioreactor", "fed_batch_bioreactor"]

HOUR = 3600.0  # s


@dataclass(frozen=True)
class FedBatchBioreactor(Plant):
    """Growth with inhibition by the substrate, fed at a rate F (Srinivasan, Palanki & Bonvin, 2003, example 4).

    Per hour, with mu = mu_max S / (K_m + S + S^2 / K_i):

    X' = mu X - F / V X
    S' = -mu X / Y_x - v X / Y_p + F / V (S_in - S)
    P' = v X - F / V P
    V' = F

    The default values and limits are those of the example batch_reactor in the gallery of do-mpc. ``ode`` is per
    second.
    """

    max_growth: float = positive(0.02)  # 1/h, mu_max
    saturation: float = positive(0.05)  # g/l, K_m
    inhibition: float = positive(5.0)  # g/l, K_i
    production: float = nonnegative(0.004)  # 1/h, v, product per biomass
    biomass_yield: float = positive(0.5)  # Y_x, biomass per substrate
    product_yield: float = positive(1.2)  # Y_p, product per substrate
    inlet_substrate: float = nonnegative(200.0)  # g/l, S_in
    max_feed: float = positive(0.2)  # l/h

    state = signals("biomass [g/l]", "substrate [g/l]", "product [g/l]", "volume [l]")
    input = signals("feed [l/h]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        s = x.substrate
        growth = self.max_growth * s / (self.saturation + s + s**2 / self.inhibition) * x.biomass
        dilution, made = u.feed / x.volume, self.production * x.biomass
        hourly = (
            growth - dilution * x.biomass,
            -growth / self.biomass_yield - made / self.product_yield + dilution * (self.inlet_substrate - s),
            made - dilution * x.product,
            u.feed,
        )
        return tuple(rate / HOUR for rate in hourly)

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"feed": (0.0, self.max_feed)}


def fed_batch_bioreactor() -> Task:
    """Make as much product as possible in 150 h, with at most 3.7 g/l of biomass.

    Start, limits, weights and sample time are those of the example batch_reactor of do-mpc 5.1, which predicts 20
    samples and charges -P in each.
    """
    infinity = float("inf")
    task = Task(
        name="fed-batch-bioreactor",
        plant=FedBatchBioreactor(),
        dt=HOUR,
        steps=150,
        cost=Nonlinear(lambda x, u, xr, ur: -x.product, lambda x, xr: -x.product),
        constraints=(
            Box(
                "range",
                {
                    "biomass": (0.0, 3.7),
                    "substrate": (-0.01, infinity),
                    "product": (0.0, 3.0),
                    "volume": (0.0, infinity),
                },
            ),
        ),
        initial=Fixed([1.0, 0.5, 0.0, 120.0]),
        reference=SetPoint({"biomass": 3.7, "substrate": 0.5, "product": 1.7, "volume": 125.0}),
        tolerance={},
        substeps=4,  # without substrate, it is consumed within 20 min
    )
    return limit_changes(task, weights={"feed": 1.0}, previous={"feed": 0.0})
