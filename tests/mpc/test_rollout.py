"""Rows of a condensed program by prediction, against the full matrix."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from ctrl.controller import Status
from mpc import LinearMPC
from mpc.linear.condensing import LinearOptimalControl, condensed
from systems import Box, Fixed, LinearPlant, Quadratic, SetPoint, Task, Trajectory
from systems.library import cartpole

RNG = np.random.default_rng(0)


def random_task(growth: float, reference: float = 0.0) -> Task:
    A = RNG.normal(size=(4, 4))
    A *= growth / np.abs(np.linalg.eigvals(A)).max()
    plant = LinearPlant(A, RNG.normal(size=(4, 2)), dt=0.1, input_limits=((-1.0, 1.0),) * 2)
    box = Box("box", dict.fromkeys(plant.state.names, (-2.0, 2.0))).soft(3.0)
    return Task("random", plant, 0.1, 60, Quadratic(np.eye(4), np.eye(2)), Fixed(), (box,), SetPoint([reference] * 4))


MOVING = dataclasses.replace(cartpole(), reference=Trajectory(np.linspace(0.0, 1.0, 60)[:, None] * [1.0, 0.5, 0, 0]))
TASKS = {
    "stable": random_task(0.8), "unstable": random_task(1.3), "ending at rest": random_task(0.9, 4.0),
    "varying": MOVING,
}  # fmt: skip


def control_of(name: str) -> LinearOptimalControl:
    controller = LinearMPC(TASKS[name], 9, solver="daqp")
    assert bool(len(controller.problem.rest_at)) == (name == "ending at rest")
    assert controller._source.varies == (name == "varying")
    return controller.problem


@pytest.mark.parametrize("name", TASKS)
def test_the_prediction_gives_the_rows(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    control = control_of(name)
    monkeypatch.setattr("mpc.linear.condensing.ROLLED", 0)
    program = condensed(control).problem
    assert program.product is not None
    for z in RNG.normal(size=(5, program.H.shape[0])):
        np.testing.assert_allclose(program.product(z), program.A @ z, rtol=1e-10, atol=1e-11)


def test_a_solver_is_checked_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the prediction of other rows no point passes."""
    task, x = random_task(0.9), np.array([6.0, -4.0, 5.0, 3.0])
    plain = LinearMPC(task, 9, "cost", "daqp").step(x, 0)
    monkeypatch.setattr("mpc.linear.condensing.ROLLED", 0)
    rolled = LinearMPC(task, 9, "cost", "daqp")
    np.testing.assert_allclose(rolled.step(x, 0).input, plain.input, atol=1e-9)
    wrong = dataclasses.replace(rolled.problem, G=sp.csc_matrix(-rolled.problem.G))
    rolled.solver.problem = dataclasses.replace(rolled.solver.problem, product=condensed(wrong).problem.product)
    rolled.solver.rescue.problem = rolled.solver.problem  # type: ignore[attr-defined]
    assert rolled.step(x, 1).status is not Status.SOLVED
