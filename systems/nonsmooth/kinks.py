"""The operations of a function whose value or derivative jumps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.arithmetic.interval import Interval
from systems.lowering import lower
from systems.lowering.interpret import expressions
from systems.lowering.program import Instruction, NotLowerable, Operand, Program, read
from systems.newton import without_guards

__all__ = ["Kink", "candidates", "jumping", "kink_names", "kinks", "piece_values", "whole"]

_PIECEWISE = ("fabs", "fmax", "fmin", "where", "sign", "floor", "ceil", "fmod", "copysign", "remainder")
_NAMES = {"where": "if_else"}
_EXAMINED = 12
_POINTS = 64
_SPREADS = (0.1, 1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True, eq=False)
class Kink:
    """One operation whose value or derivative jumps.

    Args:
        operation: by CasADi's name, such as ``fmax``. out: the number of its value in the program.
        pieces: numbers, or constants, of what it chooses from; empty where it is neither a maximum nor a minimum.
        signs: of the pieces: ``fabs`` is the largest of a and -a.
        upper: whether it is the largest of the pieces, else the smallest.
        floor: what the largest piece never falls below; minus infinity where that is not known.
    """

    operation: str
    out: int
    pieces: tuple[Operand, ...] = ()
    signs: tuple[float, ...] = ()
    upper: bool = True
    floor: float = -math.inf


def kinks(f: ca.Function) -> tuple[str, ...]:
    """Names of the operations that make the value or the derivative of f jump; none for ``max(a, 0)**2``, which is
    continuously differentiable. Of a function with more than 12 such operations all are named, unexamined."""
    f = without_guards(f)
    program = read(f)
    bare = [_NAMES.get(i.op, i.op) for i in program.instructions if i.op in _PIECEWISE]
    if len(bare) > _EXAMINED:
        return tuple(sorted(set(bare)))
    return kink_names(jumping(f, program, candidates(f, program)))


def kink_names(given: list[Kink]) -> tuple[str, ...]:
    """Names of their operations, each once."""
    return tuple(sorted({kink.operation for kink in given}))


def piece_values(kink: Kink, values: list[Any]) -> list[Any]:
    """The expressions of which a maximum or minimum chooses, given those of all operations."""
    return [
        sign * (values[piece] if isinstance(piece, int) else ca.SX(piece))
        for piece, sign in zip(kink.pieces, kink.signs, strict=True)
    ]


def candidates(f: ca.Function, program: Program) -> list[Kink]:
    """All operations that may have a kink."""
    return [kink for i in program.instructions if (kink := _kink(f, program, i)) is not None]


def _kink(f: ca.Function, program: Program, i: Instruction) -> Kink | None:
    if i.op == "fabs":
        return Kink("fabs", i.out, (i.args[0], i.args[0]), (1.0, -1.0), floor=0.0)
    if i.op == "fmax":
        return Kink(
            "fmax", i.out, i.args, (1.0, 1.0), floor=max((a for a in i.args if isinstance(a, float)), default=-math.inf)
        )
    if i.op == "fmin":
        return Kink("fmin", i.out, i.args, (1.0, 1.0), upper=False)
    if i.op == "sqrt" and isinstance(i.args[0], int):
        q = program.instructions[i.args[0]]
        if q.op == "sq":  # sqrt(a^2) is |a|
            return Kink("sqrt", i.out, (q.args[0], q.args[0]), (1.0, -1.0), floor=0.0)
        return Kink("sqrt", i.out) if _reaches_zero(f, program, i.args[0]) else None
    if i.op == "where":
        side = _larger_side(f, program, i)
        return Kink("if_else", i.out) if side is None else Kink("if_else", i.out, i.args[1:], (1.0, 1.0), side > 0)
    return Kink(i.op, i.out) if i.op in _PIECEWISE else None


def _reaches_zero(f: ca.Function, program: Program, q: int) -> bool:
    """Whether the radicand may be zero, as far as intervals can tell."""
    z = f.sx_in()
    values, _ = expressions(program, z)
    try:
        bound = lower(ca.Function("radicand", z, [values[q]]), "interval")(*map(whole, z))
    except NotLowerable:
        return True
    return not float(np.min(bound.lo)) > 0.0


def whole(z: ca.SX) -> Interval:
    """All values of a column."""
    size = z.shape[0]
    return Interval(np.full(size, -np.inf), np.full(size, np.inf))


def _larger_side(f: ca.Function, program: Program, i: Instruction) -> float | None:
    """1 where ``where(p < q, a, b)`` is max(a, b), -1 where it is min(a, b), None where it is neither.

    It is where a - b is a constant multiple of q - p.
    """
    comparison = program.instructions[i.args[0]] if isinstance(i.args[0], int) else None
    if comparison is None or comparison.op not in ("lt", "le"):
        return None
    z = f.sx_in()
    values, _ = expressions(program, z)

    def operand(a: Operand) -> Any:
        return values[a] if isinstance(a, int) else ca.SX(a)

    p, q = map(operand, comparison.args)
    a, b = map(operand, i.args[1:])
    pairs = _numbers(ca.Function("sides", z, [ca.vertcat(a - b, q - p)]), _draws(z))
    pairs = pairs[np.isfinite(pairs).all(axis=1) & (np.abs(pairs[:, 1]) > 1e-9)]
    if len(pairs) < _POINTS // 2:
        return None
    ratio = pairs[:, 0] / pairs[:, 1]
    middle = float(np.median(ratio))
    if middle == 0.0 or not np.allclose(ratio, middle, rtol=1e-9, atol=0.0):
        return None
    return math.copysign(1.0, middle)


def _draws(z: list[ca.SX]) -> list[np.ndarray]:
    """Random points over several orders of magnitude, one column each."""
    rng = np.random.default_rng(0)
    return [
        np.concatenate([s * rng.standard_normal((symbol.shape[0], _POINTS)) for s in _SPREADS], axis=1) for symbol in z
    ]


def _numbers(g: ca.Function, points: list[np.ndarray]) -> np.ndarray:
    """Values (points, outputs) of a function of columns."""
    return np.array(g.map(points[0].shape[1])(*points)).T


def jumping(f: ca.Function, program: Program, given: list[Kink]) -> list[Kink]:
    """Those at which the function or its gradient really jumps."""
    return [kink for kink in given if not _is_smooth(f, program, kink)]


def _is_smooth(f: ca.Function, program: Program, kink: Kink) -> bool:
    """Whether value and gradient of f agree on both sides of the kink, at points found on it by bisection.

    Without such a point it counts as a kink.
    """
    i = program.instructions[kink.out]
    z = f.sx_in()
    values, _ = expressions(program, z)

    def operand(a: Operand) -> Any:
        return values[a] if isinstance(a, int) else ca.SX(a)

    if kink.pieces:
        first, second = piece_values(kink, values)
        gap = first - second
    elif kink.operation == "if_else":
        comparison = program.instructions[i.args[0]] if isinstance(i.args[0], int) else None
        if comparison is None or comparison.op not in ("lt", "le"):
            return False
        first, second = map(operand, i.args[1:])
        gap = operand(comparison.args[0]) - operand(comparison.args[1])
    else:
        return False
    every = ca.vertcat(*z)
    sides = []
    for side in (first, second):
        _, (value,) = expressions(program, z, {kink.out: side})
        sides.append(ca.vertcat(ca.vec(value), ca.vec(ca.jacobian(ca.vec(value), every))))
    on = _boundary(ca.Function("gap", z, [gap]), _draws(z))
    if on is None:
        return False
    both = [ca.Function("side", z, [side]) for side in sides]
    values_on = [_numbers(side, on) for side in both]
    finite = np.isfinite(values_on[0]).all(axis=1) & np.isfinite(values_on[1]).all(axis=1)
    if not finite.any():
        return False
    # The unit of f is nobody's choice here: what is small throughout has small jumps.
    near = [p[:, : 2 * _POINTS] for p in _draws(z)]
    around = np.abs([_numbers(side, near) for side in both])
    size = np.minimum(np.where(np.isfinite(around), around, 0.0).max(axis=(0, 1)), 1.0)
    scale = 1e-6 * (size + np.abs(values_on[0][finite]))
    return bool((np.abs(values_on[0] - values_on[1])[finite] <= scale).all())


def _boundary(gap: ca.Function, points: list[np.ndarray]) -> list[np.ndarray] | None:
    """Points at which the gap is zero, between random ones of opposite sign; None where there are none."""
    value = _numbers(gap, points)[:, 0]
    below, above = np.flatnonzero(value < 0), np.flatnonzero(value > 0)
    if not (len(below) and len(above)):
        return None
    pairs = min(len(below), len(above), _POINTS)
    low = [p[:, below[:pairs]].copy() for p in points]
    high = [p[:, above[:pairs]].copy() for p in points]
    for _ in range(80):
        middle = [0.5 * (a + b) for a, b in zip(low, high, strict=True)]
        under = _numbers(gap, middle)[:, 0] < 0
        for a, b, m in zip(low, high, middle, strict=True):
            a[:, under], b[:, ~under] = m[:, under], m[:, ~under]
    return low
