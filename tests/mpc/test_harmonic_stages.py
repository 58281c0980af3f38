"""The coordinates in which a row reads no input of a later stage: the same problem, with half of its entries zero."""

from __future__ import annotations

import numpy as np
import pytest

from mpc import EqualityMPC, HarmonicMPC, TrackingMPC
from mpc.harmonic.conic_program import reduce
from mpc.solvers.harmonic.dense import normal
from mpc.solvers.harmonic.solver import CompiledSolver, by_stages
from systems.library import ball_and_plate_axis, double_integrator, oscillating_masses

CONTROLLERS = {
    "harmonic": lambda: HarmonicMPC(oscillating_masses(), 25, 0.9, solver="clarabel"),
    "harmonic, one input": lambda: HarmonicMPC(ball_and_plate_axis(), 12, 0.3, solver="clarabel"),
    "tracking": lambda: TrackingMPC(oscillating_masses(), 20, solver="clarabel"),
    "equality": lambda: EqualityMPC(double_integrator(), 30, solver="clarabel"),
}


@pytest.mark.parametrize("name", CONTROLLERS)
def test_an_orthogonal_change_that_leaves_a_staircase(name: str) -> None:
    program = CONTROLLERS[name]().program
    before, after = reduce(program), by_stages(reduce(program))
    size = np.abs(before.J).max() ** 2
    np.testing.assert_allclose(after.J @ after.J.T, before.J @ before.J.T, atol=1e-12 * size)
    np.testing.assert_allclose(after.Z @ after.J.T, before.Z @ before.J.T, atol=1e-11 * size)
    rows = after.J[: len(before.lower)] != 0.0
    last = np.where(rows.any(axis=1), rows.shape[1] - 1 - rows[:, ::-1].argmax(axis=1), -1)
    assert last[: len(last) // 4].max() < 0.6 * rows.shape[1]
    assert rows.mean() < 0.75


@pytest.mark.parametrize("name", CONTROLLERS)
def test_the_product_that_skips_zeros_is_the_whole_one(name: str) -> None:
    controller = CONTROLLERS[name]()
    solver = CompiledSolver(controller.program, controller.task.input_bounds, controller.frequency)
    f, wide = int(solver._index[0]), int(solver._index[10])
    first = solver._index[-f:]
    assert (np.diff(first) >= 0).all()
    assert first[-1] > 0
    X = solver._data[: f * wide].reshape(f, wide).copy()
    Y = X * np.random.default_rng(0).uniform(0.5, 2.0, wide)
    whole, skipped = np.zeros((f, f)), np.zeros((f, f))
    normal(X, Y, np.zeros(f, dtype=np.int64), whole)
    normal(X, Y, first, skipped)
    np.testing.assert_allclose(np.tril(skipped), np.tril(whole), rtol=1e-12, atol=1e-12 * np.abs(whole).max())
    np.testing.assert_allclose(
        np.tril(whole), np.tril(np.eye(f) + Y @ X.T), rtol=1e-10, atol=1e-12 * np.abs(whole).max()
    )
