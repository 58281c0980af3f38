"""Two masses joined by springs, in discrete time as published, and the task of calming them by one force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import casadi as ca
import numpy as np

from systems.constraints import Box
from systems.costs import Quadratic
from systems.distributions import Fixed
from systems.drawing.shapes import Drawing, box, segment
from systems.inputs import limit_changes
from systems.parameters import positive
from systems.plant import Plant
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["MassPair", "mass_pair"]

# Published with three digits.
A = (
    (0.763, 0.460, 0.115, 0.020),
    (-0.899, 0.763, 0.420, 0.115),
    (0.115, 0.020, 0.763, 0.460),
    (0.420, 0.115, -0.899, 0.763),
)
B = (0.014, 0.063, 0.221, 0.367)


@dataclass(frozen=True)
class MassPair(Plant):
    """x+ = A x + B u: positions and speeds of two masses between walls, with a force on the second.

    The matrices are those of the example oscillating_masses_discrete in the gallery of do-mpc, sampled every 0.5 s.
    """

    dt: float = positive(0.5)  # s, which belongs to the matrices
    max_force: float = positive(0.5)  # N

    state = signals("p1 [m]", "v1 [m/s]", "p2 [m]", "v2 [m/s]")
    input = signals("force [N]")

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        return ca.DM(A) @ x.column + ca.DM(B) * u.force

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"force": (-self.max_force, self.max_force)}

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From the side: two blocks, 6 m apart at rest, with their springs between two walls."""
        places = [-9.0, -3.0 + float(x[0]), 3.0 + float(x[2]), 9.0]
        shapes = [segment((wall, -1.0), (wall, 1.0), "ground") for wall in (places[0], places[-1])]
        shapes += [segment((a, 0.0), (b, 0.0), "ground") for a, b in pairwise(places)]
        shapes += [box((place, 0.0), 0.8, 0.8) for place in places[1:-1]]
        shapes.append(segment((places[2], 0.0), (places[2] + 2.0 * float(u[0]) / self.max_force, 0.0), "force"))
        return Drawing(shapes)


def mass_pair() -> Task:
    """Calm two masses within their bounds, in 50 samples of 0.5 s.

    Limits and weights are those of the example oscillating_masses_discrete of do-mpc 5.1, which predicts 7 samples; the
    start, which it draws from [-3, 3] with numpy's seed 99, is rounded to four digits.
    """
    names = MassPair.state.names
    task = Task(
        name="mass-pair",
        plant=MassPair(),
        dt=0.5,
        steps=50,
        cost=Quadratic(Q=dict.fromkeys(names, 1.0), R={}, P=dict.fromkeys(names, 1.0)),
        constraints=(Box("range", {"p1": (-4.0, 4.0), "v1": (-10.0, 10.0), "p2": (-4.0, 4.0), "v2": (-10.0, 10.0)}),),
        initial=Fixed([1.0337, -0.0715, 1.9530, -2.8113]),
        tolerance=dict.fromkeys(names, 0.05),
    )
    return limit_changes(task, weights={"force": 1e-4}, previous={"force": 0.0})
