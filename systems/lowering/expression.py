"""A program as CasADi expressions again, with some of its values replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import casadi as ca

from systems.lowering.interpret import OPERATORS, Rule
from systems.lowering.program import NotLowerable, Operand, Program, described

__all__ = ["RULES", "expressions"]

_UNARY = (
    "sqrt", "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh",
    "atanh", "floor", "ceil", "sign", "fabs", "erf", "erfinv", "log1p", "expm1",
)  # fmt: skip
RULES: Mapping[str, Rule] = MappingProxyType(
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
    """One entry of what a function returns."""
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
        replaced: expressions that stand for some values, by number.

    Returns:
        What each instruction comes to, and each output as a matrix of its shape.

    Raises:
        NotLowerable: an operation that CasADi's symbols do not have.
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
        elif i.op in RULES:
            known.append(RULES[i.op](*map(operand, i.args)))
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
