"""Explicit MPC in C against explicit MPC in Python, within its regions and beyond them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ctrl.controller import Source, Status
from ctrl.export import NotExportable
from mpc import ExplicitMPC, LagrangianMPC
from systems import Task
from systems.library import double_integrator, pendulum
from tests.exported import Compiled, check_project, largest_difference
from tests.mpc.test_explicit import two_inputs

MERGED = {Status.TERMINAL_SET_UNREACHABLE: Status.INFEASIBLE}


@pytest.mark.parametrize("make", [double_integrator, pytest.param(two_inputs, marks=pytest.mark.slow), pendulum])
@pytest.mark.every(2)
def test_explicit_mpc_in_c_is_explicit_mpc(make, tmp_path: Path) -> None:
    task: Task = make()
    controller = ExplicitMPC(task, 3)
    folder = controller.export(tmp_path)
    check_project(folder)
    compiled = Compiled(folder, task)
    start = task.initial.sample(task.plant.state, np.random.default_rng(3), (2,))
    assert largest_difference(controller, compiled, task, start, 500, merged=MERGED) < 1e-9
    lower, upper = controller._middle - controller._half, controller._middle + controller._half
    width, statuses = task.input_bounds[1] - task.input_bounds[0], set()
    for x in np.random.default_rng(1).uniform(2 * lower, 2 * upper, (200, len(lower))):
        expected = controller.step(x, 0)
        u, status, source = compiled.step(x, 0)
        assert (np.abs(u - expected.input) <= 1e-9 * width).all()
        assert source is expected.source
        assert (status is Status.SOLVED) == (expected.status is Status.SOLVED)
        statuses.add(status)
    assert statuses == {Status.SOLVED, Status.INFEASIBLE}
    for x in (np.full(len(lower), np.nan), np.full(len(lower), 1e308)):
        u, status, source = compiled.step(x, 0)
        expected = controller.step(x, 0)
        assert np.allclose(u, expected.input)
        assert source is Source.BACKUP is expected.source
        assert status is (Status.NUMERICAL if np.isnan(x).any() else Status.INFEASIBLE)


def test_what_has_no_form_in_c_says_what_has(tmp_path: Path) -> None:
    with pytest.raises(NotExportable, match=r"LagrangianMPC cannot be exported to C; export LinearMPC\(task\)"):
        LagrangianMPC(double_integrator(), 3).export(tmp_path)
