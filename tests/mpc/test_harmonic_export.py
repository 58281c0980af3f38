"""MPC with an artificial reference in C against Python: cones, unreachable ends, predictions that never end."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from ctrl.controller import Source, Status
from mpc import EqualityMPC, HarmonicMPC, TrackingMPC
from systems import SetPoint, Sinusoid, Trajectory
from systems.library import ball_and_plate_axis, ball_and_plate_linear, oscillating_masses
from tests.ctrl.export.test_project import lose_some
from tests.exported import Compiled, check_project, largest_difference

AXIS = ball_and_plate_axis()


@pytest.mark.parametrize(
    "make",
    [
        lambda: HarmonicMPC(AXIS, 5, 0.3254),
        pytest.param(lambda: TrackingMPC(AXIS, 8), marks=pytest.mark.slow),
        pytest.param(lambda: EqualityMPC(oscillating_masses(), 8), marks=pytest.mark.slow),
        pytest.param(lambda: HarmonicMPC(oscillating_masses(), 8, 0.3), marks=pytest.mark.slow),
        pytest.param(lambda: HarmonicMPC(ball_and_plate_linear(), 5, 0.3254), marks=pytest.mark.slow),
        pytest.param(lambda: HarmonicMPC(AXIS, 5, 0.3254, solver="admm"), marks=pytest.mark.slow),
        pytest.param(lambda: HarmonicMPC(AXIS, 5, 0.3254, solver="clarabel"), marks=pytest.mark.slow),
    ],
)
def test_in_c_as_in_python(make, tmp_path: Path) -> None:
    """500 steps, some without a measurement, to 1e-6 of the input's range."""
    controller = make()
    task = controller.task
    folder = controller.export(tmp_path)
    check_project(folder)
    start = task.initial.sample(task.plant.state, np.random.default_rng(3), (2,))
    assert largest_difference(controller, Compiled(folder, task), task, start, 250, lose_some) < 1e-6


def test_states_within_and_beyond_the_feasible_set(tmp_path: Path) -> None:
    """500 states, of which some can reach no artificial reference, and some keep no constraint."""
    controller = HarmonicMPC(AXIS, 5, 0.3254)
    compiled = Compiled(controller.export(tmp_path), AXIS)
    width = AXIS.input_bounds[1] - AXIS.input_bounds[0]
    found = set()
    for x in np.random.default_rng(0).normal(size=(500, 4)) * [1.0, 0.4, 0.2, 0.6]:
        controller.reset()
        compiled.reset()
        expected = controller.step(x, 0)
        u, status, source = compiled.step(x, 0)
        assert (status, source) == (expected.status, expected.source)
        assert (np.abs(u - expected.input) <= 1e-6 * width).all()
        found.add(status)
    assert {Status.SOLVED, Status.TERMINAL_SET_UNREACHABLE, Status.INFEASIBLE} <= found


@pytest.mark.parametrize(
    "reference",
    [
        Sinusoid(0.3254, x_mean={"p1": 0.5}, x_sine={"p1": 0.2}),
        Trajectory(np.linspace([0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], 40)),
    ],
)
def test_references_that_move_are_tabulated(reference, tmp_path: Path) -> None:
    task = dataclasses.replace(AXIS, reference=reference)
    controller = HarmonicMPC(task, 5, 0.3254)
    compiled = Compiled(controller.export(tmp_path, samples=60), task)
    assert largest_difference(controller, compiled, task, np.zeros((1, 4)), 60) < 1e-6
    x, last = np.array([0.5, 0.0, 0.0, 0.0]), compiled.step(np.array([0.5, 0.0, 0.0, 0.0]), 60)[0]
    assert np.array_equal(compiled.step(x, 61)[0], last)
    assert np.array_equal(compiled.step(x, 10_000)[0], last)


def test_a_prediction_is_followed_beyond_its_horizon(tmp_path: Path) -> None:
    controller = HarmonicMPC(AXIS, 5, 0.3254)
    compiled = Compiled(controller.export(tmp_path), AXIS)
    lost = np.full(4, math.nan)
    assert compiled.step(lost, 0)[2] is Source.BACKUP is controller.step(lost, 0).source
    x = np.array([0.3, 0.1, 0.0, 0.0])
    controller.step(x, 1)
    compiled.step(x, 1)
    for k in (2, 4, 6, 7, 20, 300, 0):
        expected = controller.step(lost, k)
        u, status, source = compiled.step(lost, k)
        assert (status, source) == (expected.status, expected.source) == (Status.NUMERICAL, Source.SHIFTED_PLAN)
        assert np.allclose(u, expected.input, rtol=0, atol=1e-9)


def test_the_reference_that_is_pursued_now_is_exported(tmp_path: Path) -> None:
    controller = HarmonicMPC(AXIS, 5, 0.3254)
    controller.follow(SetPoint({"p1": 0.4}))
    compiled = Compiled(controller.export(tmp_path), AXIS)
    x = np.array([0.2, 0.0, 0.0, 0.0])
    u = compiled.step(x, 0)[0]
    assert np.allclose(u, controller.step(x, 0).input, atol=1e-9)
    assert not np.allclose(u, HarmonicMPC(AXIS, 5, 0.3254).step(x, 0).input, atol=1e-3)
