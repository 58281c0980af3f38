"""Structural equality of programs: the same operations on the same operands.

Differences that CasADi and Python introduce are ignored: constants that differ by rounding, the order of sums and
products, and the position of a sign.
"""

from __future__ import annotations

from systems.lowering.program import Instruction, Operand, Program

__all__ = ["same_function"]

_ROUNDING = 1e-12
_ODD = frozenset({"sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "sign"})
_EVEN = frozenset({"cos", "cosh", "fabs", "sq"})
_COMMUTE = frozenset({"fmin", "fmax", "hypot", "eq", "ne", "and", "or"})

Signed = tuple[int, object]  # a sign, and the name of a value


def same_function(a: Program, b: Program) -> bool:
    """Whether both have equal outputs for all inputs because they compute them in the same way.

    False means only that this was not shown.
    """
    shapes = [[port.shape for port in (*p.inputs, *p.outputs)] for p in (a, b)]
    if shapes[0] != shapes[1] or [f.__hash__() for f in a.functions] != [f.__hash__() for f in b.functions]:
        return False
    constants = _grouped([abs(c) for p in (a, b) for c in _constants(p)])
    names: dict[object, int] = {}
    entries = [_entries(p, constants, names) for p in (a, b)]
    return entries[0] == entries[1]


def _constants(program: Program) -> list[float]:
    given = [c for i in program.instructions if i.op != "input" for c in i.args if isinstance(c, float)]
    return [2.0, *given, *(c for entry in program.entries for c in entry if isinstance(c, float))]


def _grouped(sizes: list[float]) -> dict[float, float]:
    """For each size, the first of the group in which neighbours differ by no more than rounding."""
    group: dict[float, float] = {}
    first = before = -1.0
    for size in sorted(size for size in set(sizes) if size == size):
        first = first if size - before <= _ROUNDING * size else size
        group[size], before = first, size
    return group


def _entries(program: Program, constants: dict[float, float], names: dict[object, int]) -> list[Signed]:
    values: list[Signed] = []

    def operand(a: Operand) -> Signed:
        if isinstance(a, int):
            return values[a]
        return (-1 if a < 0 else 1), ("number", constants.get(abs(a), abs(a)))

    for i in program.instructions:
        sign, key = (1, ("input", *i.args)) if i.op == "input" else _named(i, [operand(a) for a in i.args])
        values.append((sign, key if i.op == "neg" else names.setdefault(key, len(names))))
    return [operand(a) for entry in program.entries for a in entry]


def _named(i: Instruction, args: list[Signed]) -> Signed:
    """The sign and the name of the result of an instruction."""
    op = i.op
    if op == "neg":
        return -args[0][0], args[0][1]
    if op in ("add", "sub"):
        terms = [args[0], (args[1][0] * (1 if op == "add" else -1), args[1][1])]
        terms.sort(key=lambda term: (repr(term[1]), term[0]))
        sign = terms[0][0]  # the first term is taken as positive
        return sign, ("sum", *((sign * s, name) for s, name in terms))
    if op in ("mul", "twice", "sq"):
        factors = [(1, ("number", 2.0)), args[0]] if op == "twice" else args if op == "mul" else [args[0], args[0]]
        sign = factors[0][0] * factors[1][0]
        return sign, ("product", *sorted((repr(name) for _, name in factors)))
    if op in ("div", "inv"):
        top, bottom = args if op == "div" else [(1, ("number", 1.0)), args[0]]
        return top[0] * bottom[0], ("quotient", top[1], bottom[1])
    if op in _ODD:
        return args[0][0], (op, args[0][1])
    if op in _EVEN:
        return 1, (op, args[0][1])
    if op in _COMMUTE:
        args = sorted(args, key=repr)
    return 1, (op, *args)
