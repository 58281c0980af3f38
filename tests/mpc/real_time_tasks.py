"""Tasks on which exported real-time iterations are tested."""

from __future__ import annotations

import dataclasses

from systems import Fixed, Inequality, Task
from systems.library import planar_quadrotor

HELD_BY = 0.3  # m, radius of the obstacle


def quadrotor_with_obstacle(weight: float | None = None) -> Task:
    """The planar quadrotor, with a disc between it and the origin: hard, or soft with this weight."""
    disc = Inequality("obstacle", lambda x, u: HELD_BY**2 - (x.x + 0.6) ** 2 - (x.z - 0.05) ** 2)
    return dataclasses.replace(
        planar_quadrotor(),
        name="quadrotor-with-obstacle",
        constraints=(disc if weight is None else disc.soft(weight),),
        initial=Fixed({"x": -1.5, "z": 0.1}),
    )
