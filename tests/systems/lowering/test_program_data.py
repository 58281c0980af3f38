"""Expressions as plain data: what is read computes what was written, and nothing but listed operations is read."""

from __future__ import annotations

import copy
import json
import math
import random
from contextlib import suppress
from typing import Any

import casadi as ca
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from systems import InvalidValue
from systems.files import parse_json
from systems.lowering.program import read
from systems.lowering.program_data import from_data, to_data

UNARY = [
    ca.sin,
    ca.cos,
    ca.tanh,
    ca.exp,
    ca.sqrt,
    ca.fabs,
    ca.atan,
    ca.log1p,
    lambda a: -a,
    lambda a: a**3,
    lambda a: 1 / a,
]
BINARY = [
    ca.fmin,
    ca.fmax,
    ca.hypot,
    ca.atan2,
    lambda a, b: a * b,
    lambda a, b: a - b,
    lambda a, b: a / b,
    lambda a, b: a**b,
]


@st.composite
def functions(draw: st.DrawFn) -> ca.Function:
    x, y = ca.SX.sym("x", 2), ca.SX.sym("y", 2, 2)
    known = [*ca.vertsplit(x), *ca.vertsplit(ca.vec(y)), ca.SX(draw(st.floats(-3, 3)))]
    for _ in range(draw(st.integers(1, 12))):
        a, b = (draw(st.sampled_from(known)) for _ in range(2))
        one, two = draw(st.sampled_from(UNARY)), draw(st.sampled_from(BINARY))
        known.append(one(a) if draw(st.booleans()) else two(a, b))
    matrix = ca.reshape(ca.vertcat(*(draw(st.sampled_from(known)) for _ in range(6))), 2, 3)
    return ca.Function("f", [x, y], [matrix, known[-1], ca.SX(0, 1)], ["x", "y"], ["A", "b", "c"])


def through_a_file(function: ca.Function) -> ca.Function:
    return from_data(parse_json(json.dumps(to_data(function)).encode(), "file"))


@given(functions())
@settings(max_examples=150)
def test_what_is_read_computes_what_was_written(function: ca.Function) -> None:
    program = read(function)
    assume(
        all(map(math.isfinite, [a for row in (*(i.args for i in program.instructions), *program.entries) for a in row]))
    )
    found = through_a_file(function)
    assert (found.name_in(), found.name_out()) == (function.name_in(), function.name_out())
    assert to_data(found) == to_data(function)
    rng = np.random.default_rng(0)
    for _ in range(3):
        x, y = rng.normal(size=2), rng.normal(size=(2, 2))
        for a, b in zip(function(x, y), found(x, y), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(ca.DM(b).full(), ca.DM(a).full(), rtol=1e-12, atol=0.0)


def test_numbers_keep_every_digit() -> None:
    x = ca.SX.sym("x")
    odd = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -2.5, np.nextafter(1.0, 2.0)]
    f = ca.Function("f", [x], [ca.vertcat(*(a * ca.sin(x + k) for k, a in enumerate(odd)))])
    program = read(through_a_file(f))
    constants = {a for i in program.instructions for a in i.args if isinstance(a, float)}
    assert set(odd) - {-2.5} <= constants
    assert program == read(f)


def test_an_mx_network_is_written_as_its_operations() -> None:
    x, rng = ca.MX.sym("x", 2), np.random.default_rng(1)
    W, v = rng.normal(size=(8, 2)), rng.normal(size=(1, 8))
    f = ca.Function("V", [x], [ca.mtimes(v, ca.tanh(ca.mtimes(W, x)))])
    assert float(through_a_file(f)([0.3, -0.2])) == pytest.approx(float(f([0.3, -0.2])), rel=1e-14)


def test_what_has_no_form_is_refused_when_it_is_written() -> None:
    x = ca.SX.sym("x")
    with pytest.raises(InvalidValue, match=r"f uses .*where"):
        to_data(ca.Function("f", [x], [ca.if_else(x > 0, x, -x)]))
    with pytest.raises(InvalidValue, match=r"exponent 65\.5"):
        to_data(ca.Function("f", [x], [x**65.5]))
    with pytest.raises(InvalidValue, match="not finite"):
        to_data(ca.Function("f", [x], [ca.hypot(x, ca.SX(np.inf))]))


GOOD: dict[str, Any] = {
    "name": "f",
    "inputs": [["x", [2]]],
    "outputs": [["y", [1]]],
    "instructions": [["input", 0, 0, 0], ["sin", 0], ["mul", "0x1.8000000000000p+0", 1]],
    "entries": [[2]],
}


def changed(**parts: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GOOD), **parts}


def instructions(*last: Any) -> dict[str, Any]:
    return changed(instructions=[["input", 0, 0, 0], ["sin", 0], [*last]])


OTHERS: list[Any] = [None, [], "f", {}, changed(more=1), {k: v for k, v in GOOD.items() if k != "name"}]
OTHERS += [changed(name=name) for name in ("f;import os", "jac", "a__b", 7, "", "f\n")]
for ports in (
    [["x", [2]], ["x", [2]]], [["x", [-2]]], [["x", [True]]], [["x", [10**9]]], [["x", [2, 2, 2]]], [["x"]], {"x": [2]}
):  # fmt: skip
    OTHERS.append(changed(inputs=ports))
OTHERS += [changed(outputs=ports) for ports in ([["y", [2]]], [["x", [1]]], [])]
OTHERS += [changed(entries=entries) for entries in ([[3]], [[-1]], [[True]], [[2.0]], [["2"]], [[]], [[2], [2]], [1])]
OTHERS += [instructions(*last) for last in ((), ("call", 1), ("external", 1), ("const",), ("where", 1, 1, 1))]
OTHERS += [instructions(*last) for last in ((["mul"], 1, 1), ({}, 1, 1), (1, 1), ("mul", 1), ("mul", 1, 1, 1))]
for argument in (2, -1, "nan", "inf", "0x1.8p+9999", "1.5", 1.5, "__import__('os')", [1], None, 10**39, True):
    OTHERS.append(instructions("mul", 1, argument))
for place in (
    (0, 2, 0),
    (1, 0, 0),
    (0, 0, 1),
    (0, "0", 0),
    (0, 0),
    (-1, 0, 0),
    (0, 0, True),
    (0, 0, "0] or exit() or i0[0"),
):
    OTHERS.append(instructions("input", *place))
OTHERS.append(instructions("constpow", 1, "0x1.0p+80"))
# What CasADi would simplify, so that another function would be read than is written.
OTHERS += [instructions("div", 1, 1), instructions("mul", "0x1.0p+0", 1), instructions("sub", 1, 1)]
OTHERS += [instructions("mul", 1, "0x0.0p+0"), instructions("sin", 0), changed(entries=[[1]])]


@pytest.mark.parametrize("data", OTHERS)
def test_only_programs_are_read(data: Any) -> None:
    with pytest.raises(InvalidValue):
        from_data(data)


def test_the_good_one_is_read() -> None:
    assert float(from_data(GOOD)([0.5, 9.0])) == pytest.approx(1.5 * np.sin(0.5), rel=1e-15)


def test_too_many_instructions_are_refused() -> None:
    data = changed(instructions=[["input", 0, 0, 0], *(["sin", k] for k in range(20_000))], entries=[[20_000]])
    with pytest.raises(InvalidValue, match="at most 20,000"):
        from_data(data)


JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    3,
    2**40,
    10**39,
    1.5,
    "",
    "x",
    "input",
    "0x1.0p+0",
    "nan",
    [],
    [[]],
    {},
    [0, 0, 0],
]


def test_changes_at_random_are_read_or_refused() -> None:
    rng = random.Random(0)
    x = ca.SX.sym("x", 2)
    good = to_data(
        ca.Function("V", [x], [x[0] ** 2 + ca.tanh(x[1] * 0.3) ** 2 + ca.fmax(x[0], 0.1) / (2 + ca.cos(x[1]))])
    )
    for _ in range(3000):
        data = copy.deepcopy(good)
        for _ in range(rng.randint(1, 3)):
            at: Any = data
            while True:
                key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
                if isinstance(at[key], (list, dict)) and at[key] and rng.random() < 0.8:
                    at = at[key]
                else:
                    at[key] = rng.choice(JUNK)
                    break
        with suppress(InvalidValue):
            from_data(data)
