"""DAQP and PIQP against CVXPY on random programs with hard, soft and equality rows."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp

from ctrl.controller import Status
from mpc.solvers.daqp import DAQP
from mpc.solvers.optimality import natural_residual
from mpc.solvers.piqp import PIQP
from mpc.solvers.polish import polished, polished_unit
from mpc.solvers.qp import QPSolver, QuadraticProgram
from systems import DimensionMismatch, InvalidValue

D, ROWS = 6, 12
EQUAL = np.arange(ROWS) == 2
SOFT = np.arange(ROWS) >= 7


class Oracle:
    """The same program in CVXPY, compiled once."""

    def __init__(self) -> None:
        self.root, self.A = cp.Parameter((D, D)), cp.Parameter((ROWS, D))
        self.f, self.low, self.high = cp.Parameter(D), cp.Parameter(ROWS), cp.Parameter(ROWS)
        self.price = cp.Parameter(ROWS, nonneg=True)
        self.z, over = cp.Variable(D), cp.Variable(ROWS, nonneg=True)
        value = self.A @ self.z
        self.problem = cp.Problem(
            cp.Minimize(0.5 * cp.sum_squares(self.root @ self.z) + self.f @ self.z + self.price @ over),
            [value <= self.high + over, value >= self.low - over, over[~SOFT] == 0],
        )

    def solve(self) -> str:
        self.problem.solve(cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        return str(self.problem.status)


def test_both_agree_with_cvxpy_and_call_the_same_programs_infeasible() -> None:
    rng, oracle = np.random.default_rng(0), Oracle()
    assert oracle.problem.is_dpp()
    seen = {"optimal": 0, "infeasible": 0}
    for _ in range(25):
        oracle.root.value, oracle.A.value = rng.normal(size=(D, D)), rng.normal(size=(ROWS, D))
        oracle.A.value[0] = -2.0 * np.eye(D)[3]  # two bounds on one variable, one of them turned around
        oracle.A.value[1] = np.eye(D)[3]
        H = oracle.root.value.T @ oracle.root.value
        price = np.where(SOFT, rng.choice([0.1, 1.0, 100.0], ROWS), np.inf)
        oracle.price.value = np.where(SOFT, price, 0.0)
        problem = QuadraticProgram(
            sp.csc_matrix(H), sp.csc_matrix(oracle.A.value), price, np.where(EQUAL, 1.0, -1.0), np.ones(ROWS)
        )
        solvers = [DAQP(problem), PIQP(problem)]
        for _ in range(4):  # the same solver again and again: warm starts, also after infeasible data
            f, high = 10 * rng.normal(size=D), rng.uniform(-0.5, 1.0, ROWS)
            low = np.where(EQUAL, high, high - rng.uniform(0.1, 2.0, ROWS))
            oracle.f.value, oracle.low.value, oracle.high.value = f, low, high
            truth = oracle.solve()
            seen[truth] += 1
            for solver in solvers:
                found = solver.solve(f, low, high)
                if truth == "infeasible":
                    assert found.status is Status.INFEASIBLE
                    assert not found.is_usable
                else:
                    assert found.status is Status.SOLVED
                    assert found.residual <= QPSolver.TOLERANCE
                    condition = np.linalg.cond(H)
                    np.testing.assert_allclose(found.point, oracle.z.value, atol=1e-8 * condition + 1e-6, rtol=1e-6)
    assert min(seen.values()) > 20


@pytest.mark.parametrize("kind", [DAQP, PIQP])
def test_numbers_that_are_none_are_a_status(kind: type[DAQP] | type[PIQP]) -> None:
    identity = sp.identity(2, format="csc")
    solver = kind(QuadraticProgram(identity, identity, np.full(2, np.inf), -np.ones(2), np.ones(2)))
    for f, low, high, status in (
        ([np.nan, 0], [-1, -1], [1, 1], Status.NUMERICAL),
        ([0, 0], [np.nan, -1], [1, 1], Status.NUMERICAL),
        ([0, 0], [2, -1], [1, 1], Status.INFEASIBLE),
        ([-3, 0.5], [-1, -1], [1, 1], Status.SOLVED),
    ):
        found = solver.solve(*(np.array(v, dtype=float) for v in (f, low, high)))
        assert found.status is status
    np.testing.assert_allclose(found.point, [1.0, -0.5], atol=1e-7)
    np.testing.assert_allclose(found.multipliers, [2.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("kind", [DAQP, PIQP])
def test_a_budget_of_one_iteration_is_reported(kind: type[DAQP] | type[PIQP]) -> None:
    rng = np.random.default_rng(1)
    A = sp.csc_matrix(rng.normal(size=(20, 5)))
    problem = QuadraticProgram(sp.identity(5, format="csc"), A, np.full(20, np.inf), -np.ones(20), np.ones(20))
    found = kind(problem, 1).solve(np.full(5, 10.0), -0.1 * np.ones(20), 0.1 * np.ones(20))
    assert found.status is Status.MAX_ITERATIONS
    assert not found.is_usable


def test_residual_finds_each_kind_of_error() -> None:
    low, high = np.array([-1.0]), np.array([1.0])

    def residual(value: float, multiplier: float, price: float = np.inf) -> float:
        return natural_residual(np.array([value]), np.array([multiplier]), low, high, np.array([price]))

    assert residual(0.5, 0.0) == 0.0
    assert residual(1.0, 3.0) == 0.0
    assert residual(1.5, 0.0) > 0.1  # infeasible
    assert residual(1.0, -3.0) > 0.1  # pushes the wrong way
    assert residual(0.0, 3.0) > 0.1  # pushes without contact
    assert residual(1.5, 2.0, price=2.0) == 0.0  # violated at the full price
    assert residual(1.5, 1.0, price=2.0) > 0.1  # violated below the price
    assert residual(1.0, 3.0, price=2.0) > 0.1  # pays more than the price
    assert residual(np.nan, 0.0) == np.inf
    assert residual(0.5, np.nan) == np.inf
    assert residual(np.inf, 0.0) == np.inf
    assert residual(0.5, -np.inf) == np.inf


def test_programs_that_make_no_sense_are_refused() -> None:
    identity = sp.identity(2, format="csc")
    one, wide = np.ones(2), np.full(2, np.inf)
    with pytest.raises(DimensionMismatch, match="do not fit"):
        QuadraticProgram(identity, identity, np.ones(3), -one, one)
    with pytest.raises(InvalidValue, match="weight"):
        QuadraticProgram(identity, identity, 0 * one, -one, one)
    with pytest.raises(InvalidValue, match="finite bound"):
        QuadraticProgram(identity, identity, one, -wide, wide)


def soft_problem(rng: np.random.Generator) -> tuple[QuadraticProgram, np.ndarray]:
    """Least distance under hard and soft rows, and its linear term."""
    A, price = rng.normal(size=(8, 4)), np.where(np.arange(8) < 4, np.inf, rng.uniform(0.5, 5.0, 8))
    problem = QuadraticProgram(sp.identity(4, format="csc"), sp.csc_matrix(A), price, np.full(8, -1.0), np.ones(8))
    return problem, 3.0 * rng.normal(size=4)


def test_polishing_restores_a_blurred_solution() -> None:
    """With the identity and compiled, and as sparse equations."""
    rng = np.random.default_rng(0)
    restored = 0
    for _ in range(20):
        problem, f = soft_problem(rng)
        solver = PIQP(problem)
        found = solver.solve(f, problem.lower, problem.upper)
        assert found.status is Status.SOLVED
        z, y = found.point + 1e-6 * rng.normal(size=4), found.multipliers + 1e-6 * rng.normal(size=8)
        A = problem.A.toarray()
        data = problem.weight, f, problem.lower, problem.upper, A @ z, y
        unit = polished_unit(np.ascontiguousarray(A), *data)
        general = polished(problem.H, problem.A.tocsr(), *data)
        assert general is not None
        for point, multipliers in (unit, general):
            residual = solver.residual(point, multipliers, f, problem.lower, problem.upper)
            assert residual <= 1e-9 or np.abs(y).min() < 1e-5  # weakly active rows may be mistaken
            np.testing.assert_allclose(point, found.point, atol=1e-5)
            restored += residual <= 1e-9
    assert restored >= 30


def test_polishing_with_dependent_rows() -> None:
    A = np.array([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    problem = QuadraticProgram(
        sp.identity(2, format="csc"), sp.csc_matrix(A), np.full(3, np.inf), np.full(3, -9.0), np.array([1.0, 1.0, 2.0])
    )
    f, y = np.array([-3.0, -0.5]), np.array([0.7, 0.6, 0.35])
    data = problem.weight, f, problem.lower, problem.upper, A @ np.array([1.0, 0.5]), y
    for result in (polished_unit(A, *data), polished(problem.H, problem.A.tocsr(), *data)):
        assert result is not None
        np.testing.assert_allclose(result[0], [1.0, 0.5], atol=1e-10)
        np.testing.assert_allclose(A.T @ result[1], [2.0, 0.0], atol=1e-9)


@pytest.mark.parametrize("kind", [DAQP, PIQP])
def test_what_was_feasible_stays_so_up_to_rounding(kind: type[DAQP] | type[PIQP]) -> None:
    """Rows that are infeasible by 3e-8 are so at first, or after another failure, and met after a solution."""
    H, A = sp.identity(2, format="csc"), sp.csc_matrix([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    lower, upper = np.array([-np.inf, 0.0, -1.0]), np.array([1.0, np.inf, 1.0])
    problem = QuadraticProgram(H, A, np.full(3, np.inf), lower, upper)
    f, short, far = np.array([0.3, 0.2]), np.array([-np.inf, 1.0 + 3e-8, -1.0]), np.array([-np.inf, 1.0 + 1e-5, -1.0])
    solver = kind(problem)
    if kind is DAQP:  # PIQP is not exact enough to tell
        assert solver.solve(f, short, upper).status is Status.INFEASIBLE
    assert solver.solve(f, lower, upper).status is Status.SOLVED
    for _ in range(3):
        assert solver.solve(f, short, upper).status is Status.SOLVED
    assert solver.solve(f, far, upper).status is not Status.SOLVED
    if kind is DAQP:
        assert solver.solve(f, short, upper).status is Status.INFEASIBLE
        assert solver.solve(f, lower, upper).status is Status.SOLVED
        solver.reset()
        assert solver.solve(f, short, upper).status is Status.INFEASIBLE


def test_large_numbers_are_not_called_infeasible() -> None:
    """What excludes all small points does not exclude large ones, where a bound says that these are meant."""
    A = sp.csc_matrix([[1.0, 0.0], [1.0, -1.0], [0.0, 1.0]])
    problem = QuadraticProgram(
        sp.identity(2, format="csc"), A, np.full(3, np.inf), np.zeros(3), np.array([0.0, 0.0, np.inf])
    )
    solver = PIQP(problem)
    lower, upper = np.array([3e5, 0.0, 2e5]), np.array([3e5, 0.0, np.inf])
    almost = np.array([1.0, -1.0, -1.0 + 1e-7])  # proves it for small points only
    assert not solver.excludes(almost, lower, upper)
    found = solver.solve(np.zeros(2), lower, upper)
    assert found.status is Status.SOLVED
    np.testing.assert_allclose(found.point, 3e5)


@pytest.mark.parametrize("big", [1e30, 1e35, 1e200])
def test_piqp_keeps_a_row_that_was_as_good_as_unbounded(big: float, capfd: pytest.CaptureFixture[str]) -> None:
    """It would zero the row for good, and say so on the terminal."""
    rows = sp.csc_matrix([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    lower, upper = np.array([-np.inf, -1.0, -np.inf]), np.array([1.0, 1.0, 0.5])
    solver = PIQP(QuadraticProgram(sp.identity(2, format="csc"), rows, np.full(3, np.inf), lower, upper))
    f = np.array([-3.0, -3.0])
    assert solver.solve(f, lower, np.array([big, 1.0, big])).status is Status.NUMERICAL
    found = solver.solve(f, lower, upper)
    assert found.status is Status.SOLVED
    np.testing.assert_allclose(found.point, [0.25, 0.25], atol=1e-7)
    assert capfd.readouterr() == ("", "")


def test_polishing_leaves_a_soft_row_beside_a_hard_one_its_weight() -> None:
    """z_1 >= 1 twice, once soft at the weight 2: the hard row carries what is left of the force of 3."""
    A = np.array([[1.0, 0.0], [1.0, 0.0]])
    one, wide = np.ones(2), np.full(2, np.inf)
    problem = QuadraticProgram(sp.identity(2, format="csc"), sp.csc_matrix(A), np.array([np.inf, 2.0]), one, wide)
    f = np.array([2.0, -0.5])
    data = problem.weight, f, one, wide, A @ np.array([1.0 + 1e-8, 0.5]), np.array([-1.01, -1.99 + 1e-7])
    for point, multipliers in (polished_unit(A, *data), polished(problem.H, problem.A.tocsr(), *data)):
        np.testing.assert_allclose(point, [1.0, 0.5], atol=1e-12)
        np.testing.assert_allclose(multipliers, [-1.01, -1.99], atol=1e-6)
        assert DAQP(problem).residual(point, multipliers, f, one, wide) < 1e-9


def test_a_finer_solve_does_not_change_what_is_infeasible() -> None:
    """A hard row that is infeasible by 5e-10 of rounding, beside soft ones that are tied, is still solved."""
    A, weight = sp.csc_matrix([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([np.inf, np.inf, 1.0])
    low, high = np.array([-np.inf, 0.0, -np.inf]), np.array([1.0, np.inf, 1.0])
    problem = QuadraticProgram(sp.identity(2, format="csc"), A, weight, low, high)
    lower = np.array([-np.inf, 1.0 + 5e-10, -np.inf])
    for force in (-1.0, -2.0, -2.0 - 1e-9, -2.0 + 1e-9, -2.0 - 1e-6):
        solver = DAQP(problem)
        found = solver.solve(np.array([-3.0, force]), lower, problem.upper)
        assert found.status is Status.SOLVED
        np.testing.assert_allclose(found.point, [1.0, min(max(1.0, -force - 1.0), -force)], atol=1e-8)
        assert solver.rescues == 0
