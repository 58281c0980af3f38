"""Three masses between two walls, joined by springs: a linear plant on which predictive controllers are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from systems.constraints import Box
from systems.costs import Quadratic
from systems.distributions import Fixed
from systems.drawing.shapes import Drawing, box, segment
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["OscillatingMasses", "oscillating_masses"]


@dataclass(frozen=True)
class OscillatingMasses(Plant):
    """Wall - spring - mass 1 - spring - mass 2 - spring - mass 3 - spring - wall; forces on the outer masses.

    m1 p1'' = k (p2 - 2 p1) + force_1
    m2 p2'' = k (p1 - 2 p2 + p3)
    m3 p3'' = k (p2 - 2 p3) + force_3

    The default values are those of the harmonic-MPC tests of the Spcies toolbox (Krupa, Limon & Alamo).
    """

    mass_1: float = positive(1.0)  # kg
    mass_2: float = positive(0.5)  # kg
    mass_3: float = positive(1.0)  # kg
    stiffness: float = nonnegative(2.0)  # N/m, of each spring
    max_force: float = nonnegative(0.8)  # N

    state = signals("p1 [m]", "p2 [m]", "p3 [m]", "v1 [m/s]", "v2 [m/s]", "v3 [m/s]")
    input = signals("force_1 [N]", "force_3 [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        k = self.stiffness
        return (
            x.v1,
            x.v2,
            x.v3,
            (k * (x.p2 - 2.0 * x.p1) + u.force_1) / self.mass_1,
            k * (x.p1 - 2.0 * x.p2 + x.p3) / self.mass_2,
            (k * (x.p2 - 2.0 * x.p3) + u.force_3) / self.mass_3,
        )

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return dict.fromkeys(self.input.names, (-self.max_force, self.max_force))

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From the side: three blocks, a metre apart at rest, with their springs between two walls."""
        places = [0.0, *(i + 1.0 + float(x[i]) for i in range(3)), 4.0]
        shapes = [segment((wall, -0.4), (wall, 0.4), "ground") for wall in (places[0], places[-1])]
        shapes += [segment((a, 0.0), (b, 0.0), "ground") for a, b in pairwise(places)]
        shapes += [box((place, 0.0), 0.3, 0.3) for place in places[1:-1]]
        for place, force in ((places[1], u[0]), (places[3], u[1])):
            end = place + 0.5 * float(force) / max(self.max_force, 1e-9)
            shapes.append(segment((place, 0.0), (end, 0.0), "force"))
        return Drawing(shapes)


def oscillating_masses() -> Task:
    """Shift the masses by 0.25 m while no mass exceeds 0.3 m; zero-order hold of 0.2 s, weights of the Spcies test."""
    positions, speeds = ("p1", "p2", "p3"), ("v1", "v2", "v3")
    return Task(
        name="oscillating-masses",
        plant=OscillatingMasses(),
        dt=0.2,
        steps=100,
        cost=Quadratic(
            Q=dict.fromkeys(positions, 15.0) | dict.fromkeys(speeds, 1.0), R={"force_1": 0.1, "force_3": 0.1}
        ),
        constraints=(
            Box("positions", dict.fromkeys(positions, (-1.0, 0.3))),
            Box("speeds", dict.fromkeys(speeds, (-1000.0, 1000.0))),
        ),
        reference=SetPoint(x=dict.fromkeys(positions, 0.25), u={"force_1": 0.5, "force_3": 0.5}),
        initial=Fixed([0.02] * 6),
        tolerance=dict.fromkeys(positions, 0.01) | dict.fromkeys(speeds, 0.02),
        integrator="exact",
    )
