"""Laws: their enclosures hold, their definitions agree, and what has no Jacobian is refused."""

from __future__ import annotations

from fractions import Fraction

import casadi as ca
import numpy as np
import pytest

from ctrl.laws import Expression, Law, SaturatedLinear
from ctrl.regulator import LQR
from systems import DimensionMismatch, InvalidValue
from systems.arithmetic.interval import Interval
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum

K = np.array([[1.4, 0.5], [-0.3, 2.0]])
SATURATED = SaturatedLinear(K, [0.2, -0.1], [0.1, 0.0], [-0.75, -1.0], [0.75, 1.0])


def written() -> Expression:
    """The same law as a CasADi expression."""
    x = ca.SX.sym("x", 2)
    u = ca.DM([0.1, 0.0]) - ca.DM(K) @ (x - ca.DM([0.2, -0.1]))
    return Expression(ca.Function("u", [x], [ca.fmin(ca.fmax(u, ca.DM([-0.75, -1.0])), ca.DM([0.75, 1.0]))]))


def network() -> Expression:
    rng = np.random.default_rng(3)
    x = ca.SX.sym("x", 2)
    h = ca.tanh(ca.DM(rng.standard_normal((8, 2))) @ x + ca.DM(rng.standard_normal(8)))
    h = ca.fmax(ca.DM(rng.standard_normal((8, 8))) @ h, 0)
    return Expression(ca.Function("u", [x], [ca.DM(rng.standard_normal((2, 8))) @ h]))


LAWS = {"saturated": SATURATED, "expression": written(), "network": network()}


@pytest.mark.parametrize("name", LAWS)
def test_values_and_secants_lie_in_the_enclosures(name: str) -> None:
    law: Law = LAWS[name]
    rng = np.random.default_rng(4)
    middle = rng.uniform(-2, 2, (300, 2))
    half = 10.0 ** rng.uniform(-6, 0.3, (300, 2))
    box = Interval(middle - half, middle + half)
    value, slope = law.enclose(box), law.enclose_jacobian(box)
    assert value.shape == (300, 2)
    assert slope.shape == (300, 2, 2)
    for _ in range(50):
        a, b = rng.uniform(box.lo, box.hi), rng.uniform(box.lo, box.hi)
        ua, ub = law(a), law(b)
        assert ((ua >= value.lo - 1e-12) & (ua <= value.hi + 1e-12)).all()
        # Mean value theorem: u(b) - u(a) = J (b - a) with J in the enclosure, row by row.
        d = (b - a)[:, None, :]
        low = np.minimum(slope.lo * d, slope.hi * d).sum(-1)
        high = np.maximum(slope.lo * d, slope.hi * d).sum(-1)
        assert ((ub - ua >= low - 1e-9) & (ub - ua <= high + 1e-9)).all()


def test_the_slope_is_exact_inside_and_beyond_the_limits() -> None:
    inside = SATURATED.enclose_jacobian(Interval(np.array([0.19, -0.11]), np.array([0.21, -0.09])))
    assert np.allclose(inside.lo, -K, atol=1e-12)
    assert np.allclose(inside.hi, -K, atol=1e-12)
    beyond = SATURATED.enclose_jacobian(Interval(np.array([5.0, 5.0]), np.array([6.0, 6.0])))
    assert np.abs(beyond.lo).max() < 1e-300
    assert np.abs(beyond.hi).max() < 1e-300


def test_both_writings_are_the_same_law() -> None:
    x = np.random.default_rng(5).uniform(-3, 3, (1000, 2))
    assert np.allclose(SATURATED(x), LAWS["expression"](x), atol=1e-14)
    box = Interval(x - 0.05, x + 0.05)
    a, b = SATURATED.enclose_jacobian(box), LAWS["expression"].enclose_jacobian(box)
    assert np.allclose(a.lo, b.lo, atol=1e-12)
    assert np.allclose(a.hi, b.hi, atol=1e-12)


@pytest.mark.parametrize("task", [pendulum(), cartpole()], ids=["pendulum", "cartpole"])
def test_the_regulator_and_its_law_are_one(task: object) -> None:
    controller = LQR(task)  # type: ignore[arg-type]
    x = np.random.default_rng(6).uniform(-2, 2, (500, len(controller.P)))
    assert np.array_equal(controller.batch(x, 0), controller.law(x))


def test_exact_values() -> None:
    assert SATURATED.exact([Fraction(0.2), Fraction(-0.1)]) == [Fraction(0.1), Fraction(0)]
    assert SATURATED.exact([Fraction(50), Fraction(0)]) == [Fraction(-0.75), Fraction(1)]
    assert written().exact([Fraction(50), Fraction(0)]) == [Fraction(-0.75), Fraction(1)]
    x = ca.SX.sym("x")
    odd = Expression(ca.Function("u", [x], [ca.tanh(3 * x) + ca.cos(x) * x**3]))
    assert odd.exact([Fraction(0)]) == [Fraction(0)]
    assert odd.exact([Fraction(1)]) is None


@pytest.mark.parametrize(
    "jumping",
    [lambda x: ca.if_else(x > 0, 1.0, -1.0), ca.sign, ca.floor, lambda x: ca.fmod(x, 1.0)],
)
def test_a_law_that_may_jump_is_refused(jumping: object) -> None:
    x = ca.SX.sym("x")
    with pytest.raises(InvalidValue, match="may jump"):
        Expression(ca.Function("u", [x], [jumping(x)]))  # type: ignore[operator]


def test_an_angle_is_enclosed_and_its_jump_is_seen() -> None:
    x = ca.SX.sym("x", 2)
    law = Expression(ca.Function("u", [x], [ca.atan2(x[1], x[0])]))
    rng = np.random.default_rng(7)
    middle, half = rng.uniform(-2, 2, (500, 2)), 10.0 ** rng.uniform(-6, -0.5, (500, 1))
    middle[:50] = np.stack([-np.linspace(0.0, 2.0, 50), np.zeros(50)], axis=1)
    box = Interval(middle - half, middle + half)
    value, slope = law.enclose(box), law.enclose_jacobian(box)
    jumps = (box.lo[:, 0] <= 0) & (box.lo[:, 1] <= 0) & (box.hi[:, 1] >= 0)
    for _ in range(50):
        p = rng.uniform(box.lo, box.hi)
        u = np.arctan2(p[:, 1], p[:, 0])
        assert ((u >= value.lo[:, 0] - 1e-12) & (u <= value.hi[:, 0] + 1e-12)).all()
        gradient = np.stack([-p[:, 1], p[:, 0]], axis=1) / (p**2).sum(axis=1, keepdims=True)
        within = (gradient >= slope.lo[:, 0] - 1e-9) & (gradient <= slope.hi[:, 0] + 1e-9)
        assert within.all()
    assert jumps.any()
    assert np.isinf(slope.hi[jumps]).all()
    small = ~jumps & (half[:, 0] < 1e-3)
    assert np.isfinite(slope.hi[small]).mean() > 0.95
    assert law.exact([Fraction(3), Fraction(0)]) == [Fraction(0)]
    assert law.exact([Fraction(-3), Fraction(0)]) is None


def test_misuse_is_refused() -> None:
    with pytest.raises(DimensionMismatch, match=r"u_ref has shape \(2,\)"):
        SaturatedLinear([[1.0, 2.0]], [0, 0], [0, 0], [-1], [1])
    with pytest.raises(InvalidValue, match="lower <= upper"):
        SaturatedLinear([[1.0]], [0], [0], [1], [-1])
    with pytest.raises(InvalidValue, match="finite"):
        SaturatedLinear([[np.nan]], [0], [0], [-1], [1])
    x, y = ca.SX.sym("x"), ca.SX.sym("y")
    with pytest.raises(DimensionMismatch, match="not a law"):
        Expression(ca.Function("u", [x, y], [x]))
