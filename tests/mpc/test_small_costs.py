"""The unit of the cost changes nothing of what a controller does: cents or millions."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

from ctrl import LQR, simulate
from mpc import ExplicitMPC, LagrangianMPC, LinearMPC, NonlinearMPC, StochasticMPC
from systems import Box, Fixed, LinearPlant, Nonlinear, SetPoint, Task

MAKERS = {
    "LQR": LQR,
    "linear": lambda task: LinearMPC(task, 10),
    "nonlinear": lambda task: NonlinearMPC(task, 10),
    "Lagrangian": lambda task: LagrangianMPC(task, 10),
    "stochastic": lambda task: StochasticMPC(task, 6),
    "explicit": lambda task: ExplicitMPC(task, 3),
}
PLANT = LinearPlant([[0.98]], [[0.2]], dt=0.2, input_limits=((-1.0, 1.0),))


def run(name: str, unit: float, kinked: bool = False) -> tuple[np.ndarray, float]:
    def stage(x, u, xr, ur):  # type: ignore[no-untyped-def]
        kink = ca.fmax(2 - x.x1, 0) if kinked else 0.0
        return unit * ((x.x1 - 3) ** 2 + 0.1 * u.u1**2 + 0.05 * u.u1 + kink)

    limits = (Box("cap", {"x1": (-9.0, 2.5)}).soft(3.0 * unit),)
    task = Task(
        "small", PLANT, 0.2, 40, Nonlinear(stage), Fixed([0.5]), () if name in ("LQR", "explicit") else limits,
        SetPoint([1.0], [0.1]), domain=Box("domain", {"x1": (-20.0, 20.0)}),
    )  # fmt: skip
    found = simulate(task, MAKERS[name](task), np.array([[0.5]]))
    return found.states[0, :, 0], float(found.cost[0]) / unit


@pytest.mark.parametrize("unit", [1e-5, 1e-8])
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.every(3)
def test_the_unit_of_the_cost_changes_nothing(name: str, unit: float) -> None:
    (states, cost), (right, price) = run(name, unit), run(name, 1.0)
    np.testing.assert_allclose(states, right, atol=1e-4)
    assert cost == pytest.approx(price, rel=1e-4)


def test_a_kink_of_a_small_cost_is_not_dropped() -> None:
    """The price on u was left out, and nothing said so, where it was below 1e-6."""

    def inputs(unit: float) -> np.ndarray:
        def stage(x, u, xr, ur):  # type: ignore[no-untyped-def]
            return unit * (x.x1**2 + 0.1 * u.u1**2 + ca.fabs(u.u1))

        task = Task(
            "small", PLANT, 0.2, 10, Nonlinear(stage, lambda x, xr: unit * x.x1**2), Fixed([3.0]),
            domain=Box("domain", {"x1": (-20.0, 20.0)}),
        )  # fmt: skip
        return simulate(task, LinearMPC(task, 10), np.array([[3.0]])).inputs[0, :, 0]

    np.testing.assert_allclose(inputs(1e-7), inputs(1.0), atol=1e-4)


@pytest.mark.parametrize("name", ["linear", "nonlinear", "Lagrangian"])
def test_nor_does_it_with_kinks(name: str) -> None:
    (states, cost), (right, price) = run(name, 1e-7, kinked=True), run(name, 1.0, kinked=True)
    np.testing.assert_allclose(states, right, atol=1e-4)
    assert cost == pytest.approx(price, rel=1e-4)
