"""Python source code of a program, from one table of templates per arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from systems.lowering.program import Instruction, NotLowerable, Operand, Program, described

OPERATORS: Mapping[str, str] = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "twice": "2.0 * {0}",
    "inv": "1.0 / {0}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "not": "~{0}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
}
"""Operations written with Python's operators, in every arithmetic."""

ELEMENTARY = (
    "sqrt",
    "exp",
    "log",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "floor",
    "ceil",
    "sign",
    "expm1",
    "log1p",
)
"""Functions of one number that have the same name in every library as in CasADi."""
INVERSE = ("asin", "acos", "atan", "asinh", "acosh", "atanh")
"""Functions of one number whose name differs in some libraries."""


def calls(names: Iterable[str], library: str = "", arguments: int = 1) -> dict[str, str]:
    """Templates that call the functions of a library with these names: `library.name({0}, ..)`."""
    given = ", ".join(f"{{{i}}}" for i in range(arguments))
    return {name: f"{library}{name}({given})" for name in names}


@dataclass(frozen=True)
class Arithmetic:
    """The source text of each operation in one arithmetic.

    `templates` maps an operation to an expression in its arguments, `"{0} + {1}"`. Constants appear as Python
    floats, so that they take the precision of the other operand; where a library function accepts arrays only
    (`arrays`), or where there is no other operand, they appear as `constant`, in which `{0}` is the number.
    `extra` are further arguments of the emitted function, which templates may use by name. `component` reads one
    entry of a column.
    """

    name: str
    templates: Mapping[str, str]
    namespace: Mapping[str, Any]
    constant: str = "{0}"
    arrays: frozenset[str] = frozenset()
    extra: tuple[str, ...] = ()
    component: str = "{0}[..., {1}]"


def emit(program: Program, arithmetic: Arithmetic) -> tuple[Callable[..., Any], str]:
    """The compiled function and its source: it takes the inputs and `extra`, and returns one tuple of
    components (row-major; Python floats where constant) per output.

    Raises:
        NotLowerable: the arithmetic has no template for an operation of the program.
    """
    used = {i.op for i in program.instructions if i.op != "input"}
    missing = sorted({op for op in used if op.split()[0] not in arithmetic.templates})
    if missing:
        calls_too = any(op.startswith("call ") for op in missing)
        advice = "; write a look-up table as casadi.pw_lin, or as sums of maxima" if calls_too else ""
        names = ", ".join(sorted({described(program, op) for op in missing}))
        raise NotLowerable(
            f"{program.name} uses {names}, which {arithmetic.name} arithmetic does not have: it has "
            f"{', '.join(sorted(arithmetic.templates))}{advice}"
        )
    arguments = ", ".join([f"i{k}" for k in range(len(program.inputs))] + list(arithmetic.extra))
    lines = [f"def lowered({arguments}):"]
    name: dict[int, str] = {}
    last = _last_uses(program)
    free: list[str] = []
    slots = 0
    for instruction in program.instructions:
        text = _expression(instruction, name, program, arithmetic)
        if instruction.op != "input":
            # A name is reused after the last use of its value, so that the memory of a large batch is freed
            # while it is still in the cache.
            for a in {a for a in instruction.args if isinstance(a, int)}:
                if last[a] == instruction.out:
                    free.append(name[a])
        if free:
            name[instruction.out] = free.pop()
        else:
            name[instruction.out], slots = f"v{slots}", slots + 1
        lines.append(f"    {name[instruction.out]} = {text}")
    entries = ("".join(_operand(a, name, "({0})") + ", " for a in entry) for entry in program.entries)
    lines.append("    return (" + "".join(f"({entry}), " for entry in entries) + ")")
    source = "\n".join(lines) + "\n"
    namespace = {"inf": float("inf"), "nan": float("nan"), **arithmetic.namespace, "functions": program.functions}
    exec(compile(source, f"<{program.name} in {arithmetic.name} arithmetic>", "exec"), namespace)
    return namespace["lowered"], source


def _expression(instruction: Instruction, name: Mapping[int, str], program: Program, arithmetic: Arithmetic) -> str:
    if instruction.op == "input":
        which, row, column = instruction.args
        if len(program.inputs[int(which)].shape) == 2:
            return f"i{which}[..., {row}, {column}]"
        return arithmetic.component.format(f"i{which}", row)
    as_array = instruction.op in arithmetic.arrays or all(isinstance(a, float) for a in _numbers(instruction))
    constant = arithmetic.constant if as_array else "({0})"
    texts = [_operand(a, name, constant) for a in instruction.args]
    if instruction.op.startswith("call "):
        _, called, output = instruction.op.split()
        return f"call(functions[{called}], {output}, ({''.join(f'{text}, ' for text in texts)}))"
    return arithmetic.templates[instruction.op].format(*texts)


def _numbers(instruction: Instruction) -> tuple[Operand, ...]:
    return instruction.args[1:] if instruction.op == "where" else instruction.args


def _operand(a: Operand, name: Mapping[int, str], constant: str) -> str:
    return name[a] if isinstance(a, int) else constant.format(repr(a))


def _last_uses(program: Program) -> dict[int, int]:
    last: dict[int, int] = {}
    for instruction in program.instructions:
        if instruction.op != "input":
            last.update({a: instruction.out for a in instruction.args if isinstance(a, int)})
    last.update({a: len(program.instructions) for entry in program.entries for a in entry if isinstance(a, int)})
    return last
