"""A crane that is to stand behind a wall, and a load that must not swing beyond it: it rests at the wall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import LQR, Controller, simulate
from mpc import HarmonicMPC, LinearMPC, NonlinearMPC, TrackingMPC
from systems import Box, Constraint, Inequality, Plant, Quadratic, SetPoint, Task, Uniform, signals


@dataclass(frozen=True)
class Crane(Plant):
    state = signals("position [m]", "velocity [m/s]", "swing [rad]", "rate [rad/s]")
    input = signals("acceleration [m/s2]")

    def ode(self, x: Any, u: Any, w: Any) -> Any:
        swing = -(9.81 * ca.sin(x.swing) + u.acceleration * ca.cos(x.swing)) / 1.5 - 0.05 * x.rate
        return x.velocity, u.acceleration, x.rate, swing

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"acceleration": (-3.0, 3.0)}


WALL = Box("wall", {"position": (-3.0, 1.0)})
LIMITS: dict[str, Constraint] = {
    "hard": WALL,
    "budget": WALL.budget(8),
    "chance": WALL.chance(0.9),
    "both sides": Inequality("wall", lambda x, u: ca.fabs(x.position + 1.0) - 2.0),
    "soft": WALL.soft(100.0),
}
MAKERS: dict[str, Callable[[Task], Controller]] = {
    "linear": lambda task: LinearMPC(task, 25),
    "nonlinear": lambda task: NonlinearMPC(task, 12),
    "harmonic": lambda task: HarmonicMPC(task, 25, frequency=0.3),
    "tracking": lambda task: TrackingMPC(task, 25),
}


def crane(limit: Constraint) -> Task:
    return Task(
        "crane", Crane(), 0.1, 50, Quadratic([2, 0.2, 1, 0.2], [0.1]),
        Uniform([-0.5, -0.3, -0.2, -0.2], [0.5, 0.3, 0.2, 0.2]), (limit,), SetPoint([1.5, 0, 0, 0], [0.0]),
        domain=Box("domain", {"swing": (-0.8, 0.8)}),
    )  # fmt: skip


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("name", MAKERS)
def test_it_rests_at_the_wall(name: str, limit: str) -> None:
    task = crane(LIMITS[limit])
    starts = task.initial.sample(task.plant.state, np.random.default_rng(1), (2,))
    run = simulate(task, MAKERS[name](task), starts)
    assert (run.left < 0).all()
    assert run.states[:, :, 0].max() < 1.001
    np.testing.assert_allclose(run.states[:, -1, 0], 1.0, atol=0.01)
    assert (run.statuses == 0).all()


def test_what_holds_more_than_is_asked_says_so() -> None:
    for limit in ("budget", "chance"):
        for make in MAKERS.values():
            assert any("with no allowance" in text for text in make(crane(LIMITS[limit])).approximations)  # type: ignore[attr-defined]
    assert any("violates 'wall'" in text for text in LQR(crane(WALL)).approximations)
