"""Straight-line programs run one operation at a time, in whatever arithmetic Python's operators reach.

For numbers that are slow by nature: balls of many digits, rationals, symbols. Arrays are served by :mod:`emit`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from systems.lowering.program import Operand, Program

__all__ = ["OPERATORS", "POWERS", "interpret", "values"]

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
"""Rules that Python's operators are: the same text in every arithmetic that has them."""

POWERS = ("pow", "constpow")


def interpret(
    program: Program, inputs: Sequence[Sequence[Any]], rule: Callable[[str], Rule], number: Callable[[float], Any]
) -> list[list[Any]]:
    """The entries of each output, row by row.

    Args:
        inputs: the entries of each input, row by row.
        rule: what an operation is; raises where the arithmetic does not have it.
        number: a literal as a number of the arithmetic. Exponents that are literals stay as they are.
    """
    known = values(program, inputs, rule, number)
    return [[known[a] if isinstance(a, int) else number(a) for a in entry] for entry in program.entries]


def values(
    program: Program, inputs: Sequence[Sequence[Any]], rule: Callable[[str], Rule], number: Callable[[float], Any]
) -> list[Any]:
    """The value of each instruction, for callers whose outputs treat literals in their own way; see `interpret`."""
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
