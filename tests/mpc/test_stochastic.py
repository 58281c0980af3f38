"""Stochastic MPC: the tables of the segway-like system."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from ctrl.controller import Controller
from ctrl.loop import simulate
from ctrl.regulator import LQR
from mpc import StochasticMPC, nominal_mpc, robust_mpc
from mpc.feasible import HasFeasibleSet
from systems import Box
from systems.library.segway import segway

START = np.deg2rad([25.0, -20.0])
LIMIT = np.deg2rad(25.0)
INTERVALS = (1, 2, 3, 6, math.inf)


def test_gain_of_the_segway() -> None:
    controller = StochasticMPC(segway())
    np.testing.assert_allclose(controller.K, [[13.02926, 4.33103]], atol=6e-6)
    np.testing.assert_allclose(np.sort(np.abs(np.linalg.eigvals(controller.loop.A))), [0.54873, 0.72662], atol=6e-6)
    np.testing.assert_allclose(controller.loop.P, LQR(segway()).P, rtol=1e-9)
    assert isinstance(controller, Controller)
    assert isinstance(controller, HasFeasibleSet)


def test_feasible_area_of_the_segway() -> None:
    """deg^2. The reference values come from quantiles of 1e5 samples, hence to 1 in 2000; ours are exact. The terminal
    set found without being told the number of steps is what 12 steps amount to."""
    bound = np.deg2rad(60.0)
    start = Box("start", {"angle": (-bound, bound), "rate": (-bound, bound)})
    for extra in (12, None):
        areas = []
        for every in INTERVALS:
            controller = StochasticMPC(segway(), recondition_every=every, terminal_steps=extra)
            section = controller.feasible_set(start).section(("angle", "rate"), directions=32)
            areas.append(section.area * np.rad2deg(1.0) ** 2)
        np.testing.assert_allclose(areas, [4714.3, 4760.4, 4797.8, 4797.8, 4862.9], atol=2.4)
        assert (np.diff(areas) >= -1e-3).all()


def worst_rate(states: np.ndarray) -> float:
    """Largest share of runs beyond one half-space in one step, over steps and half-spaces."""
    after = states[:, 1:]
    return float(np.maximum((after > LIMIT).mean(axis=0), (after < -LIMIT).mean(axis=0)).max())


@pytest.mark.slow
def test_closed_loop_of_the_segway() -> None:
    """Reference values from 150 runs of 6 steps: their mean cost is uncertain by a standard error of 430, so it is
    compared as what it is, a mean over draws; the differences between schemes under the same draws are far sharper."""
    posed = segway()
    rng, runs = np.random.default_rng(7), 300
    noise = posed.disturbance.sample(posed.plant.disturbance, rng, (runs, 6))
    costs = {}
    for every in (1, 2, 3, math.inf):
        run = simulate(posed, StochasticMPC(posed, recondition_every=every), np.tile(START, (runs, 1)), noise)
        assert (run.statuses == 0).all()
        assert worst_rate(run.states) <= 0.2 + 3 * np.sqrt(0.16 / runs)
        assert worst_rate(run.states) > 0.1  # the risk that is allowed is taken
        assert (np.abs(run.inputs) <= 4.0).all()
        costs[every] = run.costs.sum(axis=1)
    for every, published in ((1, 36499.3), (2, 36474.6), (3, 36455.1), (math.inf, 36483.2)):
        error = costs[every].std() * np.sqrt(1 / runs + 1 / 150)
        assert abs(costs[every].mean() - published) <= 3 * error
        difference = costs[every] - costs[1]
        error = difference.std() * np.sqrt(1 / runs + 1 / 150)
        assert abs(difference.mean() - (published - 36499.3)) <= 3 * error + 0.1
    robust = simulate(posed, robust_mpc(posed), np.tile(START, (runs, 1)), noise)
    assert worst_rate(robust.states) == 0.0
    assert worst_rate(simulate(posed, nominal_mpc(posed), np.tile(START, (runs, 1)), noise).states) > 0.3


def test_violations_of_the_published_experiment() -> None:
    """p = 0.2, 5 steps: 36 of 250 trajectories leave the box. The published noise is a random mixture of the corners of
    its box, and the published tightening scales that box."""
    bound = (-LIMIT, LIMIT)
    box = Box("state", {"angle": bound, "rate": bound}).chance(0.2)
    posed = dataclasses.replace(segway(), constraints=(box, Box("torque", {"torque": (-4.0, 4.0)}).chance(0.2)))
    controller = StochasticMPC(posed, tightening="scaled-support")
    np.testing.assert_allclose(
        np.rad2deg(controller.margins.after(np.array([1]))[0, 1:3]), np.sqrt(0.2) * np.array([2.0, 2.2])
    )
    weights = np.random.default_rng(42).uniform(size=(1000, 5, 4))
    corners = np.deg2rad([[2.0, 2.2], [2.0, -2.2], [-2.0, -2.2], [-2.0, 2.2]])
    noise = weights / weights.sum(axis=2, keepdims=True) @ corners
    run = simulate(posed, controller, np.tile(START, (1000, 1)), noise)
    assert (run.statuses == 0).all()
    rate = (np.abs(run.states) > LIMIT).any(axis=(1, 2)).mean()
    assert abs(rate - 0.144) <= 3 * np.sqrt(0.144 * 0.856 * (1 / 250 + 1 / 1000))
