"""A CasADi function as a straight-line program in static single assignment form, with `if_else` as `where`.

CasADi stores a branch as `if_else_zero(c, a) + if_else_zero(!c, b)`. Taken literally, this is a sum of two terms in
another arithmetic: NaN would leak from the branch not taken, and an interval would be far too wide. It is therefore
read as one `where(c, a, b)`. The derivative of `fmin`/`fmax`, stored as `(a<=b) / ((a<=b) + (b<=a))`, becomes one
operation `share(a, b)` for the same reason: as a quotient, its interval would be the whole line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import casadi as ca
import numpy as np

from systems.errors import DimensionMismatch, TriviumError

Operand = int | float  # int: a value, by number; float: a constant

_NAMES = {getattr(ca, name): name[3:].lower() for name in dir(ca) if name.startswith("OP_")}
_COMPARISONS = frozenset({"lt", "le", "eq", "ne"})
# Operations that are defined for all numbers; operations not listed may be undefined somewhere.
_TOTAL = _COMPARISONS | frozenset(
    {"input", "add", "sub", "mul", "neg", "sq", "twice", "fabs", "sign", "floor", "ceil", "fmin", "fmax", "hypot"}
    | {"exp", "expm1", "sin", "cos", "sinh", "cosh", "tanh", "atan", "atan2", "asinh", "erf", "copysign", "share"}
    | {"not", "and", "or", "truth", "real", "where"}
)


class NotLowerable(TriviumError, ValueError):
    """The function cannot be lowered to the requested arithmetic; the message says why and what to do."""


@dataclass(frozen=True)
class Instruction:
    """`out = op(*args)`; an `input` has args `(which input, row, column)` as numbers, not values."""

    op: str
    args: tuple[Operand, ...]
    out: int


@dataclass(frozen=True)
class Port:
    """Name and shape of one input or output without its batch: `(n,)` for columns, else `(r, c)`."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Program:
    """Straight-line program in single assignment; `entries[i]` are output i's operands in row-major order.

    `functions` are those that CasADi does not expand, such as look-up tables and root finders. The operation
    `call i j` is entry j of all outputs of function i, whose arguments are all its inputs in column-major order.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    instructions: tuple[Instruction, ...]
    entries: tuple[tuple[Operand, ...], ...]
    functions: tuple[ca.Function, ...] = ()

    @property
    def is_total(self) -> bool:
        """Whether every operation is defined for all numbers; sums are, quotients are not."""
        return all(i.op in _TOTAL for i in self.instructions)

    def batch(self, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        """Checks the shapes of the inputs and returns the batch shape to which they broadcast."""
        if len(shapes) != len(self.inputs):
            names = ", ".join(port.name for port in self.inputs)
            raise DimensionMismatch(
                f"{self.name} was given {len(shapes)} inputs and takes {len(self.inputs)}: ({names})"
            )
        batches = []
        for port, shape in zip(self.inputs, shapes, strict=True):
            depth = len(port.shape)
            if shape[len(shape) - depth :] != port.shape or len(shape) < depth:
                expected = ", ".join(["...", *map(str, port.shape)])
                raise DimensionMismatch(
                    f"input {port.name!r} of {self.name} has shape {tuple(shape)}, expected ({expected}): "
                    "the batch comes first, the signal last"
                )
            batches.append(tuple(shape[: len(shape) - depth]))
        first = batches[0] if batches else ()
        if all(batch == first for batch in batches):
            return first
        try:
            return np.broadcast_shapes(*batches)
        except ValueError as error:
            raise DimensionMismatch(
                f"the inputs of {self.name} have batches {', '.join(map(str, batches))}, which do not broadcast"
            ) from error


def read(function: ca.Function) -> Program:
    """The program of a CasADi function.

    Raises:
        NotLowerable: the function has free variables, or CasADi cannot expand it into scalar operations.
    """
    expanded = _expand(function)
    reader = _Reader()
    work: dict[int, Operand] = {}
    entries = [[0.0] * expanded.numel_out(i) for i in range(expanded.n_out())]
    inputs = [_places(expanded.sparsity_in(i)) for i in range(expanded.n_in())]
    outputs = [_places(expanded.sparsity_out(i)) for i in range(expanded.n_out())]
    nodes: Any = expanded.instructions_sx() if expanded.find_functions() else []
    for k in range(expanded.n_instructions()):
        op = _NAMES[expanded.instruction_id(k)]
        arguments, results = expanded.instruction_input(k), expanded.instruction_output(k)
        if op == "input":
            which, nonzero = arguments
            work[results[0]] = reader.add("input", (which, *inputs[which][nonzero]))
        elif op == "const":
            work[results[0]] = float(expanded.instruction_constant(k))
        elif op == "output":
            which, nonzero = results
            row, column = outputs[which][nonzero]
            entries[which][row * expanded.size2_out(which) + column] = reader.real(work[arguments[0]])
        elif op == "call":
            called = nodes[k].which_function()
            which = reader.function(called)
            operands = tuple(reader.real(work[i]) for i in arguments)
            for j, result in enumerate(results):
                if result >= 0:
                    work[result] = reader.add(f"call {which} {j}", operands)
        elif op == "parameter":
            raise _not_expandable(function, "it has a free parameter")
        else:
            work[results[0]] = reader.operation(op, tuple(work[i] for i in arguments))
    return _without_dead_code(
        Program(
            function.name(),
            tuple(Port(expanded.name_in(i), _shape(expanded.size_in(i))) for i in range(expanded.n_in())),
            tuple(Port(expanded.name_out(i), _shape(expanded.size_out(i))) for i in range(expanded.n_out())),
            tuple(reader.instructions),
            tuple(map(tuple, entries)),
            tuple(reader.functions),
        )
    )


def _expand(function: ca.Function) -> ca.Function:
    if function.has_free():
        free = ", ".join(str(name) for name in function.get_free())
        raise NotLowerable(f"{function.name()} has free variables ({free}): make them inputs of the function")
    if function.is_a("SXFunction"):
        return function
    try:
        return function.expand()
    except RuntimeError as error:
        raise _not_expandable(function, str(error).strip().splitlines()[-1]) from error


def _not_expandable(function: ca.Function, reason: str) -> NotLowerable:
    return NotLowerable(
        f"{function.name()} cannot be expanded into scalar operations ({reason}): "
        "write it without interpolants, integrators, solvers and external calls"
    )


def _places(sparsity: ca.Sparsity) -> list[tuple[int, int]]:
    rows, columns = sparsity.get_triplet()
    return list(zip(rows, columns, strict=True))


def _shape(size: tuple[int, int]) -> tuple[int, ...]:
    rows, columns = size
    if rows * columns == 0:
        return (0,)
    return (rows,) if columns == 1 else (rows, columns)


def described(program: Program, op: str) -> str:
    """An operation in words; a call by the name and kind of the called function."""
    if not op.startswith("call "):
        return op
    called = program.functions[int(op.split()[1])]
    return f"a call of '{called.name()}' ({called.class_name()})"


class _Reader:
    """Collects instructions, giving equal ones equal numbers, and keeps truth values apart from numbers."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.functions: list[ca.Function] = []
        self._known: dict[tuple[str, tuple[str, ...]], int] = {}
        self._truths: set[int] = set()

    def add(self, op: str, args: tuple[Operand, ...]) -> int:
        key = (op, tuple(repr(a) for a in args))  # repr keeps 0.0 and -0.0, 1 and 1.0 apart
        if key not in self._known:
            self._known[key] = len(self.instructions)
            self.instructions.append(Instruction(op, args, len(self.instructions)))
            if op in _COMPARISONS or op in ("not", "and", "or", "truth"):
                self._truths.add(self._known[key])
        return self._known[key]

    def function(self, called: ca.Function) -> int:
        """The number of a called function; the same object has the same number."""
        for i, known in enumerate(self.functions):
            if known.__hash__() == called.__hash__():
                return i
        self.functions.append(called)
        return len(self.functions) - 1

    def operation(self, op: str, args: tuple[Operand, ...]) -> Operand:
        if op in ("assign", "lift"):
            return args[0]
        if op == "if_else_zero":
            return self._where(self._truth(args[0]), self.real(args[1]), 0.0)
        if op in ("not", "and", "or"):
            return self._logic(op, tuple(self._truth(a) for a in args))
        args = tuple(self.real(a) for a in args)
        if op == "add":
            return self._sum(*args)
        if op == "sub" and (joined := self._join(args[0], args[1], subtract=True)) is not None:
            return joined
        if op == "div" and (share := self._share(*args)) is not None:
            return share
        return self.add(op, args)

    def real(self, a: Operand) -> Operand:
        return self.add("real", (a,)) if isinstance(a, int) and a in self._truths else a

    def _truth(self, a: Operand) -> Operand:
        if isinstance(a, float):
            return float(a != 0)
        return a if a in self._truths else self.add("truth", (a,))

    def _logic(self, op: str, args: tuple[Operand, ...]) -> Operand:
        if op == "not":
            (a,) = args
            inner = self._node(a)
            if inner and inner.op == "not":
                return inner.args[0]
            return float(not a) if isinstance(a, float) else self.add("not", args)
        absorbing = 0.0 if op == "and" else 1.0
        constants = [a for a in args if isinstance(a, float)]
        values = [a for a in args if isinstance(a, int)]
        if absorbing in constants:
            return absorbing
        return self.add(op, args) if len(values) == 2 else (values or constants)[0]

    def _where(self, c: Operand, a: Operand, b: Operand) -> Operand:
        if isinstance(c, float):
            return a if c else b
        node = self.instructions[c]
        return self._where(node.args[0], b, a) if node.op == "not" else self.add("where", (c, a, b))

    def _sum(self, a: Operand, b: Operand) -> Operand:
        if (joined := self._join(a, b)) is not None:
            return joined
        # (s + where(c, p, 0)) + where(c, 0, q), as sums of derivatives are stored
        for left, right in ((a, b), (b, a)):
            node = self._node(left)
            if node and node.op == "add":
                for s, term in (node.args, node.args[::-1]):
                    if (joined := self._join(term, right)) is not None:
                        return self.add("add", (s, joined))
        return self.add("add", (a, b))

    def _join(self, a: Operand, b: Operand, *, subtract: bool = False) -> Operand | None:
        """`where(c, p, 0) + where(c, 0, q)` as `where(c, p, q)`; None if a and b are not of that form."""
        first, second = self._node(a), self._node(b)
        if not (first and second and first.op == second.op == "where" and first.args[0] == second.args[0]):
            return None
        (c, p, q), (_, r, s) = first.args, second.args
        if q == 0.0 and isinstance(q, float) and r == 0.0 and isinstance(r, float):
            return self._where(c, p, self._negative(s) if subtract else s)
        if p == 0.0 and isinstance(p, float) and s == 0.0 and isinstance(s, float):
            return self._where(c, self._negative(r) if subtract else r, q)
        return None

    def _negative(self, a: Operand) -> Operand:
        return -a if isinstance(a, float) else self.add("neg", (a,))

    def _share(self, a: Operand, b: Operand) -> Operand | None:
        top, bottom = self._comparison(a), self._node(b)
        if not (top and bottom and bottom.op == "add"):
            return None
        terms = {(term.op, term.args) for term in map(self._comparison, bottom.args) if term}
        if top.op == "le" and terms == {("le", top.args), ("le", top.args[::-1])}:
            return self.add("share", top.args)
        return None

    def _comparison(self, a: Operand) -> Instruction | None:
        node = self._node(a)
        return self._node(node.args[0]) if node and node.op == "real" else None

    def _node(self, a: Operand) -> Instruction | None:
        return self.instructions[a] if isinstance(a, int) else None


def _without_dead_code(program: Program) -> Program:
    alive = {a for entry in program.entries for a in entry if isinstance(a, int)}
    for instruction in reversed(program.instructions):
        if instruction.out in alive and instruction.op != "input":
            alive.update(a for a in instruction.args if isinstance(a, int))
    kept = [i for i in program.instructions if i.out in alive]
    number = {instruction.out: k for k, instruction in enumerate(kept)}

    def renamed(operands: tuple[Operand, ...]) -> tuple[Operand, ...]:
        return tuple(number[a] if isinstance(a, int) else a for a in operands)

    instructions = tuple(Instruction(i.op, i.args if i.op == "input" else renamed(i.args), number[i.out]) for i in kept)
    entries = tuple(renamed(entry) for entry in program.entries)
    return replace(program, instructions=instructions, entries=entries)
