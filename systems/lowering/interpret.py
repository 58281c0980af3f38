"""Runs straight-line programs one operation at a time, in any arithmetic with Python's operators.

For numbers whose arithmetic is slow anyway: balls of many digits, rationals, symbols. For arrays see :mod:`emit`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import casadi as ca

from systems.lowering.program import NotLowerable, Operand, Program, described

__all__ = ["OPERATORS", "POWERS", "SYMBOLS", "expressions", "interpret", "values"]

Rule = Callable[..., Any]

OPERATORS: Mapping[str, Rule] = MappingProxyType(
    {
        "add": operator.add,
        "sub": operator.sub,
        "mul": operator.mul,
        "div": operator.truediv,
        "neg": operator.neg,
        "sq": lambda a: a * a,
        "twice": lambda a: 2 * a,
        "inv": lambda a: 1 / a,
    }
)
"""Rules given by Python's operators, the same in every arithmetic that has them."""

POWERS = ("pow", "constpow")


def interpret(
    program: Program, inputs: Sequence[Sequence[Any]], rule: Callable[[str], Rule], number: Callable[[float], Any]
) -> list[list[Any]]:
    """The entries of each output, row by row.

    Args:
        inputs: the entries of each input, row by row.
        rule: evaluates an operation; raises an error if the arithmetic does not have it.
        number: a literal as a number of the arithmetic. Exponents that are literals stay as they are.
    """
    known = values(program, inputs, rule, number)
    return [[known[a] if isinstance(a, int) else number(a) for a in entry] for entry in program.entries]


def values(
    program: Program, inputs: Sequence[Sequence[Any]], rule: Callable[[str], Rule], number: Callable[[float], Any]
) -> list[Any]:
    """The value of each instruction, for callers that treat literals in outputs differently; see `interpret`."""
    known: list[Any] = []

    def operand(a: Operand) -> Any:
        return known[a] if isinstance(a, int) else number(a)

    for i in program.instructions:
        if i.op == "input":
            which, row, column = map(int, i.args)
            shape = program.inputs[which].shape
            known.append(inputs[which][row * (shape[1] if len(shape) > 1 else 1) + column])
        elif i.op in POWERS and isinstance(i.args[1], float):
            known.append(rule(i.op)(operand(i.args[0]), i.args[1]))
        else:
            known.append(rule(i.op)(*map(operand, i.args)))
    return known


_UNARY = (
    "sqrt", "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh",
    "atanh", "floor", "ceil", "sign", "fabs", "erf", "erfinv", "log1p", "expm1",
)  # fmt: skip
SYMBOLS: Mapping[str, Rule] = MappingProxyType(
    {
        **OPERATORS,
        **{name: getattr(ca, name) for name in _UNARY},
        **{name: getattr(ca, name) for name in ("fmin", "fmax", "fmod", "atan2", "hypot", "copysign", "remainder")},
        "pow": ca.power,
        "constpow": ca.power,
        "lt": lambda a, b: a < b,
        "le": lambda a, b: a <= b,
        "eq": lambda a, b: a == b,
        "ne": lambda a, b: a != b,
        "not": ca.logic_not,
        "and": ca.logic_and,
        "or": ca.logic_or,
        "truth": lambda a: a != 0,
        "real": lambda a: a,
        "where": ca.if_else,
        "share": lambda a, b: (a <= b) / ((a <= b) + (b <= a)),
    }
)
"""CasADi's functions by operation."""


def _called(function: ca.Function, output: int, arguments: list[Any]) -> Any:
    """One output entry of a function."""
    inputs, first = [], 0
    for i in range(function.n_in()):
        count = function.nnz_in(i)
        inputs.append(ca.SX(function.sparsity_in(i), ca.vertcat(*arguments[first : first + count])))
        first += count
    for value in function.call(inputs):
        entries = value.nz[:]
        if output < entries.numel():
            return entries[output]
        output -= entries.numel()
    raise IndexError(output)


def expressions(
    program: Program, inputs: Sequence[Any], replaced: Mapping[int, Any] = MappingProxyType({})
) -> tuple[list[Any], list[Any]]:
    """The values of a program and its outputs, for SX matrices as inputs.

    Args:
        inputs: one SX matrix per input.
        replaced: expressions that replace some values, by number.

    Returns:
        The expression of each instruction, and each output as a matrix of its shape.

    Raises:
        NotLowerable: an operation that is not available for CasADi's symbols.
    """
    known: list[Any] = []

    def operand(a: Operand) -> Any:
        return known[a] if isinstance(a, int) else ca.SX(a)

    for i in program.instructions:
        if i.out in replaced:
            known.append(replaced[i.out])
        elif i.op == "input":
            which, row, column = map(int, i.args)
            known.append(inputs[which][row, column])
        elif i.op.startswith("call "):
            _, called, output = i.op.split()
            known.append(_called(program.functions[int(called)], int(output), [operand(a) for a in i.args]))
        elif i.op in SYMBOLS:
            known.append(SYMBOLS[i.op](*map(operand, i.args)))
        else:
            raise NotLowerable(
                f"{program.name} uses {described(program, i.op)}, which cannot be written as an expression"
            )
    outputs = []
    for port, entry in zip(program.outputs, program.entries, strict=True):
        rows, columns = (*port.shape, 1)[:2]
        flat = ca.vertcat(*map(operand, entry)) if entry else ca.SX(rows, columns)
        outputs.append(ca.reshape(flat, columns, rows).T if columns > 1 else flat)
    return known, outputs
