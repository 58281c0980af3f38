"""Fuses operations for eager arithmetics, whose cost depends on the number of operations rather than of numbers.

There are two rewritings, both equal to the original up to rounding. Constant factors are carried along a chain of
products and quotients and multiplied once at its end (`0.05 * a * b / 1.1` is one product and one factor). A product
whose only use is a sum is added in the same operation (`muladd(a, b, c)` is a + b c, `mulsub` a - b c).
"""

from __future__ import annotations

from dataclasses import replace

from systems.lowering.program import Instruction, Operand, Program

_SAFE = (1e-6, 1e6)  # larger factors are not moved, so that no product overflows that did not before


def fused(program: Program) -> Program:
    """The program with factors collected, and with products and sums in one operation."""
    return _join_products(_collect_factors(program))


def _collect_factors(program: Program) -> Program:
    out: list[Instruction] = []
    scaled: dict[int, tuple[float, Operand]] = {}  # old value -> (factor, new value): the factor is still to be applied
    applied: dict[tuple[float, Operand], Operand] = {}

    def add(op: str, args: tuple[Operand, ...]) -> int:
        out.append(Instruction(op, args, len(out)))
        return len(out) - 1

    def parts(a: Operand) -> tuple[float, Operand]:
        return scaled[a] if isinstance(a, int) else (1.0, a)

    def whole(a: Operand) -> Operand:
        factor, base = parts(a)
        if factor == 1.0:
            return base
        if (factor, base) not in applied:
            applied[factor, base] = add("neg", (base,)) if factor == -1.0 else add("mul", (base, factor))
        return applied[factor, base]

    def collect(op: str, args: tuple[Operand, ...]) -> tuple[float, Operand] | None:
        """Factor and base of a product, if the factor can be carried on."""
        if op not in ("neg", "twice", "sq", "mul", "div"):
            return None
        (f, a), (g, b) = parts(args[0]), parts(args[-1])
        if op in ("neg", "twice"):
            factor, base = (-f if op == "neg" else 2.0 * f), a
        elif op == "sq":
            factor, base = f * f, None
        elif isinstance(b, float):
            divisor = b * g if op == "div" else 1.0
            factor, base = (f * g * b if op == "mul" else f / divisor if divisor else 0.0), a
        elif isinstance(a, float):
            if op == "div":
                return None
            factor, base = f * g * a, b
        else:
            factor, base = (f * g if op == "mul" else f / g), None
        if not _SAFE[0] <= abs(factor) <= _SAFE[1]:
            return None
        return factor, base if base is not None else add(op, (a,) if op == "sq" else (a, b))

    for i in program.instructions:
        if i.op == "input":
            scaled[i.out] = (1.0, add(i.op, i.args))
        else:
            scaled[i.out] = collect(i.op, i.args) or (1.0, add(i.op, tuple(map(whole, i.args))))
    entries = tuple(tuple(map(whole, entry)) for entry in program.entries)
    return replace(program, instructions=tuple(out), entries=entries)


def _join_products(program: Program) -> Program:
    uses: dict[int, int] = {}
    for a in [a for i in program.instructions if i.op != "input" for a in i.args] + [
        a for entry in program.entries for a in entry
    ]:
        if isinstance(a, int):
            uses[a] = uses.get(a, 0) + 1
    made = {i.out: i for i in program.instructions}
    gone: set[int] = set()

    def factors(a: Operand) -> tuple[Operand, Operand] | None:
        if not isinstance(a, int) or uses[a] > 1 or made[a].op not in ("mul", "sq"):
            return None
        b = made[a].args
        return (b[0], b[0]) if made[a].op == "sq" else (b[0], b[1])

    kept = []
    for i in program.instructions:
        if i.op in ("add", "sub"):
            for a, product in (i.args, i.args[::-1]) if i.op == "add" else (i.args,):
                pair = factors(product)
                if pair is not None:
                    gone.add(int(product))
                    i = Instruction("muladd" if i.op == "add" else "mulsub", (a, *pair), i.out)
                    break
        kept.append(i)
    return _numbered(replace(program, instructions=tuple(i for i in kept if i.out not in gone)))


def _numbered(program: Program) -> Program:
    number = {i.out: k for k, i in enumerate(program.instructions)}

    def renamed(operands: tuple[Operand, ...]) -> tuple[Operand, ...]:
        return tuple(number[a] if isinstance(a, int) else a for a in operands)

    instructions = tuple(
        replace(i, args=i.args if i.op == "input" else renamed(i.args), out=number[i.out]) for i in program.instructions
    )
    return replace(program, instructions=instructions, entries=tuple(map(renamed, program.entries)))
