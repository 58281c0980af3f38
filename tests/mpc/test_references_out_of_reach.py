"""A crane that is to stand behind a wall, and a load that must not swing beyond it: it rests at the wall."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import LQR, Controller, simulate
from ctrl.linearisation import local_model
from ctrl.regulator import lqr
from mpc import HarmonicMPC, LinearMPC, NonlinearMPC, TrackingMPC
from systems import Box, Constraint, Inequality, Plant, Quadratic, SetPoint, Task, Uniform, signals
from systems.library import cartpole_track


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
@pytest.mark.every(5)
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
            assert any("permits no violation" in text for text in make(crane(LIMITS[limit])).approximations)  # type: ignore[attr-defined]
    assert any("violates 'wall'" in text for text in LQR(crane(WALL)).approximations)


SLOW = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("kind", "starts"),
    [
        (LinearMPC, 8), (TrackingMPC, 8), (HarmonicMPC, 8), (NonlinearMPC, 1),
        pytest.param(LinearMPC, 100, marks=SLOW), pytest.param(TrackingMPC, 100, marks=SLOW),
        pytest.param(HarmonicMPC, 100, marks=SLOW), pytest.param(NonlinearMPC, 100, marks=SLOW),
    ],
)  # fmt: skip
@pytest.mark.every(4)
def test_the_pole_stays_up_at_the_end_of_the_track(kind: Callable[[Task], Controller], starts: int) -> None:
    """With default horizons, some of which are too short for the terminal condition."""
    task = dataclasses.replace(cartpole_track(), steps=300)
    x0 = task.initial.sample(task.plant.state, np.random.default_rng(0), (starts,))
    run = simulate(task, kind(task), x0)
    assert (run.left < 0).all()
    beyond = (run.states[:, 1:, 0] > 0.7 + 1e-6).sum(axis=1)
    assert beyond.max() <= 5
    assert np.abs(run.states[:, -1, 2:]).max() < 0.05
    if kind is not TrackingMPC:  # whose steady state half a second ahead moves slowly
        assert run.states[:, -1, 0].min() > 0.4


def test_the_cost_alone_is_charged_where_it_is_asked_for() -> None:
    task = cartpole_track()
    controller = LinearMPC(task, 10, terminal="cost")
    model = local_model(task, constrained=True)
    charged = controller.problem.P.toarray()[-4:, -4:]
    np.testing.assert_allclose(charged, lqr(model.plant, model.Q, model.R, model.N).P, rtol=1e-9)
