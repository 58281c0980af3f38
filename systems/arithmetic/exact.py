"""Straight-line programs without rounding: in rational arithmetic, and with literal numbers replaced by symbols."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import final

import casadi as ca
import numpy as np

from systems.arithmetic import interval_functions as rules
from systems.arithmetic.interval import Interval
from systems.errors import InvalidValue
from systems.lowering.interpret import OPERATORS, POWERS, interpret, values
from systems.lowering.program import NotLowerable, Program, read
from systems.lowering.same import same_function

__all__ = [
    "DISCONTINUOUS",
    "KINKS",
    "ExactColumn",
    "NotExact",
    "Value",
    "evaluate",
    "evaluate_exactly",
    "is_kept",
    "jumps",
    "kinked",
    "with_symbolic_numbers",
]

Value = Fraction | Interval
"""A number known exactly, or an enclosure of a single number; the number may not exist if that is undefined."""

# With these operations, the Jacobian does not account for every change of the function: the mean value theorem fails.
DISCONTINUOUS = frozenset(
    {"where", "lt", "le", "eq", "ne", "not", "and", "or", "truth", "real", "share", "sign", "floor", "ceil", "fmod"}
    | {"remainder", "copysign"}
)
# With these operations, first or second derivatives jump; a bound by second derivatives would ignore the kink.
KINKS = DISCONTINUOUS | {"fmin", "fmax", "fabs", "hypot"}

_BITS = 16_384  # of a rational: thirty successive squarings would fill the memory


def _length(a: Fraction) -> int:
    """Number of bits of a rational."""
    return a.numerator.bit_length() + a.denominator.bit_length()


def _root(a: Fraction) -> Fraction | None:
    """The root of the square of a rational."""
    if a < 0:
        return None
    top, bottom = isqrt(a.numerator), isqrt(a.denominator)
    return Fraction(top, bottom) if top * top == a.numerator and bottom * bottom == a.denominator else None


def _power(a: Fraction, b: Fraction | float) -> Fraction | None:
    if b % 1 != 0 or not -64 <= b <= 64 or (a == 0 and b <= 0) or _length(a) * abs(int(b)) > 2 * _BITS:
        return None
    return a ** int(b)


# Rules of rational numbers; None where the result is not known to be one.
_RATIONAL: dict[str, Callable[..., Fraction | None]] = {
    **OPERATORS,
    "div": lambda a, b: a / b if b else None,
    "inv": lambda a: 1 / a if a else None,
    "fabs": abs,
    "fmin": min,
    "fmax": max,
    **dict.fromkeys(POWERS, _power),
    "log": lambda a: Fraction(0) if a == 1 else None,
    "acos": lambda a: Fraction(0) if a == 1 else None,
    "sqrt": _root,
    "atan2": lambda a, b: Fraction(0) if a == 0 and b > 0 else None,
    **dict.fromkeys(
        ["sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "expm1", "log1p"],
        lambda a: Fraction(0) if a == 0 else None,
    ),
    **dict.fromkeys(["cos", "cosh", "exp"], lambda a: Fraction(1) if a == 0 else None),
}
_ENCLOSED: dict[str, Callable[..., Interval]] = {
    **OPERATORS,
    "sq": Interval.sq,
    "fabs": abs,
    **dict.fromkeys(POWERS, rules.power),
    **{op: getattr(rules, op) for op in _RATIONAL if hasattr(rules, op)},
    "hypot": rules.hypot,
}


def _exact(op: str) -> Callable[..., Value]:
    """The rule of an operation: exact if its operands are, or if one of them is zero and the others do not matter;
    otherwise an enclosure."""

    def rule(*operands: Value) -> Value:
        if not any(isinstance(a, Interval) for a in operands):
            rational = _RATIONAL[op](*operands) if op in _RATIONAL else None
            if rational is not None and _length(rational) <= _BITS:
                return rational
        enclosed = _ENCLOSED[op](*map(_enclosure, operands)) if op in _ENCLOSED else Interval.of(np.nan)
        factors = {"mul": operands, "div": operands[:1]}.get(op, ())
        if enclosed.undefined is None and any(a == 0 for a in factors if isinstance(a, Fraction)):
            return Fraction(0)  # exactly, whatever the other number is, since it exists
        return enclosed

    return rule


_SYMBOLIC: dict[str, Callable[..., ca.SX]] = {
    **OPERATORS,
    **dict.fromkeys(POWERS, operator.pow),
    # Equal off the negative axis of b. On it, where atan2 jumps, this divides by zero, so that an enclosure of value
    # and slope over a box that meets the jump is the whole line.
    "atan2": lambda a, b: 2 * ca.atan(a / (ca.sqrt(a * a + b * b) + b)),
    **{op: getattr(ca, op) for op in ("fabs", "fmin", "fmax", "sqrt", "exp", "log", "expm1", "log1p", "hypot")},
    **{op: getattr(ca, op) for op in ("sin", "cos", "tan", "asin", "acos", "atan")},
    **{op: getattr(ca, op) for op in ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")},
}


def evaluate_exactly(program: Program, *inputs: Sequence[Value]) -> list[list[Fraction] | None]:
    """The outputs at rational inputs, one list of entries (row-major) per output; None if one is not known exactly.

    An input may be a scalar interval that contains an unknown number. Zero times it is zero, and so is
    zero divided by it if it does not contain zero. Transcendental functions are known exactly where their value is
    rational for a trivial reason: sin 0, cos 0, log 1, ...
    """
    known = [[value for value in row if isinstance(value, Fraction)] for row in evaluate(program, *inputs)]
    return [row if len(row) == port.size else None for row, port in zip(known, program.outputs, strict=True)]


def evaluate(program: Program, *inputs: Sequence[Value]) -> list[list[Value]]:
    """The same, entry by entry, with enclosures of entries that are not known exactly."""
    return interpret(program, inputs, _exact, _rational)


class NotExact(ArithmeticError):
    """A value that is not known to be rational."""


@final
@dataclass(frozen=True)
class ExactColumn:
    """A column of rationals with the operations of an integrator: sums, and products with exact doubles."""

    entries: tuple[Fraction, ...]

    __array_ufunc__ = None

    def __add__(self, other: ExactColumn) -> ExactColumn:
        return ExactColumn(tuple(a + b for a, b in zip(self.entries, other.entries, strict=True)))

    def __mul__(self, scale: float) -> ExactColumn:
        return ExactColumn(tuple(a * Fraction(float(scale)) for a in self.entries))

    __rmul__ = __mul__


def with_symbolic_numbers(function: ca.Function) -> tuple[ca.Function, np.ndarray]:
    """The same function with its literal numbers as one more input, and their values; atan2 by the tangent of half of
    it.

    CasADi folds a product of two literals into one rounded number when it differentiates. It cannot fold symbols, so a
    derivative of the result is the derivative in exact arithmetic. Exponents remain numbers: if they are integers, as
    :func:`jumps` requires, the derivatives are exact.

    Raises:
        InvalidValue: the function branches; see :func:`jumps`. NotLowerable: it uses what has no rule here.
    """
    if jumping := jumps(function):
        raise InvalidValue(f"{function.name()} uses {', '.join(jumping)}, which are not differentiated")
    program = read(function)
    if unknown := sorted({i.op for i in program.instructions} - {"input", *_SYMBOLIC}):
        raise NotLowerable(
            f"{function.name()} uses {', '.join(unknown)}, of which neither bounds nor slopes are known here; nothing "
            "can be proved of it unless it is written in other functions"
        )
    inputs = [ca.SX.sym(port.name, port.size) for port in program.inputs]
    numbers: dict[float, ca.SX] = {}

    def number(a: float) -> ca.SX:
        return numbers.setdefault(a, ca.SX.sym(f"number{len(numbers)}"))

    known = values(program, [ca.vertsplit(x) for x in inputs], _SYMBOLIC.__getitem__, number)
    outputs = [
        ca.vertcat(*[known[a] if isinstance(a, int) else ca.SX(a) for a in entry]) if entry else ca.SX(0, 1)
        for entry in program.entries
    ]
    names = [port.name for port in program.inputs]
    column = ca.vertcat(*numbers.values()) if numbers else ca.SX(0, 1)
    free = ca.Function(function.name(), [*inputs, column], outputs, [*names, "numbers"], function.name_out())
    return free, np.array(list(numbers))


def is_kept(function: ca.Function) -> bool:
    """Whether :func:`with_symbolic_numbers` computes what the function does, operation by operation.

    CasADi simplifies expressions when they are built, and more of them when they are rebuilt: log(x) - log(x) is 0
    then, but NaN at a negative x when the function is evaluated. Derivatives may be taken of the simplified expression,
    but only the function itself shows whether a value exists.
    """
    free, numbers = with_symbolic_numbers(function)
    inputs = free.sx_in()[:-1]
    rebuilt = ca.Function(function.name(), inputs, list(free.call([*inputs, ca.SX(ca.DM(numbers))])))
    return same_function(read(function), read(rebuilt))


def jumps(function: ca.Function) -> list[str]:
    """Operations at which a function may jump, or be undefined while its derivative is defined; ideally none.

    They include infinite numbers, unless as a bound that is never active: fmin(a, inf), fmax(a, -inf).
    """
    program = read(function)
    operations = {i.op for i in program.instructions if i.op in DISCONTINUOUS}
    for i in program.instructions:
        harmless = {"fmin": [float("inf")], "fmax": [float("-inf")]}.get(i.op, [])
        if any(isinstance(a, float) and abs(a) == float("inf") and a not in harmless for a in i.args):
            operations.add("inf")
        if i.op in POWERS and not (isinstance(i.args[1], float) and i.args[1].is_integer()):
            operations.add(i.op)
    return sorted(operations)


def kinked(function: ca.Function) -> list[str]:
    """Operations at which a function may lack a second derivative although CasADi has a formula; ideally none."""
    program = read(function)
    operations = {i.op for i in program.instructions if i.op in KINKS}
    for i in program.instructions:
        if i.op in POWERS and not (isinstance(i.args[1], float) and i.args[1].is_integer()):
            operations.add(i.op)
    return sorted(operations)


def _rational(number: float) -> Value:
    return Fraction(number) if abs(number) < float("inf") else Interval.of(number)


def _enclosure(a: Value | float) -> Interval | float:
    """A rational enclosed by two doubles; exponents, which are doubles, are returned unchanged."""
    if not isinstance(a, Fraction):
        return a
    try:
        near = float(a)
    except OverflowError:
        return Interval(-np.inf, np.inf)
    return (
        Interval(np.nextafter(near, -np.inf), np.nextafter(near, np.inf)) if Fraction(near) != a else Interval.of(near)
    )
