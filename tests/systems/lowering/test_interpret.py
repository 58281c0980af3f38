"""Programs run one operation at a time, against CasADi's own interpreter and against the rationals."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import casadi as ca
import numpy as np
import pytest

from systems.lowering.interpret import OPERATORS, POWERS, interpret
from systems.lowering.program import read

RULES: dict[str, Callable[..., Any]] = {**OPERATORS, **dict.fromkeys(POWERS, operator.pow), "sin": math.sin}


def test_numbers_are_those_of_casadi_rows_of_matrices_included() -> None:
    x, A, B = ca.SX.sym("x", 3), ca.SX.sym("A", 2, 3), ca.SX.sym("B", 1, 4)
    turned = ca.vertcat(x[0] ** 2 - 2 * x[1], -x[2] / x[0], 1 / x[1], ca.sin(x[2]) ** 3)
    f = ca.Function("f", [x, A, B], [ca.mtimes(A, x), ca.mtimes(turned, B), ca.diag(x)])
    rng = np.random.default_rng(0)
    given = [rng.uniform(1.0, 2.0, size) for size in ((3,), (2, 3), (1, 4))]
    found = interpret(read(f), [a.ravel().tolist() for a in given], RULES.__getitem__, float)
    for entries, expected in zip(found, f(*given), strict=True):
        np.testing.assert_array_equal(np.reshape(entries, expected.shape), np.array(expected))


def test_literals_become_numbers_of_the_arithmetic_and_exponents_stay() -> None:
    x = ca.SX.sym("x")
    program = read(ca.Function("f", [x], [0.1 * x + 1, x**101, ca.vertcat(0.3, 0)]))
    exponents: list[Any] = []

    def power(a: Fraction, b: float) -> Fraction:
        exponents.append(b)
        return a ** int(b)

    found = interpret(program, [[Fraction(1, 3)]], {**RULES, "constpow": power, "pow": power}.__getitem__, Fraction)
    assert found == [[Fraction(0.1) / 3 + 1], [Fraction(1, 3) ** 101], [Fraction(0.3), 0]]
    assert exponents == [101.0]
    assert type(exponents[0]) is float


def test_what_an_arithmetic_does_not_have_is_for_it_to_refuse() -> None:
    x = ca.SX.sym("x")
    with pytest.raises(KeyError, match="tan"):
        interpret(read(ca.Function("f", [x], [ca.tan(x)])), [[1.0]], RULES.__getitem__, float)
