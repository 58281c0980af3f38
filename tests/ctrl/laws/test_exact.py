"""Programs without rounding."""

from __future__ import annotations

from fractions import Fraction

import casadi as ca
import numpy as np
import pytest

from ctrl.laws import Expression
from systems.arithmetic.exact import ExactColumn, evaluate_exactly, is_kept, jumps, with_symbolic_numbers
from systems.arithmetic.interval import Interval
from systems.discretise import rk4
from systems.lowering import jacobian, lower
from systems.lowering.program import read

x = ca.SX.sym("x")
DEEP = ca.Function("deep", [x], [0.1 * (0.3 * (0.7 * ca.sin(x * 0.1) + 0.2) * 0.3) + ca.fmax(0.9 * (0.7 * x), -3.0)])


def test_rational_arithmetic_does_not_round() -> None:
    f = ca.Function("f", [x], [(0.1 * x + 0.2) * x - x**3 / 3])
    (value,) = evaluate_exactly(read(f), [Fraction(0.3)])
    a = Fraction(0.3)
    assert value == [(Fraction(0.1) * a + Fraction(0.2)) * a - a**3 / 3]
    assert float(value[0]) == pytest.approx(float(f(0.3)))


@pytest.mark.parametrize("undefined", [1 / x, ca.log(x), x / x**2, ca.sqrt(x - 2), ca.exp(x - 1)])
def test_what_is_not_known_is_not_claimed(undefined: ca.SX) -> None:
    assert evaluate_exactly(read(ca.Function("f", [x], [undefined])), [Fraction(0)]) == [None]


def test_numbers_that_grow_without_end_are_given_up() -> None:
    """Forty squarings would come to 50 million million digits."""
    a = squares = powers = x
    for _ in range(40):
        squares, powers = squares**2, 0.5 * powers**63
        a = 0.3 * a * x + 0.1
    for growing in (squares, powers):
        assert evaluate_exactly(read(ca.Function("f", [x], [growing])), [Fraction(0.3)]) == [None]
    (value,) = evaluate_exactly(read(ca.Function("f", [x], [a])), [Fraction(0.3)])
    assert value is not None
    assert float(value[0]) == pytest.approx(float(ca.Function("f", [x], [a])(0.3)))


def test_an_integrator_runs_on_rationals() -> None:
    step = rk4(lambda z: -1.0 * z, ExactColumn((Fraction(1),)), 0.5)
    h, sixth = Fraction(1, 2), Fraction(0.5 / 6.0)
    k1 = Fraction(-1)
    k2 = -(1 + h / 2 * k1)
    k3 = -(1 + h / 2 * k2)
    k4 = -(1 + h * k3)
    assert step.entries == (1 + sixth * (k1 + 2 * (k2 + k3) + k4),)


def test_symbolic_numbers_change_nothing_but_the_folding() -> None:
    free, numbers = with_symbolic_numbers(DEEP)
    for at in np.linspace(-2, 2, 21):
        assert float(free(at, numbers)) == float(DEEP(at))
        assert float(jacobian(free)(at, numbers)) == pytest.approx(float(jacobian(DEEP)(at)), rel=1e-14)
    assert not any(i.op == "const" for i in read(free).instructions)


def test_what_casadi_simplifies_when_it_is_written_anew_is_found() -> None:
    assert is_kept(DEEP)
    assert is_kept(ca.Function("f", [x], [ca.log(x) * ca.sqrt(x + 1) / (2 + x) - ca.fmin(x, 3)]))
    for simplified in (
        ca.log(x - 5) - ca.log(x - 5),
        ca.sqrt(x - 5) * ca.sqrt(x - 5),
        (ca.log(x - 5) + 1) / (ca.log(x - 5) + 1),
        x + ca.exp(2 * x) - ca.exp(2 * x),
    ):
        f = ca.Function("f", [x], [simplified])
        free, numbers = with_symbolic_numbers(f)
        assert str(f(x)) != str(free(x, ca.DM(numbers)))
        assert not is_kept(f), simplified


def test_the_derivative_of_the_exact_function_is_enclosed() -> None:
    """0.9 * 0.7 as doubles is no double: a derivative with the folded product would miss it."""
    law = Expression(ca.Function("u", [x], [0.9 * (0.7 * x + 1.0)]))
    slope = law.enclose_jacobian(Interval(np.array([0.0]), np.array([1.0])))
    exact = Fraction(0.9) * Fraction(0.7)
    assert Fraction(0.9 * 0.7) != exact
    assert Fraction(slope.lo[0, 0]) < exact < Fraction(slope.hi[0, 0])
    folded = lower(jacobian(law.function), to="interval")(Interval.of(np.array([0.5])))
    assert Fraction(float(np.squeeze(folded.lo))) == Fraction(0.9 * 0.7)  # what the numbers as symbols are there for


def test_jumps_are_found_and_kinks_are_not() -> None:
    smooth = ca.fabs(x) + ca.fmin(x, 1) + x**3 + ca.sqrt(1 + x**2) + ca.tanh(x)
    assert jumps(ca.Function("f", [x], [smooth])) == []
    assert jumps(ca.Function("f", [x], [ca.if_else(x > 0, 1, 2)])) != []
    assert jumps(ca.Function("f", [x], [x**1.5])) != []
    with pytest.raises(ValueError, match="sign"):
        with_symbolic_numbers(ca.Function("f", [x], [ca.sign(x)]))
