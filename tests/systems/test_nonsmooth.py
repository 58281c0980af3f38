"""Kinks: found where they are, and taken out so that the optimum stays the same."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

from systems.nonsmooth import branches, epigraph, kinks, penalties, smoothed

X, U = ca.SX.sym("x", 2), ca.SX.sym("u", 1)


def function(expression: ca.SX) -> ca.Function:
    return ca.Function("cost", [X, U], [expression], ["x", "u"], ["cost"])


CONVEX = {
    "cost of heat": 0.3 * U + 2 * ca.fmax(20 - X[0], 0),
    "absolute error": ca.fabs(X[0] - 20) + 0.02 * U**2,
    "nested": ca.fmax(ca.fabs(X[0]) - 3, 0) + U**2,
    "two slopes": ca.if_else(X[0] < 20, 2 * (20 - X[0]), 0.5 * (X[0] - 20)),
    "root of a square": ca.sqrt((X[0] - X[1]) ** 2),
    "least of two, rewarded": -3 * ca.fmin(X[0], U),
    "grows": ca.exp(ca.fmax(X[0], X[1])),
    "weighted": X[1] ** 2 * ca.fabs(X[0]),
    "largest of three": ca.fmax(ca.fmax(X[0], X[1]), U),
    "sum of absolute values": ca.norm_1(X),
    "largest absolute value": ca.norm_inf(X),
}
LEFT = {
    "rewarded distance": -ca.fabs(X[0]),
    "least of two, charged": 3 * ca.fmin(X[0], U),
    "tariff": ca.if_else(X[0] > 3, 2, 1) * U,
    "jump": ca.if_else(X[0] > 0, 1, 0),
    "sign": ca.sign(X[0]) * U,
    "norm": ca.norm_2(X),
}
SMOOTH = {
    "square": X[0] ** 2 + U**2,
    "square of an excess": ca.fmax(ca.fabs(X[0]) - 3, 0) ** 2,
    "Huber": ca.if_else(ca.fabs(X[0]) < 1, 0.5 * X[0] ** 2, ca.fabs(X[0]) - 0.5),
    "cube": ca.fabs(X[0]) ** 3,
    "root of a positive number": ca.sqrt(1 + X[0] ** 2),
}


@pytest.mark.parametrize("name", CONVEX)
def test_the_epigraph_has_the_same_smallest_value(name: str) -> None:
    f = function(CONVEX[name])
    whole = epigraph(f)
    assert whole.count >= 1
    assert not whole.left
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, u = 20 * rng.normal(size=2), 20 * rng.normal(size=1)
        if name == "grows":
            x /= 20
        t = np.array(whole.start(x, u))[:, 0]
        rows = np.array(whole.rows(x, u, t))[:, 0]
        assert (rows <= 1e-9 * (1 + np.abs(t).max())).all()  # the operations' own values are allowed
        assert (t >= whole.lower - 1e-12).all()
        assert float(whole.value(x, u, t)) == pytest.approx(float(f(x, u)), rel=1e-12, abs=1e-12)
        # Every other allowed value is no smaller: raise each variable that the rows bound from below, or lower it.
        for i in range(whole.count):
            for step in (0.5, -0.5):
                other = t.copy()
                other[i] += step
                allowed = (np.array(whole.rows(x, u, other))[:, 0] <= 1e-12).all() and other[i] >= whole.lower[i]
                if allowed:
                    assert float(whole.value(x, u, other)) >= float(f(x, u)) - 1e-9


@pytest.mark.parametrize("name", LEFT)
def test_what_is_no_maximum_to_be_made_small_is_left_and_named(name: str) -> None:
    f = function(LEFT[name])
    whole = epigraph(f)
    assert whole.left == kinks(f) != ()
    x, u = np.array([0.3, -2.0]), np.array([1.5])
    assert float(whole.value(x, u, np.array(whole.start(x, u)))) == pytest.approx(float(f(x, u)))
    assert penalties(f) is None
    assert branches(f) is None


@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_continuously_differentiable_has_no_kink(name: str) -> None:
    f = function(SMOOTH[name])
    assert kinks(f) == ()
    assert epigraph(f).count == 0


@pytest.mark.parametrize("unit", [1e-6, 1e-12])
@pytest.mark.parametrize("name", [*CONVEX, *LEFT, *SMOOTH])
def test_a_small_unit_hides_no_kink_and_makes_none(name: str, unit: float) -> None:
    expression = (CONVEX | LEFT | SMOOTH)[name]
    assert kinks(function(unit * expression)) == kinks(function(expression))


@pytest.mark.parametrize("name", [*CONVEX, *SMOOTH])
def test_penalties_are_the_same_function(name: str) -> None:
    f = function((CONVEX | SMOOTH)[name])
    found = penalties(f)
    if found is None:
        assert name in ("nested", "grows", "weighted", "largest of three", "largest absolute value")
        return
    rng = np.random.default_rng(1)
    for _ in range(50):
        x, u = 20 * rng.normal(size=2), 20 * rng.normal(size=1)
        excess = np.maximum(np.array(found.excess(x, u))[:, 0], 0.0)
        assert (found.weight > 0).all()
        value = float(found.smooth(x, u)) + float(found.weight @ excess)
        assert value == pytest.approx(float(f(x, u)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", [name for name in CONVEX if name not in ("cost of heat", "least of two, rewarded")])
def test_branches_hold_where_the_function_does(name: str) -> None:
    f = function(CONVEX[name] - 5)
    split = branches(f)
    assert split is not None
    assert kinks(split) == ()
    rng = np.random.default_rng(2)
    for _ in range(200):
        x, u = 8 * rng.normal(size=2), 8 * rng.normal(size=1)
        assert (np.array(split(x, u)) <= 0).all() == (float(f(x, u)) <= 0)


def test_many_pieces_are_not_multiplied_out() -> None:
    x = ca.SX.sym("x", 8)
    f = ca.Function("g", [x], [ca.norm_1(x) - 1])
    assert branches(f) is None
    assert epigraph(f).count == 8


def test_smoothed_roots_have_derivatives_and_nearly_the_same_values() -> None:
    f = function(ca.norm_2(X) * X[0])
    soft = smoothed(f)
    slope = ca.Function("slope", [X, U], [ca.jacobian(soft(X, U), X)])
    assert np.isnan(np.array(ca.Function("slope", [X, U], [ca.jacobian(f(X, U), X)])(0, 0))).any()
    assert np.isfinite(np.array(slope(0, 0))).all()
    for x in np.random.default_rng(3).normal(size=(50, 2)):
        assert float(soft(x, 0)) == pytest.approx(float(f(x, 0)), abs=1e-6 * abs(x[0]))
