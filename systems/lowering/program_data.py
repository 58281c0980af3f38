"""Programs as plain data: an expression in a file is a list of operations by name, never code.

A program is an object with ``name``, ``inputs`` and ``outputs`` (each ``[name, [sizes]]``), ``instructions`` and
``entries``. An instruction is ``[operation, argument, ...]``: an integer is the number of an earlier instruction, a
string such as ``"0x1.8p+1"`` an exact double; ``["input", i, row, column]`` reads an entry of input i. ``entries``
are the arguments that give the entries of each output, row by row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import casadi as ca

from systems.errors import InvalidValue
from systems.files import shown
from systems.lowering.interpret import POWERS, expressions
from systems.lowering.program import Instruction, Operand, Port, Program, read

__all__ = ["from_data", "symbolic", "to_data"]

_MOST_INSTRUCTIONS = 20_000  # second derivatives of a program of this size take about ten seconds
_MOST_SIZE = 10_000  # entries of an input or an output
_MOST_POWER = 64.0  # exponents that are numbers: rational arithmetic writes a power out
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,60}", re.ASCII)
_HEX = re.compile(r"-?0x[01]\.[0-9a-f]{1,13}p[+-][0-9]{1,4}", re.ASCII)

_UNARY = (
    *("sqrt", "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh"),
    *("atanh", "expm1", "log1p", "fabs", "floor", "ceil", "sign", "neg", "sq", "twice", "inv"),
)
_BINARY = ("add", "sub", "mul", "div", "fmin", "fmax", "hypot", "atan2", "fmod", "copysign", *POWERS)
_ARGUMENTS: Mapping[str, int] = dict.fromkeys(_UNARY, 1) | dict.fromkeys(_BINARY, 2)
"""Number of arguments of each operation allowed in a file; all others are refused."""


def to_data(function: ca.Function) -> dict[str, Any]:
    """A CasADi function as plain data that :func:`from_data` reads.

    Raises:
        InvalidValue: it uses an operation that has no such form, or CasADi rearranges it each time it is rebuilt.
        NotLowerable: it has free variables or cannot be expanded.
    """
    program = read(function)
    numbers = [a for args in (*(i.args for i in program.instructions), *program.entries) for a in args]
    if not all(map(math.isfinite, numbers)):
        raise InvalidValue(f"{function.name()} has a number that is not finite, which cannot be stored in a file")
    for _ in range(3):  # CasADi may simplify an expression when it is built again, and then once more
        _expect_known(program)
        again = read(symbolic(program))
        if again == program:
            data = _data(program)
            _program(data)  # a program that is too large, or has an invalid name, is refused before it is written
            return data
        program = again
    raise InvalidValue(f"{function.name()} changes whenever CasADi builds it again; write it in a simpler form")


def from_data(data: Any) -> ca.Function:
    """The CasADi function of data returned by :func:`to_data`.

    The data are never executed; only the names of operations are looked up, in a table of this module. The function
    performs exactly the operations listed: data that CasADi would simplify are refused.

    Raises:
        InvalidValue: the data are not a complete and consistent program.
    """
    program = _program(data)
    try:
        function = symbolic(program)
    except RuntimeError as error:  # CasADi reserves some names
        raise InvalidValue(
            f"program {program.name} is not one of CasADi: {str(error).strip().splitlines()[-1]}"
        ) from error
    if read(function) != program:
        raise InvalidValue(f"program {program.name} is not in the form in which programs are written")
    return function


def symbolic(program: Program) -> ca.Function:
    """A program as a CasADi function of SX, operation by operation.

    Raises:
        InvalidValue: an operation that is not in the table.
    """
    _expect_known(program)
    symbols = [ca.SX.sym(port.name, *port.shape) for port in program.inputs]
    _, outputs = expressions(program, symbols)
    inputs, results = ([port.name for port in ports] for ports in (program.inputs, program.outputs))
    return ca.Function(program.name, symbols, outputs, inputs, results)


def _expect_known(program: Program) -> None:
    unknown = sorted({i.op for i in program.instructions} - {"input", *_ARGUMENTS})
    if unknown:
        raise InvalidValue(f"{program.name} uses {', '.join(unknown)}, which cannot be stored in a file")


# ---- to data ----


def _data(program: Program) -> dict[str, Any]:
    def argument(a: Operand) -> int | str:
        return a if isinstance(a, int) else a.hex()

    return {
        "name": program.name,
        "inputs": [[port.name, list(port.shape)] for port in program.inputs],
        "outputs": [[port.name, list(port.shape)] for port in program.outputs],
        "instructions": [[i.op, *map(argument, i.args)] for i in program.instructions],
        "entries": [list(map(argument, entry)) for entry in program.entries],
    }


# ---- from data ----


def _program(data: Any) -> Program:
    fields = ("name", "inputs", "outputs", "instructions", "entries")
    if not isinstance(data, dict) or set(data) != set(fields):
        raise InvalidValue(f"a program has the parts {', '.join(fields)}; given: {shown(data)}")
    inputs, outputs = (tuple(map(_port, _list(data[key], key))) for key in ("inputs", "outputs"))
    ports = [port.name for port in (*inputs, *outputs)]
    if len(set(ports)) < len(ports):
        raise InvalidValue(f"inputs and outputs of one name: {shown(ports)}")
    listed = _list(data["instructions"], "instructions", _MOST_INSTRUCTIONS)
    instructions = tuple(_instruction(k, given, inputs) for k, given in enumerate(listed))
    entries = tuple(
        tuple(_operand(a, len(instructions)) for a in _list(entry, "entries"))
        for entry in _list(data["entries"], "entries")
    )
    if [len(entry) for entry in entries] != [port.size for port in outputs]:
        raise InvalidValue(f"outputs {shown(data['outputs'])} and their entries do not fit")
    return Program(_name(data["name"]), inputs, outputs, instructions, entries)


def _instruction(k: int, given: Any, inputs: tuple[Port, ...]) -> Instruction:
    op, *args = _list(given, "an instruction", 4) or [None]
    if op == "input":
        if len(args) != 3 or not all(type(a) is int for a in args):
            raise InvalidValue(f"instruction {k}: {shown(given)}; expected input, row and column")
        which, row, column = args
        shape = inputs[which].shape if 0 <= which < len(inputs) else ()
        rows, columns = (*shape, 1)[:2] if shape else (0, 0)
        if not (0 <= row < rows and 0 <= column < columns):
            raise InvalidValue(f"instruction {k}: {shown(given)}; there is no such input or entry")
        return Instruction("input", (which, row, column), k)
    if not isinstance(op, str) or op not in _ARGUMENTS:
        raise InvalidValue(f"instruction {k}: operation {shown(op)}; known: {', '.join(sorted(_ARGUMENTS))}")
    if len(args) != _ARGUMENTS[op]:
        raise InvalidValue(f"instruction {k}: {shown(given)}; {op} has {_ARGUMENTS[op]} arguments")
    operands = tuple(_operand(a, k) for a in args)
    if op in POWERS and isinstance(operands[1], float) and abs(operands[1]) > _MOST_POWER:
        raise InvalidValue(f"instruction {k}: exponent {operands[1]:g}; expected at most {_MOST_POWER:g}")
    return Instruction(op, operands, k)


def _operand(a: Any, made: int) -> Operand:
    """An argument of an instruction that follows ``made`` others."""
    if type(a) is int and 0 <= a < made:
        return a
    if isinstance(a, str) and _HEX.fullmatch(a) and math.isfinite(number := _double(a)):
        return number
    raise InvalidValue(
        f"argument {shown(a)}; expected the number of an earlier instruction or a double such as 0x1.8p+1"
    )


def _double(text: str) -> float:
    try:
        return float.fromhex(text)
    except OverflowError:
        return math.inf


def _port(given: Any) -> Port:
    match given:
        case [name, [*sizes]] if 1 <= len(sizes) <= 2 and all(type(size) is int and size >= 0 for size in sizes):
            port = Port(_name(name), tuple(sizes))
            if port.size <= _MOST_SIZE and (len(sizes) == 1 or (port.size and sizes[1] > 1)):
                return port
    raise InvalidValue(f"{shown(given)}; expected a name and the sizes of an input or output, such as ['x', [2]]")


def _name(given: Any) -> str:
    if isinstance(given, str) and _NAME.fullmatch(given) and "__" not in given:
        return given
    raise InvalidValue(f"name {shown(given)}; expected letters, digits and single underscores")


def _list(given: Any, what: str, most: int = _MOST_SIZE) -> list[Any]:
    if not isinstance(given, list) or len(given) > most:
        raise InvalidValue(f"{what}: {shown(given)}; expected a list of at most {most:,}")
    return given
