"""Masks that keep gradients of branches not taken from becoming NaN.

The values of `where(c, sqrt(x), 0)` are correct for every x, but automatic differentiation multiplies the zero
gradient of the branch not taken by the infinite or undefined slope of the branch, and NaN is propagated to x.
Every value that enters a branch in which this can happen is therefore masked: `mask(c, x)` is x, with a gradient
of zero where c is false.
"""

from __future__ import annotations

from dataclasses import replace

from systems.lowering.program import Instruction, Operand, Program

# Operations whose value or slope may be infinite or undefined at a finite argument.
_SINGULAR = frozenset(
    {"sqrt", "log", "log1p", "div", "inv", "pow", "constpow", "hypot", "atan2", "fmod"}
    | {"asin", "acos", "acosh", "atanh", "tan", "exp", "expm1", "sinh", "cosh", "erfinv"}
)

Guard = frozenset[tuple[int, bool]]  # the only conditions under which a value is used, and their sides


def guarded(program: Program) -> Program:
    """The same program with `mask` instructions where values enter branches with singular operations."""
    guards = _guards(program)
    singular = {guards[i.out] for i in program.instructions if i.op in _SINGULAR and guards[i.out]}
    if not singular:
        return program
    instructions: list[Instruction] = []
    number: dict[int, int] = {}  # value of the old program -> value of the new one
    masks: dict[tuple[Guard, int], int] = {}
    conditions: dict[Guard, int] = {}

    def add(op: str, args: tuple[Operand, ...]) -> int:
        instructions.append(Instruction(op, args, len(instructions)))
        return len(instructions) - 1

    def condition(guard: Guard) -> int:
        if guard not in conditions:
            terms = [number[c] if way else add("not", (number[c],)) for c, way in sorted(guard)]
            joined = terms[0]
            for term in terms[1:]:
                joined = add("and", (joined, term))
            conditions[guard] = joined
        return conditions[guard]

    def entering(a: Operand, guard: Guard) -> Operand:
        if isinstance(a, float):
            return a
        if guard <= guards[a] or not any(region <= guard for region in singular):
            return number[a]
        if (guard, a) not in masks:
            masks[guard, a] = add("mask", (condition(guard), number[a]))
        return masks[guard, a]

    for old in program.instructions:
        if old.op == "input":
            number[old.out] = add("input", old.args)
            continue
        guard = frozenset((c, way) for c, way in guards[old.out] if c in number)
        truths = _TRUTHS.get(old.op, 0)
        args = tuple(number[int(a)] if k < truths else entering(a, guard) for k, a in enumerate(old.args))
        number[old.out] = add(old.op, args)

    entries = tuple(tuple(number[a] if isinstance(a, int) else a for a in entry) for entry in program.entries)
    return replace(program, instructions=tuple(instructions), entries=entries)


# Number of leading arguments that are truth values, through which no gradient flows.
_TRUTHS = {"where": 1, "not": 1, "and": 2, "or": 2, "real": 1}


def _guards(program: Program) -> dict[int, Guard]:
    """The conditions common to all uses of each value; an input counts as used everywhere."""
    guards: dict[int, Guard] = {}

    def used(a: Operand, guard: Guard) -> None:
        if isinstance(a, int):
            guards[a] = guards[a] & guard if a in guards else guard

    for entry in program.entries:
        for a in entry:
            used(a, frozenset())
    for instruction in reversed(program.instructions):
        if instruction.op == "input":
            guards[instruction.out] = frozenset()
            continue
        guard = guards[instruction.out]
        if instruction.op == "where":
            c, a, b = instruction.args
            used(c, guard)
            used(a, guard | {(int(c), True)})
            used(b, guard | {(int(c), False)})
        else:
            for a in instruction.args:
                used(a, guard)
    return guards
