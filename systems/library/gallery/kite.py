"""A towing kite on a tether of constant length, and the task of pulling as hard as possible above a minimum height."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi
from typing import Any

import casadi as ca
import numpy as np

from systems.constraints import Box, Inequality
from systems.costs import Nonlinear
from systems.distributions import Fixed
from systems.drawing.shapes import Drawing, disc, segment
from systems.inputs import limit_changes
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["Kite", "towing_kite"]


@dataclass(frozen=True)
class Kite(Plant):
    """Zenith angle, azimuth angle and orientation of a kite, steered by its deflection (Erhard & Strauch, 2013).

    With the glide ratio E = E_0 - c u^2 and the air speed v_a = v_0 E cos(zenith):

    zenith'      = v_a / L (cos(orientation) - tan(zenith) / E)
    azimuth'     = -v_a / (L sin(zenith)) sin(orientation)
    orientation' = v_a / L u + azimuth' cos(zenith)

    The default values are those of the example kite in the gallery of do-mpc, with wind and glide ratio in the middle
    of the ranges from which it draws them.
    """

    tether: float = positive(400.0)  # m, L
    area: float = positive(300.0)  # m^2
    density: float = positive(1.0)  # kg/m^3
    steering_drag: float = nonnegative(0.028)  # c
    glide_ratio: float = positive(6.5)  # E_0; drawn from [5, 8]
    wind: float = positive(11.0)  # m/s, v_0; mean wind drawn from [6, 16]

    state = signals("zenith [rad]", "azimuth [rad]", "orientation [rad]")
    input = signals("deflection [-]")

    def glide(self, u: Vector) -> Any:
        """E."""
        return self.glide_ratio - self.steering_drag * u.deflection**2

    def thrust(self, x: Vector, u: Vector) -> Any:
        """Force in the tether, N."""
        glide = self.glide(u)
        load = 0.5 * self.density * self.wind**2 * self.area
        return load * ca.cos(x.zenith) ** 3 * (glide + 1.0) * ca.sqrt(glide**2 + 1.0)

    def height(self, x: Vector) -> Any:
        """In m."""
        return self.tether * ca.sin(x.zenith) * ca.cos(x.azimuth)

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        glide = self.glide(u)
        turn = self.wind * glide * ca.cos(x.zenith) / self.tether
        azimuth = -turn / ca.sin(x.zenith) * ca.sin(x.orientation)
        return (
            turn * (ca.cos(x.orientation) - ca.tan(x.zenith) / glide),
            azimuth,
            turn * u.deflection + azimuth * ca.cos(x.zenith),
        )

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"deflection": (-10.0, 10.0)}

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """Seen along the wind: the tether, and the kite, which flies in the direction of its rod."""
        zenith, azimuth, orientation = (float(value) for value in x)
        outward, sideways = np.array([np.sin(azimuth), np.cos(azimuth)]), np.array([np.cos(azimuth), -np.sin(azimuth)])
        place = self.tether * np.sin(zenith) * outward
        ahead = np.cos(orientation) * np.cos(zenith) * outward - np.sin(orientation) * sideways
        size = 0.03 * self.tether
        return Drawing(
            [
                segment((-2.0 * self.tether, 0.0), (2.0 * self.tether, 0.0), "ground"),
                segment((0.0, 0.0), place, "ground"),
                disc(place, 0.5 * size),
                segment(place, place + 2.0 * size * ahead),
            ]
        )


def towing_kite() -> Task:
    """Pull as hard as possible for 30 s at a height of at least 100 m, in 200 samples of 0.15 s.

    Limits, weights and sample time are those of the example kite of do-mpc 5.1, which predicts 80 samples. It draws
    start, wind and minimum height; here they are fixed, the height in the middle of its range, and the wind is steady.
    """
    plant = Kite()
    task = Task(
        name="towing-kite",
        plant=plant,
        dt=0.15,
        steps=200,
        cost=Nonlinear(lambda x, u, xr, ur: -1e-4 * plant.thrust(x, u), lambda x, xr: 0.0),
        constraints=(
            Box("angles", {"zenith": (0.0, 0.5 * pi), "azimuth": (-0.5 * pi, 0.5 * pi), "orientation": (-pi, pi)}),
            Inequality("height", lambda x, u: 100.0 - plant.height(x)).soft(1e3),
        ),
        initial=Fixed([0.6, 0.3, 0.5]),
        reference=SetPoint({"zenith": 0.4}),
        tolerance={},
        substeps=2,
    )
    return limit_changes(task, weights={"deflection": 0.5}, previous={"deflection": 0.0})
