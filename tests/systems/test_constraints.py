"""What must hold: every kind of constraint, its decorations, and its support function."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems import (
    Box,
    Budget,
    Chance,
    DimensionMismatch,
    Ellipsoid,
    Hard,
    Inequality,
    InvalidValue,
    Polytope,
    Soft,
    UnknownName,
)
from systems.library import DoubleIntegrator

PLANT = DoubleIntegrator()
BOX = Box("room", {"position": (-1.0, 2.0), "acceleration": (-np.inf, 0.5)})
SQUARE = Polytope("square", ["position", "speed"], np.vstack([np.eye(2), -np.eye(2)]), np.array([2.0, 1.0, 1.0, 1.0]))
ROUND = Ellipsoid("round", ["position", "speed"], [[2.0, 0.5], [0.5, 1.0]], level=1.5, centre=[0.3, -0.2])
coordinates = st.floats(-4, 4)


def margins(constraint, x, u=0.0) -> np.ndarray:
    return constraint.function(PLANT)(x, u).full()[:, 0]


@given(coordinates, coordinates, coordinates)
def test_margins_are_negative_exactly_inside(position, speed, acceleration) -> None:
    x, u = [position, speed], [acceleration]
    inside_box = -1 <= position <= 2 and acceleration <= 0.5
    assert (margins(BOX, x, u) <= 0).all() == inside_box
    assert (margins(SQUARE, x) <= 0).all() == (-1 <= position <= 2 and -1 <= speed <= 1)
    z = np.array(x) - ROUND.centre
    assert margins(ROUND, x) == pytest.approx([z @ ROUND.P @ z - 1.5])
    disc = Inequality("keep out", lambda x, u: 1 - x.position**2 - x.speed**2)
    assert margins(disc, x) == pytest.approx([1 - position**2 - speed**2])


def test_a_box_has_one_row_per_finite_bound_in_order() -> None:
    np.testing.assert_allclose(margins(BOX, [0.5, 9.0], 0.2), [-1.5, -1.5, -0.3])


def test_box_as_a_set() -> None:
    lower, upper = BOX.interval(PLANT.state)
    np.testing.assert_array_equal(lower, [-1, -np.inf])
    np.testing.assert_array_equal(upper, [2, np.inf])
    points = np.array([[0, 100], [-1, 0], [2.1, 0], [np.nan, 0]])
    np.testing.assert_array_equal(BOX.contains(points, PLANT.state), [True, True, False, False])


@given(coordinates, coordinates)
def test_support_is_attained_and_never_exceeded(a: float, b: float) -> None:
    direction = {"position": a, "speed": b}
    rng = np.random.default_rng(0)
    bounded = Box("box", {"position": (-1.0, 2.0), "speed": (-1.0, 1.0)})
    assert SQUARE.support(direction) == pytest.approx(bounded.support(direction), abs=1e-9)
    points = rng.uniform([-1, -1], [2, 1], (500, 2))
    assert (points @ [a, b]).max() <= bounded.support(direction) + 1e-12
    corners = np.array([[p, s] for p in (-1, 2) for s in (-1, 1)])
    assert bounded.support(direction) == pytest.approx((corners @ [a, b]).max())
    angles = np.linspace(0, 2 * np.pi, 2001)
    border = np.array(ROUND.centre) + np.sqrt(1.5) * np.column_stack([np.cos(angles), np.sin(angles)]) @ np.linalg.inv(
        np.linalg.cholesky(ROUND.P)
    )
    assert ROUND.support(direction) == pytest.approx((border @ [a, b]).max(), abs=1e-4)


def test_support_of_an_unbounded_direction() -> None:
    assert BOX.support({"acceleration": -1.0}) == np.inf
    assert BOX.support({"speed": 1.0}) == np.inf
    assert BOX.support({"acceleration": 2.0, "speed": 0.0}) == 1.0
    assert Polytope("half", ["speed"], [[1.0]], [3.0]).support({"speed": -1.0}) == np.inf


def test_decorations() -> None:
    assert BOX.requirement == Hard()
    assert BOX.soft(10.0).requirement == Soft(10.0)
    assert BOX.chance(0.9).requirement == Chance(0.9)
    assert BOX.budget(3, per="discounted").requirement == Budget(3, "discounted")
    assert BOX.soft(10.0).bounds == BOX.bounds
    assert BOX.requirement == Hard()


def test_a_requirement_is_not_dropped_for_another() -> None:
    assert BOX.soft(1.0).soft(2.0).requirement == Soft(2.0)
    for decorate, message in (
        (lambda: BOX.soft(1.0).chance(0.9), "room: already soft; chance would drop that"),
        (lambda: BOX.chance(0.9).budget(1.0), "room: already chance; budget would drop that"),
        (lambda: BOX.budget(1.0).soft(1.0), "room: already budget; soft would drop that"),
    ):
        with pytest.raises(InvalidValue, match=message):
            decorate()


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (lambda: BOX.soft(0.0), "room: soft weight = 0.0; expected a finite number above 0"),
        (lambda: BOX.soft(-1.0), "soft weight = -1.0"),
        (lambda: BOX.soft(np.nan), "soft weight = nan"),
        (lambda: BOX.chance(1.0), "room: probability = 1.0; expected a finite number above 0, below 1"),
        (lambda: BOX.chance(np.nan), "probability = nan"),
        (lambda: BOX.budget(-1.0), "room: budget = -1.0; expected a finite number of at least 0"),
        (lambda: BOX.budget(1.0, of="money"), "room: of = 'money'; expected 'steps' or 'excess'"),
        (lambda: BOX.budget(1.0, per="year"), "room: per = 'year'; expected 'episode' or 'discounted'"),
        (lambda: Box("b", {"position": (np.nan, 1.0)}), r"'b': bounds of position = \(nan, 1.0\)"),
        (lambda: Box("b", {"position": (2.0, 1.0)}), r"bounds of position = \(2.0, 1.0\).*lower <= upper"),
        (lambda: Box("b", {"position": 2.0}), r"bounds of position = 2.0; expected a pair"),
        (lambda: Polytope("p", ["speed"], [[np.inf]], [1.0]), "'p': H = .* contains infinity; give finite numbers"),
        (lambda: Polytope("p", ["speed"], [[1.0]], [np.nan]), "'p': h = .* contains NaN"),
        (lambda: Ellipsoid("e", ["speed"], [[-1.0]]), "'e': P must be symmetric and positive definite"),
        (lambda: Ellipsoid("e", ["position", "speed"], [[1, 1], [0, 1]]), "P must be symmetric"),
        (lambda: Ellipsoid("e", ["speed"], [[1.0]], level=0.0), "'e': level = 0.0; expected a finite number above 0"),
    ],
)
def test_bad_numbers(decorate, message) -> None:
    with pytest.raises(InvalidValue, match=message):
        decorate()


def test_bad_shapes() -> None:
    with pytest.raises(DimensionMismatch, match=r"'p': H \(1, 2\) and h \(1,\) do not fit 1 signals"):
        Polytope("p", ["speed"], [[1.0, 2.0]], [1.0])
    with pytest.raises(DimensionMismatch, match=r"h \(2,\) do not fit"):
        Polytope("p", ["speed"], [[1.0]], [1.0, 2.0])
    with pytest.raises(DimensionMismatch, match=r"'e': P \(2, 2\), centre \(1,\) for 1 signals"):
        Ellipsoid("e", ["speed"], np.eye(2), centre=[0.0])
    with pytest.raises(InvalidValue, match="'e': P must be symmetric"):
        Ellipsoid("e", ["position", "speed"], [[1e-9, 1e-9], [0.0, 1e-9]])


@pytest.mark.parametrize(
    "constraint",
    [
        Box("b", {"sped": (-1.0, 1.0)}),
        Polytope("p", ["sped"], [[1.0]], [1.0]),
        Ellipsoid("e", ["sped"], [[1.0]]),
        Inequality("i", lambda x, u: x.sped),
    ],
)
def test_unknown_signals(constraint) -> None:
    with pytest.raises(UnknownName, match=r"'sped'; known: position, speed.*Did you mean 'speed'\?"):
        constraint.function(PLANT)


@pytest.mark.parametrize(
    ("g", "message"),
    [
        (lambda x, u: None, "returned NoneType"),
        (lambda x, u: "x < 1", "returned str"),
        (lambda x, u: x.position <= 1, "returned a comparison; return the expression g that must be <= 0"),
        (lambda x, u: [x.position - 1, ca.logic_and(x.speed > 0, u.acceleration > 0)], "returned a comparison"),
        (lambda x, u: x.position + ca.SX.sym("stray"), "must return CasADi expressions in x and u"),
        (lambda x, u: [], "bounds nothing"),
    ],
)
def test_expressions_that_are_no_constraint(g, message) -> None:
    with pytest.raises(InvalidValue, match=message):
        Inequality("wrong", g).function(PLANT)


def test_a_box_without_a_finite_bound_is_no_constraint() -> None:
    with pytest.raises(InvalidValue, match="constraint 'open' bounds nothing"):
        Box("open", {"position": (-np.inf, np.inf)}).function(PLANT)


def test_several_rows_in_one_inequality() -> None:
    both = Inequality("both", lambda x, u: [x.position - 1, u.acceleration - x.speed])
    np.testing.assert_allclose(margins(both, [3.0, 1.0], 0.5), [2.0, -0.5])
    logical = Inequality("gated", lambda x, u: ca.if_else(x.position > 0, x.speed, -1))
    np.testing.assert_allclose(margins(logical, [3.0, 1.0]), [1.0])
