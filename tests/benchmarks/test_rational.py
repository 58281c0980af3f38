"""The referee of explicit laws: quadratic programs in rational numbers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from benchmarks.rational import RationalSolver
from mpc.solvers.piqp import PIQP
from mpc.solvers.qp import QuadraticProgram
from systems import InvalidValue


def program(A: np.ndarray, weight: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> QuadraticProgram:
    return QuadraticProgram(sp.identity(A.shape[1], format="csc"), sp.csc_matrix(A), weight, lower, upper)


def test_agrees_with_an_interior_point_method() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        d, rows = int(rng.integers(1, 6)), int(rng.integers(1, 12))
        A, weight = rng.normal(size=(rows, d)), np.where(rng.random(rows) < 0.5, np.inf, rng.uniform(0.1, 3.0, rows))
        middle = rng.normal(size=rows)
        lower = np.where(rng.random(rows) < 0.3, -np.inf, middle - 0.5)
        problem = program(A, weight, lower, middle + 0.5)
        f = rng.normal(size=d)
        exact, other = RationalSolver(problem).solve(f, lower, middle + 0.5), PIQP(problem)
        solution = other.solve(f, lower, middle + 0.5)
        assert solution.is_usable == (exact is not None)
        if exact is not None:
            np.testing.assert_allclose(exact, solution.point, atol=1e-6)
        found.append(exact is not None)
    assert 5 < sum(found) < 35


def test_rows_that_meet_in_one_point_and_differ_by_rounding() -> None:
    """The nearest point to (0, 0) under x + y >= 1, (1 + e) x + y >= 1, which is (1/2, 1/2) for every e > 0."""
    A = np.array([[1.0, 1.0], [1.0 + 1e-15, 1.0], [1.0, 1.0]])
    lower, upper, hard = np.ones(3), np.full(3, np.inf), np.full(3, np.inf)
    z = RationalSolver(program(A, hard, lower, upper)).solve(np.zeros(2), lower, upper)
    assert z is not None
    assert (z == 0.5).all()


def test_the_difference_of_nearly_equal_bounds_decides_what_is_feasible() -> None:
    A, hard, one = np.array([[1.0], [1.0]]), np.full(2, np.inf), np.ones(2)
    solver = RationalSolver(program(A, hard, -one, one))
    above = np.nextafter(1.0, 2.0)
    assert solver.solve(np.zeros(1), np.array([1.0, -1.0]), np.array([2.0, 1.0])) == [1.0]
    assert solver.solve(np.zeros(1), np.array([above, -1.0]), np.array([2.0, 1.0])) is None


def test_takes_least_distance_problems() -> None:
    one = np.ones(2)
    wide = QuadraticProgram(2 * sp.identity(2, format="csc"), sp.identity(2, format="csc"), one, -one, one)
    with pytest.raises(InvalidValue, match="identity"):
        RationalSolver(wide)
