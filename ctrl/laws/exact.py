"""Straight-line programs in rational arithmetic: what holds here holds without any rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import casadi as ca

from systems.lowering.program import Instruction, Program, read

__all__ = ["DISCONTINUOUS", "evaluate_exactly", "jumps"]

Value = Fraction | None

# Where these occur, a Jacobian does not see every change of the function, and the mean value theorem fails.
DISCONTINUOUS = frozenset(
    ["where", "lt", "le", "eq", "ne", "not", "and", "or", "truth", "real"]
    + ["sign", "floor", "ceil", "fmod", "copysign", "atan2", "share", "remainder"]
)

_RULES: dict[str, Callable[..., Value]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b if b else None,
    "neg": lambda a: -a,
    "sq": lambda a: a * a,
    "twice": lambda a: 2 * a,
    "inv": lambda a: 1 / a if a else None,
    "fabs": abs,
    "fmin": min,
    "fmax": max,
    "pow": lambda a, b: _power(a, b),
    "constpow": lambda a, b: _power(a, b),
    "log": lambda a: Fraction(0) if a == 1 else None,
    "acos": lambda a: Fraction(0) if a == 1 else None,
    "sqrt": lambda a: a if a in (0, 1) else None,
    **dict.fromkeys(
        ["sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "expm1", "log1p"],
        lambda a: Fraction(0) if a == 0 else None,
    ),
    **dict.fromkeys(["cos", "cosh", "exp"], lambda a: Fraction(1) if a == 0 else None),
}


def evaluate_exactly(program: Program, *inputs: Sequence[Fraction]) -> list[list[Fraction] | None]:
    """The outputs at rational inputs, one list of entries (row-major) per output; None where one is not known exactly.

    Transcendental functions are known where their value is rational for a trivial reason: sin 0, cos 0, log 1, ...
    """
    values: list[Value] = []
    for instruction in program.instructions:
        values.append(_evaluate(instruction, values, inputs))
    outputs = []
    for entry in program.entries:
        row = [values[a] if isinstance(a, int) else _rational(a) for a in entry]
        outputs.append(None if any(value is None for value in row) else [v for v in row if v is not None])
    return outputs


def jumps(function: ca.Function) -> list[str]:
    """Operations at which a function may jump, or be undefined without its derivative showing it; best none."""
    program = read(function)
    found = {i.op for i in program.instructions if i.op in DISCONTINUOUS}
    for i in program.instructions:
        if i.op in ("pow", "constpow") and not (isinstance(i.args[1], float) and i.args[1].is_integer()):
            found.add(i.op)
    return sorted(found)


def _evaluate(instruction: Instruction, values: list[Value], inputs: tuple[Sequence[Fraction], ...]) -> Value:
    if instruction.op == "input":
        which, row, column = (int(a) for a in instruction.args)
        if column:
            return None  # matrices as inputs do not occur in plants and laws
        return inputs[which][row]
    args = [values[a] if isinstance(a, int) else _rational(a) for a in instruction.args]
    rule = _RULES.get(instruction.op)
    if rule is None or any(a is None for a in args):
        return None
    return rule(*args)


def _rational(number: float) -> Value:
    return Fraction(number) if abs(number) < float("inf") else None


def _power(a: Fraction, b: Fraction) -> Value:
    if b.denominator != 1 or abs(b) > 64 or (a == 0 and b <= 0):
        return None
    return a ** int(b)
