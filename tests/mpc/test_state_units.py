"""The unit of a state changes nothing of where a controller comes to rest: nanometres or kilometres, in metres."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ctrl import LQR, simulate
from mpc import ExplicitMPC, LagrangianMPC, LinearMPC, NonlinearMPC, StochasticMPC
from systems import Box, Fixed, LinearPlant, Nonlinear, Quadratic, SetPoint, Task

MAKERS = {
    "LQR": LQR,
    "linear": lambda task: LinearMPC(task, 10),
    "nonlinear": lambda task: NonlinearMPC(task, 10),
    "Lagrangian": lambda task: LagrangianMPC(task, 10),
    "stochastic": lambda task: StochasticMPC(task, 6),
    "explicit": lambda task: ExplicitMPC(task, 3),
}


def priced(unit: float) -> Task:
    """A price on the state: the plant is cheapest at 0.2927 units, not at the reference."""
    return task(
        unit, Nonlinear(lambda x, u, xr, ur: (x.x1 / unit) ** 2 + 0.1 * u.u1**2 - 0.6 * x.x1 / unit), SetPoint([0.0])
    )


def unsteady(unit: float) -> Task:
    """A reference of one unit with an input at which the plant does not stay there; it is cheapest at 0.9756 units."""
    return task(unit, Quadratic([1.0 / unit**2], [0.1]), SetPoint([unit], [0.0]))


def task(unit: float, cost: Nonlinear | Quadratic, reference: SetPoint) -> Task:
    plant = LinearPlant([[0.9]], [[0.2 * unit]], dt=1.0, input_limits=((-1.0, 1.0),))
    domain = Box("domain", {"x1": (-5.0 * unit, 5.0 * unit)})
    return Task("units", plant, 1.0, 40, cost, Fixed([-unit]), domain=domain, reference=reference)


@pytest.mark.parametrize("unit", [1e-7, 1e-5, 1e5])
@pytest.mark.parametrize(("made", "rest"), [(priced, 0.292683), (unsteady, 0.97561)])
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.every(3)
def test_the_unit_of_a_state_changes_nothing(name: str, made, rest: float, unit: float) -> None:  # type: ignore[no-untyped-def]
    found, right = (simulate(made(size), MAKERS[name](made(size)), np.array([[-size]])) for size in (unit, 1.0))
    assert right.states[0, -1, 0] == pytest.approx(rest, abs=1e-4)
    np.testing.assert_allclose(found.states / unit, right.states, atol=5e-3)
    assert found.cost[0] == pytest.approx(right.cost[0], rel=1e-4)


@pytest.mark.parametrize("unit", [1e-7, 1e-5, 1.0, 1e5])
def test_the_equilibrium_of_the_regulator_is_reported(unit: float) -> None:
    for made in (priced, unsteady):
        assert made(unit).reading.settles_elsewhere()
        assert not made(unit).reading.is_stationary
        assert any("not to the reference" in text for text in LQR(made(unit)).approximations)


def test_a_reference_that_is_nearly_steady_counts_as_such_in_its_own_unit() -> None:
    for unit in (1e-7, 1.0, 1e5):
        cost = Quadratic([1.0 / unit**2], [0.1])
        steady = task(unit, cost, SetPoint([unit], [0.5 + 1e-7]))
        assert steady.reading.path.follows
        assert not steady.reading.settles_elsewhere()
        assert not task(unit, cost, SetPoint([unit], [0.5 + 1e-3])).reading.path.follows


@pytest.mark.parametrize("unit", [1e-7, 1e5])
@pytest.mark.parametrize("name", ["linear", "nonlinear", "Lagrangian", "explicit"])
@pytest.mark.every(3)
def test_a_hard_bound_in_a_small_unit_is_kept(name: str, unit: float) -> None:
    """A violation of 0.3e-7 was below the tolerance of Lagrangian MPC, which called it solved."""
    bound = Box("bound", {"x1": (-2.0 * unit, 0.7 * unit)})
    bounded = dataclasses.replace(
        task(unit, Quadratic([1.0 / unit**2], [0.1]), SetPoint([unit], [0.5])), constraints=(bound,)
    )
    found = simulate(bounded, MAKERS[name](bounded), np.array([[-unit]]))
    assert found.states.max() / unit == pytest.approx(0.7, abs=1e-3)
    assert found.states[0, -1, 0] / unit == pytest.approx(0.7, abs=1e-3)
