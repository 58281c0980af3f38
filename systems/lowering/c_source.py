"""A CasADi function as readable C99 without CasADi's runtime, for exported controllers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import casadi as ca

from systems.lowering.emit import ELEMENTARY, INVERSE, OPERATORS, calls
from systems.lowering.program import Instruction, NotLowerable, Operand, Port, described, read

__all__ = ["c_function", "c_number"]

_TEMPLATES: Mapping[str, str] = {
    **OPERATORS,
    "not": "!{0}",
    "and": "{0} && {1}",
    "or": "{0} || {1}",
    **calls((*ELEMENTARY, *INVERSE, "fabs", "erf")),
    **calls(("fmin", "fmax", "fmod", "copysign", "hypot", "pow", "atan2"), arguments=2),
    "constpow": "pow({0}, {1})",
    "sq": "{0} * {0}",
    "sign": "(double)(({0} > 0.0) - ({0} < 0.0))",
    "truth": "{0} != 0.0",
    "real": "(double){0}",
    "where": "{0} ? {1} : {2}",
    "share": "{0} <= {1} ? ({1} <= {0} ? 0.5 : 1.0) : 0.0",
}
_TRUTHS = frozenset({"lt", "le", "eq", "ne", "not", "and", "or", "truth"})


def c_number(value: float) -> str:
    """A double as a C constant that reads back as the same double: the shortest decimal, of at most 17 digits."""
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return repr(float(value))


def c_function(function: ca.Function, name: str) -> str:
    """A static C99 function ``void name(const double *in, .., double *out, ..)`` with the inputs and outputs of a
    CasADi function in their order, matrices row by row. It needs ``<math.h>`` and no memory beyond local variables.

    Args:
        function: without free variables.
        name: of the C function.

    Raises:
        NotLowerable: an operation that C99 does not have, or a function that CasADi cannot expand.
    """
    program = read(function)
    missing = sorted({i.op for i in program.instructions if i.op != "input" and i.op not in _TEMPLATES})
    if missing:
        names = ", ".join(described(program, op) for op in missing)
        raise NotLowerable(f"{program.name} uses {names}, which C99 does not have; write it with elementary functions")
    used = {int(i.args[0]) for i in program.instructions if i.op == "input"}
    arguments = [f"const double *{port.name}" for port in program.inputs]
    arguments += [f"double *{port.name}" for port in program.outputs]
    lines = [f"static void {name}({', '.join(arguments)})", "{"]
    lines += [f"    (void){port.name};" for i, port in enumerate(program.inputs) if i not in used]
    for instruction in program.instructions:
        kind = "int" if instruction.op in _TRUTHS else "double"
        text = _expression(instruction, program.inputs)
        lines.append(f"    const {kind} v{instruction.out} = {text};")
    for port, entries in zip(program.outputs, program.entries, strict=True):
        lines += [f"    {port.name}[{i}] = {_operand(entry)};" for i, entry in enumerate(entries)]
        lines += [] if entries else [f"    (void){port.name};"]
    return "\n".join([*lines, "}"]) + "\n"


def _expression(instruction: Instruction, inputs: tuple[Port, ...]) -> str:
    if instruction.op == "input":
        which, row, column = (int(a) for a in instruction.args)
        shape = inputs[which].shape
        return f"{inputs[which].name}[{row if len(shape) == 1 else row * shape[1] + column}]"
    return _TEMPLATES[instruction.op].format(*map(_operand, instruction.args))


def _operand(a: Operand) -> str:
    if isinstance(a, int):
        return f"v{a}"
    text = c_number(a)
    return f"({text})" if text.startswith("-") else text
