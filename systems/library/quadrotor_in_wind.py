"""Quadrotor in a vertical plane with a wind that is not known, and the task of flying between pillars in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np

from systems.constraints import Box, Inequality
from systems.distributions import Uniform
from systems.library.planar_quadrotor import PlanarQuadrotor, planar_quadrotor
from systems.parameters import parameter, positive
from systems.signals import Vector
from systems.task import Task

__all__ = ["QuadrotorInWind", "quadrotor_in_wind"]


@final
@dataclass(frozen=True)
class QuadrotorInWind(PlanarQuadrotor):
    """:class:`PlanarQuadrotor` with the force of a steady wind and of vortices, in addition to its gusts:

    x-force = side_wind + vortex sin(k x) cos(k z)
    z-force = updraught - vortex cos(k x) sin(k z), k = 2 pi / cell

    The vortices are those of Taylor & Green (1937), a flow without sources. Without a wind it is the plain quadrotor.
    """

    side_wind: float = parameter(0.0)  # N
    updraught: float = parameter(0.0)  # N
    vortex: float = parameter(0.0)  # N
    cell: float = positive(2.0)  # m, distance after which the vortices repeat

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        *positions, x_rate, z_rate, angle_rate = super().ode(x, u, w)
        k = 2.0 * np.pi / self.cell
        across = self.side_wind + self.vortex * ca.sin(k * x.x) * ca.cos(k * x.z)
        up = self.updraught - self.vortex * ca.cos(k * x.x) * ca.sin(k * x.z)
        return (*positions, x_rate + across / self.mass, z_rate + up / self.mass, angle_rate)


PILLARS = ((1.1, 0.05, 0.35), (1.0, 0.95, 0.3), (-0.6, 0.0, 0.35))  # centre x, centre z, radius with the rotors [m]


def quadrotor_in_wind() -> Task:
    """Hover at the origin, a quarter of a metre off a round pillar, beginning behind two others, in a wind that is
    drawn for every run. Controllers know the quadrotor without wind."""
    hover = planar_quadrotor()
    pillars = Inequality("pillars", lambda x, u: [r**2 - (x.x - cx) ** 2 - (x.z - cz) ** 2 for cx, cz, r in PILLARS])
    low = {"side_wind": -2.0, "updraught": -1.0, "vortex": -1.0}
    return Task(
        name="quadrotor-in-wind",
        plant=QuadrotorInWind(),
        truth=QuadrotorInWind(),
        variation=Uniform(low, {name: -value for name, value in low.items()}),
        dt=hover.dt,
        steps=250,
        cost=hover.cost,
        reference=hover.reference,
        constraints=(pillars,),
        initial=Uniform({"x": 2.0, "z": -0.8}, {"x": 2.5, "z": 0.8}),
        disturbance=Uniform({"wind": -0.5}, {"wind": 0.5}),
        domain=Box("model", {"x": (-3.0, 4.0), "z": (-3.0, 3.0), "angle": (-1.57, 1.57)}),
        tolerance={"x": 0.2, "z": 0.2, "angle": 0.2},
    )
