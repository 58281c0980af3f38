"""Stage and terminal costs."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from systems import DimensionMismatch, InvalidValue, Nonlinear, Quadratic, UnknownName
from systems.library import CartPole, DoubleIntegrator

PLANT = DoubleIntegrator()


@given(
    arrays.arrays(np.float64, (3, 3), elements=st.floats(-2, 2)),
    arrays.arrays(np.float64, 6, elements=st.floats(-3, 3)),
)
def test_quadratic_cost_is_its_formula(factor: np.ndarray, z: np.ndarray) -> None:
    Q, R = factor[:2, :2] @ factor[:2, :2].T, factor[2:, 2:] ** 2
    x, u, xr, ur = z[:2], z[2:3], z[3:5], z[5:]
    cost = Quadratic(Q, R, P=3 * Q)
    dx, du = x - xr, u - ur
    assert float(cost.stage_function(PLANT)(x, u, xr, ur)) == pytest.approx(dx @ Q @ dx + du @ R @ du, abs=1e-9)
    assert float(cost.terminal_function(PLANT)(x, xr)) == pytest.approx(3 * dx @ Q @ dx, abs=1e-9)


def test_weights_by_name_in_order_and_full_are_the_same() -> None:
    plant = CartPole()
    forms = (
        Quadratic(Q={"position": 1.0, "rate": 2.0}, R={"force": 0.1}),
        Quadratic(Q=[1.0, 0.0, 0.0, 2.0], R=[0.1]),
        Quadratic(Q=np.diag([1.0, 0.0, 0.0, 2.0]), R=[[0.1]]),
    )
    for cost in forms:
        Q, R, P = cost.matrices(plant)
        np.testing.assert_array_equal(Q, np.diag([1, 0, 0, 2]))
        np.testing.assert_array_equal(R, [[0.1]])
        assert not P.any()
        assert float(cost.stage_function(plant)([1, 5, 5, 1], 2, [0, 0, 0, 0], 1)) == pytest.approx(3.1)


def test_nonlinear_cost() -> None:
    cost = Nonlinear(
        lambda x, u, xr, ur: 1 - ca.cos(x.position - xr.position) + u.acceleration**2, lambda x, xr: x.speed
    )
    assert float(cost.stage_function(PLANT)([np.pi, 0], 2, [0, 0], 0)) == pytest.approx(6)
    assert float(cost.terminal_function(PLANT)([0, 7], [0, 0])) == 7
    assert float(Nonlinear(lambda x, u, xr, ur: x.speed).terminal_function(PLANT)([1, 1], [0, 0])) == 0
    assert float(Nonlinear(lambda x, u, xr, ur: 1.0).stage_function(PLANT)([1, 1], 0, [0, 0], 0)) == 1


@pytest.mark.parametrize(
    ("cost", "error", "message"),
    [
        (
            lambda: Quadratic({"position": -1.0}, [1.0]),
            InvalidValue,
            "Q is not positive semidefinite: its smallest eigenvalue is -1",
        ),
        (lambda: Quadratic([[1, 2], [2, 1]], [1.0]), InvalidValue, "Q is not positive semidefinite"),
        (lambda: Quadratic([1, 1], [-0.1]), InvalidValue, "R is not positive semidefinite"),
        (lambda: Quadratic([1, 1], [1], P=[[0, 1], [1, 0]]), InvalidValue, "P is not positive semidefinite"),
        (lambda: Quadratic([1e-10, -5e-11], [1.0]), InvalidValue, "Q is not positive semidefinite"),
        (lambda: Quadratic([1e6, -1e-4], [1.0]), InvalidValue, "Q is not positive semidefinite"),
        (lambda: Quadratic([[1e-10, 2e-10], [2e-10, 1e-10]], [1.0]), InvalidValue, "Q is not positive semidefinite"),
        (lambda: Quadratic([[1e-13, 1e-13], [0, 1e-13]], [1.0]), InvalidValue, "Q must be symmetric"),
        (
            lambda: Quadratic([[1, 1], [0, 1]], [1.0]),
            InvalidValue,
            r"Q must be symmetric; symmetrise it as \(Q \+ Q.T\)",
        ),
        (lambda: Quadratic([[np.nan, 0], [0, 1]], [1.0]), InvalidValue, r"Q = .* contains NaN"),
        (
            lambda: Quadratic({"position": np.nan}, [1.0]),
            InvalidValue,
            "diagonal of Q: position = nan; expected a finite number",
        ),
        (
            lambda: Quadratic({"position": np.inf}, [1.0]),
            InvalidValue,
            "diagonal of Q: position = inf; expected a finite number",
        ),
        (
            lambda: Quadratic([1.0], [1.0]),
            DimensionMismatch,
            r"diagonal of Q: given an array of shape \(1,\), expected \(2,\)",
        ),
        (
            lambda: Quadratic(np.eye(3), [1.0]),
            DimensionMismatch,
            r"Q has shape \(3, 3\); expected \(2, 2\) for position, speed",
        ),
        (
            lambda: Quadratic([1, 1], np.eye(2)),
            DimensionMismatch,
            r"R has shape \(2, 2\); expected \(1, 1\) for acceleration",
        ),
        (lambda: Quadratic({"velocity": 1.0}, [1.0]), UnknownName, "unknown signal 'velocity'; known: position, speed"),
    ],
)
def test_bad_weights(cost, error, message) -> None:
    with pytest.raises(error, match=message):
        cost().matrices(PLANT)


@pytest.mark.parametrize(
    "Q", [[0.0, 0.0], [1.0, 1e-20], [1.0, -1e-16], [[1e12, 1.0], [1.0, 1e-12]], [[1.0, 1.0 + 1e-12], [1.0, 1.0]]]
)
def test_weights_that_are_semidefinite_in_any_units_or_but_for_rounding(Q) -> None:
    Quadratic(Q, [1.0]).matrices(PLANT)


@pytest.mark.parametrize(
    ("stage", "error", "message"),
    [
        (lambda x, u, xr, ur: x.column, DimensionMismatch, r"the stage cost returned shape \(2, 1\)"),
        (lambda x, u, xr, ur: None, InvalidValue, "the stage cost returned NoneType"),
        (
            lambda x, u, xr, ur: ca.SX.sym("stray"),
            InvalidValue,
            r"symbols that are not among its arguments \(x, u, xr, ur\)",
        ),
        (lambda x, u, xr, ur: x.velocity, UnknownName, "unknown state signal 'velocity'"),
    ],
)
def test_bad_expressions(stage, error, message) -> None:
    with pytest.raises(error, match=message):
        Nonlinear(stage).stage_function(PLANT)
