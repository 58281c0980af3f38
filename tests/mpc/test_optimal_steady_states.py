"""Where the task is cheapest is not where its reference is: a price, a set-point in the cost, a constraint between."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ctrl import LQR, Controller, simulate
from mpc import ExplicitMPC, LagrangianMPC, LinearMPC, NonlinearMPC, StochasticMPC
from systems import Box, Constraint, Fixed, LinearPlant, Nonlinear, Quadratic, SetPoint, Task

MAKERS: dict[str, Callable[[Task], Controller]] = {
    "linear, horizon 3": lambda task: LinearMPC(task, 3),
    "linear, horizon 20": lambda task: LinearMPC(task, 20),
    "nonlinear, horizon 3": lambda task: NonlinearMPC(task, 3),
    "Lagrangian": lambda task: LagrangianMPC(task, 10),
    "stochastic": lambda task: StochasticMPC(task, 12),
    "explicit": lambda task: ExplicitMPC(task, 3),
}
ROOM = LinearPlant([[0.95]], [[0.2]], c=[0.25], dt=0.5, input_limits=((0.0, 8.0),))  # 5 degrees outside
INTEGRATOR = LinearPlant([[1.0]], [[0.2]], dt=0.2, input_limits=((-1.0, 1.0),))
WIDE = Box("domain", {"x1": (-50.0, 50.0)})


def settled(task: Task, make: Callable[[Task], Controller], x0: float) -> tuple[float, float]:
    """The last state, and the cost of the run."""
    run = simulate(task, make(task), np.array([[x0]]))
    return float(run.states[0, -1, 0]), float(run.cost[0])


@pytest.mark.parametrize("price", [2.0, 20.0])
@pytest.mark.parametrize("cap", [np.inf, 19.0])
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.every(4)
def test_a_price_beside_a_distance_from_the_reference(name: str, cap: float, price: float) -> None:
    """The distance is measured from the reference, also where the cost is expanded about another point."""
    cost = Nonlinear(lambda x, u, xr, ur: (x.x1 - xr.x1) ** 2 + 0.1 * (u.u1 - ur.u1) ** 2 + price * u.u1)
    limits = () if np.isinf(cap) else (Box("cap", {"x1": (-50.0, cap)}),)
    task = Task(
        "room", ROOM, 0.5, 80, cost, Fixed([12.0]), limits, SetPoint([20.0], [3.75]), domain=WIDE
    )  # fmt: skip
    # In rest u = (x - 5) / 4: the derivative of the cost, 2 (x - 20) + 0.2 (u - 3.75) / 4 + price / 4, is zero.
    free = (40.0 + 0.2 * (3.75 + 1.25) / 4.0 - price / 4.0) / (2.0 + 0.2 / 16.0)
    end, _ = settled(task, MAKERS[name], 12.0)
    assert end == pytest.approx(min(free, cap), abs=1e-4)


def test_the_regulator_goes_to_the_cheapest_state() -> None:
    cost = Nonlinear(lambda x, u, xr, ur: (x.x1 - xr.x1) ** 2 + 0.1 * u.u1**2 + 3.0 * u.u1)
    task = Task("room", ROOM, 0.5, 80, cost, Fixed([12.0]), reference=SetPoint([20.0], [3.75]))
    free = (40.0 + 0.2 * 1.25 / 4.0 - 3.0 / 4.0) / (2.0 + 0.2 / 16.0)
    assert settled(task, LQR, 12.0)[0] == pytest.approx(free, abs=1e-6)


@pytest.mark.parametrize("weight", [1.0, 1.9, 2.1, 50.0])
@pytest.mark.parametrize("in_cost", [False, True])
@pytest.mark.parametrize("name", ["linear, horizon 3", "nonlinear, horizon 3", "explicit", "Lagrangian"])
@pytest.mark.every(4)
def test_a_reference_beyond_a_soft_constraint(name: str, in_cost: bool, weight: float) -> None:
    """(x - 2)^2 + weight max(0, x - 1) is least at 2 - weight / 2, at least 1: there it rests, whatever the horizon."""
    cost = Nonlinear(lambda x, u, xr, ur: (x.x1 - 2.0) ** 2 + 0.1 * u.u1**2) if in_cost else Quadratic([1.0], [0.1])
    reference = SetPoint() if in_cost else SetPoint([2.0], [0.0])
    soft: tuple[Constraint, ...] = (Box("limit", {"x1": (-5.0, 1.0)}).soft(weight),)
    task = Task("tank", INTEGRATOR, 0.2, 60, cost, Fixed([0.0]), soft, reference, domain=WIDE)
    end, _ = settled(task, MAKERS[name], 0.0)
    assert end == pytest.approx(max(1.0, 2.0 - 0.5 * weight), abs=2e-3)


@pytest.mark.parametrize("name", ["linear, horizon 3", "linear, horizon 20", "stochastic", "explicit"])
def test_a_reference_beyond_a_hard_constraint_is_approached_as_fast_as_it_pays(name: str) -> None:
    """Every sample below the limit costs more than at it: full speed up to 1, 5 samples, then 1 per sample."""
    task = Task(
        "tank", INTEGRATOR, 0.2, 40, Quadratic([1.0], [0.1]), Fixed([0.0]), (Box("limit", {"x1": (-5.0, 1.0)}),),
        SetPoint([2.0], [0.0]), domain=WIDE,
    )  # fmt: skip
    right = sum((2.0 - 0.2 * k) ** 2 + 0.1 for k in range(5)) + 35.0
    end, cost = settled(task, MAKERS[name], 0.0)
    assert (end, cost) == (pytest.approx(1.0, abs=1e-6), pytest.approx(right, rel=1e-6))
