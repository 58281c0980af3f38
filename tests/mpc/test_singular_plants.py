"""Plants without a derivative at the reference: refused by name where a linearisation is needed, else controlled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import casadi as ca
import numpy as np
import pytest

from ctrl.controller import Controller, NotApplicable, Status
from ctrl.regulator import LQR
from mpc import EqualityMPC, HarmonicMPC, LagrangianMPC, LinearMPC, NonlinearMPC, StochasticMPC, TrackingMPC
from systems import Fixed, InvalidValue, Plant, Quadratic, Signals, Task, linearise, signals


@dataclass(frozen=True)
class Tank(Plant):
    """A tank that empties through a hole: its equation has no slope where it is empty."""

    state = signals("height [m]")
    input = signals("flow [m/s]")

    def ode(self, x: Signals, u: Signals, w: Signals) -> list[ca.SX]:
        return [u.flow - ca.sqrt(ca.fmax(x.height, 0))]

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"flow": (0.0, 1.0)}


TASK = Task("drain", Tank(), 0.1, 20, Quadratic([1.0], [1.0]), Fixed([0.5]))


@pytest.mark.parametrize("kind", [LQR, LinearMPC, HarmonicMPC, TrackingMPC, EqualityMPC, StochasticMPC])
def test_a_linearisation_that_is_undefined_is_refused_by_name(kind: Callable[[Task], Controller]) -> None:
    with pytest.raises(NotApplicable, match=r"equation of height has no derivative with respect to height.*height = 0"):
        kind(TASK)


def test_linearise_says_which_equation() -> None:
    with pytest.raises(InvalidValue, match=r"Tank cannot be linearised: .*height"):
        linearise(Tank(), [0.0], [0.0])
    assert pytest.approx(-1.0) == linearise(Tank(), [0.25], [0.5]).A


@pytest.mark.parametrize("kind", [NonlinearMPC, LagrangianMPC])
def test_an_optimiser_needs_no_slope_at_the_reference(kind: Callable[[Task], Controller]) -> None:
    decision = kind(TASK).step(np.array([0.5]), 0)
    assert decision.status is Status.SOLVED
    np.testing.assert_allclose(decision.input, [0.0], atol=1e-3)  # it drains by itself, and flow only costs
