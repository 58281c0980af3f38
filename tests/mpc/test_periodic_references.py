"""A whole turn changes nothing: neither of the reference, nor of the start, nor between rows of a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import casadi as ca
import numpy as np
import pytest

from ctrl import LQR, Controller, simulate
from ctrl.controller import Status
from mpc import (
    EqualityMPC,
    ExplicitMPC,
    HarmonicMPC,
    LagrangianMPC,
    LinearMPC,
    NonlinearMPC,
    StochasticMPC,
    TrackingMPC,
)
from systems import Box, Fixed, Plant, Quadratic, Reference, SetPoint, Sinusoid, Task, Trajectory, angle, signals


@dataclass(frozen=True)
class Turret(Plant):
    """Linear, its azimuth declared periodic."""

    state, input = signals(angle("azimuth [deg]"), "rate [deg/s]"), signals("acceleration [deg/s2]")

    def ode(self, x, u, w):  # type: ignore[no-untyped-def]
        return x.rate, u.acceleration - 0.5 * x.rate

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"acceleration": (-40.0, 40.0)}


@dataclass(frozen=True)
class Valve(Plant):
    """A disc under a spring that pulls to 0.4 turns, with a period of one turn."""

    state, input = signals(angle("lift [turn]", period=1.0), "speed [turn/s]"), signals("torque [1/s2]")

    def ode(self, x, u, w):  # type: ignore[no-untyped-def]
        return x.speed, u.torque - x.speed - ca.sin(2 * np.pi * (x.lift - 0.4))

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"torque": (-3.0, 3.0)}


STANDING: dict[str, Callable[[Task], Controller]] = {
    "LQR": LQR,
    "linear": lambda task: LinearMPC(task, 15),
    "nonlinear": lambda task: NonlinearMPC(task, 10),
    "harmonic": lambda task: HarmonicMPC(task, 12, frequency=0.3),
    "tracking": lambda task: TrackingMPC(task, 25),
    "equality": lambda task: EqualityMPC(task, 25),
    "Lagrangian": lambda task: LagrangianMPC(task, 10),
    "stochastic": lambda task: StochasticMPC(task, 6),
}
MOVING = ("LQR", "linear", "nonlinear", "harmonic", "tracking", "Lagrangian")
TURRET = Task("turret", Turret(), 0.1, 25, Quadratic([1.0, 0.1], [0.01]), Fixed([0.0, 0.0]))
VALVE = Task("valve", Valve(), 0.1, 25, Quadratic([1.0, 0.1], [0.01]), Fixed([0.4, 0.0]))


def cost(task: Task, reference: Reference, name: str, start: float) -> float:
    changed = dataclasses.replace(task, reference=reference)
    return float(simulate(changed, STANDING[name](changed), np.array([[start, 0.0]])).cost[0])


@pytest.mark.parametrize("name", STANDING)
@pytest.mark.every(3)
def test_a_set_point_and_a_start_that_are_turns_away(name: str) -> None:
    right = cost(TURRET, SetPoint([30.0, 0.0], [0.0]), name, 0.0)
    assert cost(TURRET, SetPoint([390.0, 0.0], [0.0]), name, 0.0) == pytest.approx(right, rel=1e-6)
    assert cost(TURRET, SetPoint([30.0, 0.0], [0.0]), name, -720.0) == pytest.approx(right, rel=1e-6)
    assert right < 40 * 30.0**2
    near = cost(TURRET, SetPoint([350.0, 0.0], [0.0]), name, 10.0)
    assert near == pytest.approx(cost(TURRET, SetPoint([-10.0, 0.0], [0.0]), name, 10.0), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in STANDING if name != "stochastic"])
@pytest.mark.every(3)
def test_a_nonlinear_plant_with_another_period(name: str) -> None:
    hold = float(np.sin(2 * np.pi * (0.55 - 0.4)))
    right = cost(VALVE, SetPoint([-0.45, 0.0], [hold]), name, -0.6)
    for reference, start in ((0.55, 0.4), (-3.45, 0.4), (7.55, -11.6)):
        found = cost(VALVE, SetPoint([reference, 0.0], [hold]), name, start)
        assert found == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.every(3)
def test_a_table_that_wraps(name: str) -> None:
    turned = 3.0 * np.arange(80)
    rates, inputs = np.full(80, 30.0), np.full((80, 1), 15.0)
    right = cost(TURRET, Trajectory(np.c_[turned + 150.0, rates], inputs), name, 150.0)
    wrapped = np.c_[(turned + 150.0 + 180.0) % 360.0 - 180.0, rates]
    assert cost(TURRET, Trajectory(wrapped, inputs), name, 150.0) == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.every(3)
def test_a_sinusoid_about_another_turn(name: str) -> None:
    def swing(mean: float) -> Sinusoid:
        return Sinusoid(0.2, [mean, 0.0], x_sine=[20.0, 0.0], x_cosine=[0.0, 40.0])

    right = cost(TURRET, swing(20.0), name, 20.0)
    assert cost(TURRET, swing(380.0), name, 20.0) == pytest.approx(right, rel=1e-6)
    assert cost(TURRET, swing(20.0), name, 740.0) == pytest.approx(right, rel=1e-6)


def test_an_explicit_law_knows_turns() -> None:
    task = dataclasses.replace(
        TURRET,
        reference=SetPoint([30.0, 0.0], [0.0]),
        domain=Box("domain", {"azimuth": (-100.0, 100.0), "rate": (-90.0, 90.0)}),
    )
    law = ExplicitMPC(task, 2)
    here, there = law.step(np.array([29.0, 1.0]), 0), law.step(np.array([749.0, 1.0]), 0)
    assert here.status == there.status == Status.SOLVED
    assert law.is_feasible(np.array([-331.0, 1.0]))
    np.testing.assert_allclose(here.input, there.input, atol=1e-9)
    np.testing.assert_allclose(law.batch(np.array([[29.0, 1.0], [-331.0, 1.0]]), 0)[1], here.input, atol=1e-9)
