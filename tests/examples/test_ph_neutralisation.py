"""The example of a pH: what it follows from, and every kind of reader on it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import brentq

from ctrl import LQR, Status, simulate
from examples.ph_neutralisation import Neutralisation, neutralise
from mpc import LinearMPC, NonlinearMPC
from systems import Measurement, Quadratic, Radau, linearise, signals


def charge_balance(ph: float, charge: float, carbonate: float) -> float:
    """In mol/l, from the dissociation constants of carbonic acid."""
    h, k1, k2 = 10.0**-ph, 10.0**-6.35, 10.0**-10.25
    ions = carbonate * (k1 * h + 2.0 * k1 * k2) / (h * h + k1 * h + k1 * k2)
    return charge + 1e-14 / h - h + ions


def test_ph_is_that_of_bisection() -> None:
    plant = Neutralisation()
    for charge, carbonate in np.random.default_rng(0).uniform([-0.6, 0.4], [0.2, 0.7], (20, 2)):
        exact = brentq(charge_balance, 0.0, 14.0, (charge * 1e-3, carbonate * 1e-3), xtol=1e-13)
        assert plant.algebraic_values([charge, carbonate], [15.0]) == pytest.approx([exact], abs=1e-10)


@pytest.mark.slow
def test_controllers_bring_it_to_its_reference() -> None:
    task = neutralise(steps=20)
    starts = np.array([[0.1, 0.6]])
    runs = {name: simulate(task, made, starts) for name, made in (("lqr", LQR(task)), ("mpc", NonlinearMPC(task, 15)))}
    assert all(run.stayed.all() for run in runs.values())
    assert runs["mpc"].cost[0] < runs["lqr"].cost[0]
    assert (runs["mpc"].statuses == list(Status).index(Status.SOLVED)).all()
    plant = task.plant
    for run in runs.values():
        at_end = plant.algebraic_values(run.states[0, -1], [0.0])[0]
        assert at_end == pytest.approx(7.03, abs=0.15)


def test_linear_mpc_and_lqr_agree_without_bounds() -> None:
    task = neutralise(steps=5)
    quadratic = dataclasses.replace(task, cost=Quadratic(Q=[1.0, 1.0], R=[1e-3]), constraints=())
    x = task.reference.at(task.plant, 0)[0] + [1e-3, -1e-3]
    assert LinearMPC(quadratic, 30).step(x, 0).input == pytest.approx(LQR(quadratic).step(x, 0).input, abs=1e-7)


def test_continuous_and_sampled_linearisation_agree() -> None:
    task = neutralise()
    x, u = task.reference.at(task.plant, 0)
    rates = np.linalg.eigvals(linearise(task.plant, x, u).A).real
    factors = np.linalg.eigvals(linearise(dataclasses.replace(task, integrator=Radau(5)).dynamics, x, u).A).real
    assert np.sort(factors) == pytest.approx(np.exp(10.0 * np.sort(rates)), rel=1e-9)


def test_sensors_report_the_ph() -> None:
    task, plant = neutralise(), Neutralisation()
    sensor = Measurement(signals("acidity [-]"), lambda x, u: plant.solve_algebraic(x, u).ph)
    measured = dataclasses.replace(task, measurement=sensor)
    h = sensor.function(measured.plant)
    assert float(h([0.1, 0.6], 15.0)) == pytest.approx(plant.algebraic_values([0.1, 0.6], [15.0])[0], abs=1e-12)


@pytest.mark.slow
def test_environments_run_it_in_both_precisions() -> None:
    torch = pytest.importorskip("torch")
    task = neutralise(steps=8)
    env = task.vector_env(16, seed=1)
    env.reset()
    wide = task.vector_env(16, seed=1, dtype=torch.float64)
    wide.reset()
    for _ in range(6):
        wide._x = env.state.double()
        action = env.action_low + (env.action_high - env.action_low) * torch.rand(16, 1)
        narrow, exact = env.step(action), wide.step(action.double())
        assert not narrow.terminated.any()
        assert narrow.next_observation.numpy() == pytest.approx(exact.next_observation.numpy(), abs=1e-5)
        assert narrow.reward.numpy() == pytest.approx(exact.reward.numpy(), rel=1e-3, abs=1e-3)
