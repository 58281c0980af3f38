"""What may have no value is marked, by every operation that has a domain, and no operation forgets the mark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np
import pytest

from systems.arithmetic import interval_functions as rules
from systems.arithmetic.interval import Interval, Truth, stack
from systems.lowering import lower
from systems.lowering.interval_backend import ARITHMETIC
from systems.lowering.program import Instruction, Port, Program, read

NOWHERE = Interval.of(np.array([np.nan, 1.0, np.nan]))
ONES = Interval.of(np.array([1.0, 1.0, 0.0]))
TRUTHS = ("lt", "le", "eq", "ne", "truth", "not", "and", "or")


def applied(op: str, *operands: Any) -> Interval | Truth:
    """One operation of the arithmetic by itself, by the text that a program would have for it."""
    text = ARITHMETIC.templates[op].format(*(f"(a{k})" for k in range(len(operands))))
    return eval(text, {**ARITHMETIC.namespace, **{f"a{k}": a for k, a in enumerate(operands)}})


def arity(op: str) -> int:
    return sum(f"{{{k}}}" in ARITHMETIC.templates[op] for k in range(3))


@pytest.mark.parametrize("op", sorted(ARITHMETIC.templates))
def test_every_operation_carries_the_marks_of_its_operands(op: str) -> None:
    count = arity(op)
    for k in range(count):
        operands: list[Any] = [ONES] * count
        operands[k] = NOWHERE
        if op in ("not", "and", "or", "real"):
            operands = [a != 0.0 for a in operands]
        if op == "where":
            operands[0] = operands[0] != 0.0
            if k:  # a branch that is not taken does not count
                operands[0] = Truth(np.full(3, k == 1), np.full(3, k == 1))
        found = applied(op, *operands)
        assert found.undefined is not None, (op, k)
        assert found.undefined[0], (op, k)
        assert found.undefined[2], (op, k)
        if isinstance(found, Interval):
            assert found.lo[0] == -np.inf
            assert found.hi[2] == np.inf
            assert np.isnan(found.rad[0])
            if op not in ("acosh", "atanh", "log", "tan", "div", "inv"):
                assert not found.undefined[1], (op, k)


def test_constants_on_either_side_carry_marks() -> None:
    for found in (
        0.0 * NOWHERE, NOWHERE * 0.0, NOWHERE - 1.0, 1.0 - NOWHERE, 2.0 / NOWHERE, NOWHERE / 2.0, NOWHERE + 1.0,
        NOWHERE**0.0, NOWHERE**2.0, NOWHERE**0.5, -NOWHERE, abs(NOWHERE), NOWHERE.sq(), NOWHERE.hull(ONES),
        rules.fmin(NOWHERE, 3.0), rules.fmax(-5.0, rules.tanh(NOWHERE)), rules.clipped(NOWHERE, -1.0, 1.0),
        rules.intersection(ONES, Interval(-np.inf, np.inf).hull(NOWHERE)), stack([ONES, NOWHERE])[1], NOWHERE[:],
    ):  # fmt: skip
        assert found.undefined is not None
        assert found.undefined.tolist() == [True, False, True]


PARTIAL: dict[str, tuple[Callable[[Interval], Interval], list[tuple[float, float]], list[tuple[float, float]]]] = {
    "sqrt": (rules.sqrt, [(-1, 1), (-2, -1), (-1e-300, 1)], [(0, 1), (0, 0)]),
    "log": (rules.log, [(-1, 1), (-2, -1), (0, 1)], [(1e-300, 1), (1, 2)]),
    "log1p": (rules.log1p, [(-2, 0), (-3, -2), (-1, 0)], [(-0.5, 1)]),
    "asin": (rules.asin, [(0, 1.1), (2, 3), (-1.1, 0)], [(-1, 1)]),
    "acos": (rules.acos, [(0, 1.1), (2, 3), (-1.1, 0)], [(-1, 1)]),
    "acosh": (rules.acosh, [(0.9, 2), (-3, -2)], [(1, 2)]),
    "atanh": (rules.atanh, [(-1, 0), (0, 1), (2, 3)], [(-0.9, 0.9)]),
    "tan": (rules.tan, [(1.5, 1.6), (0, 10)], [(-1.5, 1.5)]),
    "inv": (lambda x: 1.0 / x, [(-1, 1), (0, 1), (0, 0)], [(1, 2), (-2, -1)]),
    "div": (lambda x: x / x, [(-1, 1), (0, 1)], [(1, 2)]),
    "constpow": (lambda x: rules.power(x, 1.5), [(-1, 1), (-2, -1)], [(0, 1)]),
    "pow": (lambda x: rules.power(x, x), [(-1, 1), (-2, -1)], [(1, 2)]),
    "power -2": (lambda x: x**-2.0, [(-1, 1), (0, 1)], [(1, 2)]),
    "exp beyond doubles": (rules.exp, [(0, 1000)], [(-1000, 700)]),
    "sinh beyond doubles": (rules.sinh, [(0, 1000), (-1000, 0)], [(-700, 700)]),
    "cosh beyond doubles": (rules.cosh, [(0, 1000), (-1000, 0)], [(-700, 700)]),
    "expm1 beyond doubles": (rules.expm1, [(0, 1000)], [(-1000, 700)]),
    "power beyond doubles": (lambda x: x**5.0, [(0, 1e100)], [(0, 1e60)]),
    "product beyond doubles": (lambda x: x * (x + 1.0), [(0, 1e200)], [(0, 1e100)]),
    "multiple beyond doubles": (lambda x: x * 1e200, [(0, 1e200)], [(0, 1e100)]),
    "sum beyond doubles": (lambda x: x + x, [(0, 1.7e308)], [(0, 1e307)]),
    "difference beyond doubles": (lambda x: x - (-x), [(0, 1.7e308)], [(0, 1e307)]),
    "square beyond doubles": (lambda x: x.sq(), [(0, 1e200)], [(0, 1e100)]),
    "quotient beyond doubles": (lambda x: x / 1e-200, [(0, 1e200)], [(0, 1e100)]),
}


@pytest.mark.parametrize("name", PARTIAL)
def test_what_leaves_a_domain_is_marked_and_nothing_else_is(name: str) -> None:
    f, outside, inside = PARTIAL[name]
    for low, high in outside:
        for lo, hi in ((low, high), (np.array([low, inside[0][0]]), np.array([high, inside[0][1]]))):
            found = f(Interval(lo, hi))
            assert found.undefined is not None, (low, high)
            assert np.atleast_1d(found.undefined)[0]
            assert np.atleast_1d(found.undefined)[1:].tolist() == [False] * (np.ndim(lo))
    for low, high in inside:
        assert f(Interval(low, high)).undefined is None, (low, high)


def test_what_overflows_is_marked_and_what_was_unbounded_before_is_not() -> None:
    low, high = np.array([1e300, -np.inf, 0.0, -np.inf, 1.0]), np.array([1e300, np.inf, np.inf, 0.0, 2.0])
    x = Interval(low, high)
    for product in (x * 1e10, 1e10 * x, x * Interval.of(np.full(5, 1e10)), x / 1e-10, x.sq()):
        assert product.undefined is not None
        assert product.undefined.tolist() == [True, False, False, False, False]
    quotient = 1e300 / Interval(np.array([1e-10, 1.0, -1e-9]), np.array([1e-9, 2.0, -1e-10]))
    assert quotient.undefined is not None
    assert quotient.undefined.tolist() == [True, False, True]


def test_what_has_no_value_stays_unbounded() -> None:
    bounded = rules.clipped(NOWHERE, 1.0, 2.0)
    for value in (bounded, 2.0 / bounded, bounded / 2.0, 1.0 / (bounded * bounded), bounded**-1.0, bounded**3.0):
        assert value.undefined is not None
        assert value.undefined.tolist() == [True, False, True]
        assert np.isinf(value.lo).tolist() == np.isinf(value.hi).tolist() == [True, False, True]


def test_marks_of_two_operands_are_joined() -> None:
    first, second = Interval.of(np.array([np.nan, 1.0, 1.0])), Interval.of(np.array([1.0, np.nan, 1.0]))
    for statement in (first < second, first <= second, first == second, (first < 2.0) & (second < 2.0)):
        assert statement.undefined is not None
        assert statement.undefined.tolist() == [True, True, False]


def test_results_stay_within_the_range_of_the_function() -> None:
    far = Interval(np.array([-2000.0, 30.0]), np.array([-1000.0, 2000.0]))
    assert rules.exp(far).lo[0] >= 0.0
    assert rules.tanh(far).lo[0] >= -1.0
    assert rules.tanh(far).hi[1] <= 1.0
    assert rules.atan(far).hi[1] <= np.nextafter(np.pi / 2, 2.0)


def test_unbounded_is_not_undefined() -> None:
    line, zero = Interval(np.full(2, -np.inf), np.full(2, np.inf)), Interval(np.zeros(2), np.zeros(2))
    for found in (line * zero, line + line, rules.fmax(line, 1.0), rules.tanh(line), rules.exp(line), line * line):
        assert found.undefined is None
    assert (line * zero).width.max() < 1e-300


def test_operations_are_total_or_marked() -> None:
    """An operation that a program takes for total has a value on every operand, also on zero and below."""
    x = np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, np.pi / 2, 3.0])
    a, b = (Interval.of(g.ravel()) for g in np.meshgrid(x, x))
    for op in sorted(set(ARITHMETIC.templates) - {"not", "and", "or", "real", "where", "truth"}):
        operands = (a, b)[: arity(op)]
        program = Program(
            op, (Port("a", (1,)), Port("b", (1,))), (Port("y", (1,)),), (Instruction(op, (0, 1), 0),), ((0,),)
        )
        assert program.is_total == (applied(op, *operands).undefined is None), op


x = ca.SX.sym("x", 2)
A, B = x[0], x[1]
HIDDEN = {
    "product with zero": ca.fmax(0, A - 5) * ca.log(A - 5),
    "quotient of zero": ca.fmax(0, A - 5) / ca.sqrt(A - 5),
    "smaller of two": ca.fmin(-5, ca.tanh(ca.sqrt(A - 10))),
    "larger of two": ca.fmax(0, ca.tanh(ca.log(A - 10)) - 5),
    "bounded function": ca.atan(ca.acosh(A)),
    "sine": ca.sin(ca.asin(A + 5)),
    "branch": ca.if_else(ca.log(A - 5) < 0, 1, 2),
    "sign": ca.sign(ca.sqrt(A - 5)) * 0.5,
    "power": ca.tanh((A - 5) ** 0.5),
    "exponential of minus infinity": ca.exp(ca.log(ca.fmax(A - 5, 0))),
    "overflow": ca.fmax(0, A - 5) * ca.exp(800 * (A + 2)),
    "difference of overflows": ca.tanh(ca.exp(800 * (A + 2)) - ca.exp(801 * (A + 2))),
    "pole": ca.cos(1 / ca.fmax(A - 5, 0)),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_no_outer_function_hides_what_is_undefined(name: str) -> None:
    f = ca.Function("f", [x], [ca.vertcat(HIDDEN[name], A + B)])
    box = Interval(np.array([[-0.1, -1.0], [0.0, 0.0]]), np.array([[0.1, 1.0], [0.0, 0.0]]))
    found = lower(f, to="interval")(box)
    assert found.undefined.tolist() == [[True, False], [True, False]]
    assert (found[:, 0].lo == -np.inf).all()
    assert not read(f).is_total or "overflow" in name


UNARY: list[Callable[[Any], Any]] = [
    ca.sqrt, ca.log, ca.exp, ca.tanh, ca.sin, ca.cos, ca.fabs, ca.asin, ca.acos, ca.atanh, ca.acosh, ca.log1p, ca.atan,
    lambda a: 1 / a, lambda a: a**2, lambda a: a**3, lambda a: a**1.5, lambda a: a**-1, lambda a: -a, ca.sinh, ca.sign,
    lambda a: ca.exp(100 * a),
]  # fmt: skip
BINARY: list[Callable[[Any, Any], Any]] = [
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b, ca.fmin, ca.fmax, ca.atan2,
    ca.hypot, lambda a, b: ca.if_else(a < b, a, b), lambda a, b: ca.fmax(a, 0) * b, lambda a, b: ca.fmin(a, 0) * b,
]  # fmt: skip


def test_a_box_is_marked_wherever_casadi_computes_no_number() -> None:
    rng = np.random.default_rng(0)

    def grown(depth: int) -> ca.SX:
        if depth == 0:
            return [A, B, A - 0.5, ca.SX(float(rng.normal()))][rng.integers(4)]
        if rng.random() < 0.5:
            return UNARY[rng.integers(len(UNARY))](grown(depth - 1))
        return BINARY[rng.integers(len(BINARY))](grown(depth - 1), grown(int(rng.integers(depth))))

    lost = kept = 0
    for _ in range(400):
        f = ca.Function("f", [x], [grown(4)])
        if any(word in str(f(x)) for word in ("inf", "nan")):  # CasADi computes with constants by itself
            continue
        middle, half = rng.normal(size=(40, 2)), 10.0 ** rng.uniform(-3, 0, (40, 1))
        box = Interval(middle - half, middle + half)
        found = lower(f, to="interval")(box)
        undefined = np.zeros(40, bool) if found.undefined is None else found.undefined[:, 0]
        points = rng.uniform(box.lo, box.hi, (20, 40, 2))
        values = lower(f, to="numpy")(points)[..., 0]
        bad = ~np.isfinite(values)
        assert (undefined | ~bad.any(axis=0)).all(), f(x)
        values = np.where(bad, 0.0, values)
        inside = (found.lo[:, 0] <= values + 1e-9 * (1 + np.abs(values))) & (
            values <= found.hi[:, 0] + 1e-9 * (1 + np.abs(values))
        )
        assert (inside | bad).all(), f(x)
        lost, kept = lost + int(undefined.sum()), kept + int((~undefined).sum())
    assert lost > 2000
    assert kept > 2000


def test_a_quotient_by_the_constant_zero_is_marked_everywhere() -> None:
    x = Interval(np.array([1.0, -1.0, 0.0, -np.inf]), np.array([2.0, 1.0, 0.0, np.inf]))
    for zero in (0.0, -0.0, 0, np.zeros(4)):
        quotient, product = x / zero, x * zero
        assert quotient.undefined is not None
        assert quotient.undefined.all()
        assert (np.isneginf(quotient.lo) & np.isposinf(quotient.hi)).all()
        assert product.contains(np.zeros(4)).all()
    inverse = 0.0 / x
    assert inverse.undefined is not None
    np.testing.assert_array_equal(inverse.undefined, [False, True, True, True])
    assert str(Interval(np.zeros(1), np.ones(1))) == "Interval([0.], [1.])"
