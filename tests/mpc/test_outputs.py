"""The affine conditions of a task as two-sided rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ctrl.controller import NotApplicable
from mpc.harmonic.outputs import outputs
from systems import Box, Inequality, Polytope, Task
from tests.mpc.harmonic_problems import axis


def with_constraints(*constraints: Box | Polytope | Inequality) -> Task:
    return dataclasses.replace(axis(), constraints=constraints)


def test_a_box_is_one_row_per_signal_and_infinite_bounds_are_dropped() -> None:
    task = with_constraints(Box("speed", {"v1": (-0.5, 0.4), "tilt_1": (-np.inf, 0.7), "p1": (-np.inf, np.inf)}))
    found = outputs(task)
    matrix = np.hstack([found.E, found.F])
    rows = {tuple(row): (a, b) for row, a, b in zip(matrix, found.lower, found.upper, strict=True)}
    assert rows[0, 0, 0, 0, 1] == (-0.4, 0.4)  # the actuator's own limit
    assert rows[0, 1, 0, 0, 0] == (-0.5, 0.4)
    assert rows[0, 0, 1, 0, 0] == (-np.inf, 0.7)
    assert len(rows) == 3


def test_opposite_sides_of_a_polytope_share_a_row_and_the_tightest_bound_holds() -> None:
    H = np.array([[1.0, 2.0], [-2.0, -4.0], [3.0, 6.0]])
    found = outputs(with_constraints(Polytope("mixed", ("v1", "acceleration_1"), H, np.array([1.0, 3.0, 2.4]))))
    i = int(np.flatnonzero(found.E[:, 1])[0])
    assert len(found.E) == 2
    np.testing.assert_allclose([found.E[i, 1], found.F[i, 0]], [1.0, 2.0])
    np.testing.assert_allclose([found.lower[i], found.upper[i]], [-1.5, 0.8])


def test_affine_inequalities_are_read_from_their_derivatives() -> None:
    found = outputs(with_constraints(Inequality("mixed", lambda x, u: 2 * x.v1 - u.acceleration_1 - 1)))
    i = int(np.flatnonzero(found.E[:, 1])[0])
    np.testing.assert_allclose([found.E[i, 1], found.F[i, 0], found.upper[i]], [2.0, -1.0, 1.0])


def test_contradictions_are_refused() -> None:
    with pytest.raises(NotApplicable, match="contradict"):
        outputs(with_constraints(Box("a", {"v1": (0.5, 1.0)}), Box("b", {"v1": (-1.0, 0.0)})))
    with pytest.raises(NotApplicable, match="affine"):
        outputs(with_constraints(Inequality("disc", lambda x, u: x.v1**2 - 1)))
