"""Angles that nobody declared periodic are taken for it only where a turn changes nothing, however far away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from systems import Box, Constraint, Fixed, Inequality, Nonlinear, Plant, Task, signals


@dataclass(frozen=True)
class Pan(Plant):
    """A camera on a cable that may be wound up."""

    state, input = signals("yaw [rad]", "rate [rad/s]"), signals("acceleration [rad/s2]")

    def ode(self, x: Any, u: Any, w: Any) -> Any:
        return x.rate, u.acceleration


@dataclass(frozen=True)
class Wound(Pan):
    """Its cable pulls back beyond two turns."""

    def ode(self, x: Any, u: Any, w: Any) -> Any:
        return x.rate, u.acceleration - ca.fmax(x.yaw - 4 * np.pi, 0.0)


def pan(wound: Any = lambda x: 0.0, constraint: Constraint | None = None, plant: Plant | None = None) -> Task:
    cost = Nonlinear(lambda x, u, xr, ur: 1 - ca.cos(x.yaw) + x.rate**2 + 0.1 * u.acceleration**2 + wound(x))
    return Task("pan", plant or Pan(), 0.1, 50, cost, Fixed([19.0, 0.0]), () if constraint is None else (constraint,))


def test_nothing_depends_on_the_number_of_turns() -> None:
    assert pan().reading.state.periods[0] == pytest.approx(2 * np.pi)


@pytest.mark.parametrize(
    "task",
    [
        pan(lambda x: 10 * ca.fmax(ca.fabs(x.yaw) - 9, 0) ** 2),
        pan(lambda x: ca.if_else(x.yaw > 500, 1, 0)),
        pan(constraint=Inequality("cable", lambda x, u: ca.fmax(-x.yaw - 40, 0)).soft(10.0)),
        pan(constraint=Box("cable", {"yaw": (-40.0, 40.0)}).soft(10.0)),
        pan(plant=Wound()),
    ],
    ids=["cost", "step far away", "constraint", "box", "plant"],
)
def test_something_far_away_does(task: Task) -> None:
    assert np.isinf(task.reading.state.periods).all()
