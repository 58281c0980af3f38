"""Kinks of a function, and the same function without them by their epigraphs.

``|a|``, ``max(a, b)`` and ``min(a, b)`` have no derivative where their pieces meet, and solvers that need one stop
there. In a function of which smaller values are better, a maximum on which it depends non-decreasingly can be replaced
by a variable t with t >= a and t >= b, since the optimum has t = max(a, b) (Boyd & Vandenberghe, 2004, section 4.1.3).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.arithmetic.interval import Interval
from systems.lowering import lower
from systems.lowering.expression import expressions
from systems.lowering.program import Instruction, NotLowerable, Operand, Program, read

__all__ = ["Epigraph", "Kink", "Penalties", "branches", "epigraph", "kinks", "penalties", "smoothed"]

_PIECEWISE = ("fabs", "fmax", "fmin", "where", "sign", "floor", "ceil", "fmod", "copysign", "remainder")
_NAMES = {"where": "if_else"}
_EXAMINED = 12
_MOST_BRANCHES = 64

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


@dataclass(frozen=True, eq=False)
class Epigraph:
    """A function f(z) as the smallest ``value(z, t)`` over the t >= lower with ``rows(z, t) <= 0``.

    Args:
        value: ``(z..., t) -> f``, with the arguments of f and t of shape (count, 1). rows: ``(z..., t) -> (r, 1)``.
        lower: (count,), minus infinity where t has no lower bound of its own.
        start: ``(z...) -> t``, the values of the replaced operations.
        left: names of operations with kinks that remain in ``value``: no maxima, or f does not grow with them.
    """

    value: ca.Function
    rows: ca.Function
    lower: np.ndarray
    start: ca.Function
    left: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many variables were added."""
        return len(self.lower)


def kinks(f: ca.Function) -> tuple[str, ...]:
    """Names of the operations that make the value or the derivative of f jump; none for ``max(a, 0)**2``, which is
    continuously differentiable. Of a function with more than 12 such operations all are named, unexamined."""
    program = read(f)
    bare = [_NAMES.get(i.op, i.op) for i in program.instructions if i.op in _PIECEWISE]
    if len(bare) > _EXAMINED:
        return tuple(sorted(set(bare)))
    return _names(_rough(f, program, _candidates(f, program)))


def epigraph(f: ca.Function) -> Epigraph:
    """Replaces the kinks of a function of which smaller values are better, where that is exact.

    Args:
        f: with one output, a scalar or a column whose entries shall all be small.
    """
    return _replaced(f)[0]


def _replaced(f: ca.Function, above_floor: bool = True) -> tuple[Epigraph, list[Kink]]:
    """The epigraph of f, and which kinks are replaced: those with which f does not fall, at values that they can have
    or, unless ``above_floor``, at any."""
    program, z = read(f), f.sx_in()
    candidates = _candidates(f, program)
    rough = _rough(f, program, candidates)
    chosen = _with_inner([kink for kink in rough if kink.pieces], candidates, program)
    while True:
        t = ca.SX.sym("t", len(chosen))
        values, (value,) = expressions(program, z, {kink.out: t[i] for i, kink in enumerate(chosen)})
        signs = np.array([1.0 if kink.upper else -1.0 for kink in chosen])
        bounded = [(i, signs[i] * piece) for i, kink in enumerate(chosen) for piece in _pieces(kink, values)]
        rows = [piece - signs[i] * t[i] for i, piece in bounded]
        lower = np.array([kink.floor for kink in chosen], dtype=float)
        floor = lower if above_floor else np.full_like(lower, -np.inf)
        wrong = _falling(ca.vertcat(ca.vec(value), *[piece for _, piece in bounded]), z, t, floor, signs)
        if not wrong.any():
            break
        chosen = [kink for kink, bad in zip(chosen, wrong, strict=True) if not bad]
    names = [f.name_in(i) for i in range(f.n_in())]
    original, _ = expressions(program, z)
    start = ca.vertcat(*[original[kink.out] for kink in chosen]) if chosen else ca.SX(0, 1)
    kept = {kink.out for kink in chosen}
    found = Epigraph(
        ca.Function(f.name(), [*z, t], [value], [*names, "t"], [f.name_out(0)]),
        ca.Function("rows", [*z, t], [ca.vertcat(*rows) if rows else ca.SX(0, 1)], [*names, "t"], ["rows"]),
        lower,
        ca.Function("start", z, [start], names, ["t"]),
        _names([kink for kink in rough if kink.out not in kept]),
    )
    return found, chosen


def branches(f: ca.Function) -> ca.Function | None:
    """A column without kinks whose entries are all at most zero exactly where those of f are: f with each maximum
    replaced by one piece after the other.

    Returns:
        f itself where it has no kink; None where it has one that is no maximum, does not grow with it whatever its
        value, or would need more than 64 entries for each of its own.
    """
    program, z = read(f), f.sx_in()
    whole, chosen = _replaced(f, above_floor=False)
    if whole.left or 2**whole.count > _MOST_BRANCHES:
        return None
    if not chosen:
        return f
    columns = []
    for choice in itertools.product((0, 1), repeat=len(chosen)):
        replaced: dict[int, Any] = {}
        for kink, which in zip(chosen, choice, strict=True):  # inner ones come first
            values, _ = expressions(program, z, replaced)
            replaced[kink.out] = _pieces(kink, values)[which]
        columns.append(ca.vec(expressions(program, z, replaced)[1][0]))
    names = [f.name_in(i) for i in range(f.n_in())]
    return ca.Function(f.name(), z, [ca.vertcat(*columns)], names, [f.name_out(0)])


@dataclass(frozen=True, eq=False)
class Penalties:
    """A scalar function f(z) as smooth(z) + sum of weight max(0, excess(z)).

    Args:
        smooth: ``(z...) -> (1, 1)``. excess: ``(z...) -> (rows, 1)``. weight: (rows,), positive.
    """

    smooth: ca.Function
    excess: ca.Function
    weight: np.ndarray


def penalties(f: ca.Function) -> Penalties | None:
    """The kinks of a scalar function as exact penalties: c max(a, b) is c b + c max(0, a - b).

    Returns:
        None where one of its kinks is no maximum of smooth functions with a constant positive weight.
    """
    whole, z = epigraph(f), f.sx_in()
    t = ca.SX.sym("t", whole.count)
    value, rows = whole.value(*z, t), whole.rows(*z, t)
    slope = ca.gradient(value, t) if whole.count else ca.SX(0, 1)
    bounds = ca.jacobian(rows, t) if whole.count else ca.SX(0, 0)
    if whole.left or ca.symvar(slope) or rows.shape[0] != 2 * whole.count or ca.symvar(ca.vec(bounds)):
        return None
    weight = np.array(ca.DM(ca.evalf(slope))).reshape(-1)
    through = np.array(ca.DM(ca.evalf(bounds))).reshape(2 * whole.count, whole.count)
    if (np.abs(through).sum(axis=1) > 1.0).any():  # a piece that holds another kink
        return None
    # At t = 0 the rows of a maximum are its pieces a and b, those of a minimum -a and -b, of which the largest counts.
    none = ca.SX.zeros(whole.count, 1)
    pieces = ca.substitute(rows, t, none)
    firsts, others = pieces[0::2], pieces[1::2]
    size = np.abs(weight)
    smooth = ca.substitute(value, t, none) + ca.dot(size, others)
    names = [f.name_in(i) for i in range(f.n_in())]
    return Penalties(
        ca.Function(f.name(), z, [ca.simplify(smooth)], names, [f.name_out(0)]),
        ca.Function("excess", z, [firsts - others], names, ["excess"]),
        size,
    )


def smoothed(f: ca.Function, width: float = 1e-6) -> ca.Function:
    """The same function with every root sqrt(q) replaced by sqrt(q + width^2), which is differentiable at q = 0.

    It differs from the root by ``width`` at q = 0 and by less elsewhere.
    """
    program, z = read(f), f.sx_in()
    replaced: dict[int, Any] = {}
    for i in program.instructions:
        if i.op == "sqrt" and isinstance(i.args[0], int):
            values, _ = expressions(program, z, replaced)
            replaced[i.out] = ca.sqrt(values[i.args[0]] + width**2)
    _, outputs = expressions(program, z, replaced)
    names = [f.name_in(i) for i in range(f.n_in())]
    return ca.Function(f.name(), z, outputs, names, [f.name_out(i) for i in range(f.n_out())])


def _with_inner(chosen: list[Kink], candidates: list[Kink], program: Program) -> list[Kink]:
    """These and the maxima and minima that their pieces are made of: each piece becomes a row of its own, so a kink
    that the outer one hides in f is bare there."""
    used: set[int] = {kink.out for kink in chosen}
    inside = {piece for kink in chosen for piece in kink.pieces if isinstance(piece, int)}
    for i in reversed(program.instructions):
        if i.out in inside and i.op != "input":
            inside.update(a for a in i.args if isinstance(a, int))
    return [kink for kink in candidates if kink.out in used or (kink.out in inside and kink.pieces)]


def _names(found: list[Kink]) -> tuple[str, ...]:
    return tuple(sorted({kink.operation for kink in found}))


def _pieces(kink: Kink, values: list[Any]) -> list[Any]:
    return [
        sign * (values[piece] if isinstance(piece, int) else ca.SX(piece))
        for piece, sign in zip(kink.pieces, kink.signs, strict=True)
    ]


def _candidates(f: ca.Function, program: Program) -> list[Kink]:
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
        bound = lower(ca.Function("radicand", z, [values[q]]), "interval")(*map(_whole, z))
    except NotLowerable:
        return True
    return not float(np.min(bound.lo)) > 0.0


def _whole(z: ca.SX) -> Interval:
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

    def at(a: Operand) -> Any:
        return values[a] if isinstance(a, int) else ca.SX(a)

    p, q = map(at, comparison.args)
    a, b = map(at, i.args[1:])
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


def _rough(f: ca.Function, program: Program, candidates: list[Kink]) -> list[Kink]:
    """Those at which the function or its gradient really jumps."""
    return [kink for kink in candidates if not _is_smooth(f, program, kink)]


def _is_smooth(f: ca.Function, program: Program, kink: Kink) -> bool:
    """Whether value and gradient of f agree on both sides of the kink, at points found on it by bisection.

    Without such a point it counts as a kink.
    """
    i = program.instructions[kink.out]
    z = f.sx_in()
    values, _ = expressions(program, z)

    def at(a: Operand) -> Any:
        return values[a] if isinstance(a, int) else ca.SX(a)

    if kink.pieces:
        first, second = _pieces(kink, values)
        gap = first - second
    elif kink.operation == "if_else":
        comparison = program.instructions[i.args[0]] if isinstance(i.args[0], int) else None
        if comparison is None or comparison.op not in ("lt", "le"):
            return False
        first, second = map(at, i.args[1:])
        gap = at(comparison.args[0]) - at(comparison.args[1])
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
    found = _numbers(ca.Function("sides", z, sides[:1]), on), _numbers(ca.Function("sides", z, sides[1:]), on)
    finite = np.isfinite(found[0]).all(axis=1) & np.isfinite(found[1]).all(axis=1)
    if not finite.any():
        return False
    scale = 1e-6 * (1.0 + np.abs(found[0][finite]))
    return bool((np.abs(found[0] - found[1])[finite] <= scale).all())


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


def _falling(column: Any, z: list[ca.SX], t: ca.SX, floor: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Mask (count,) of the maxima with which an entry of the column falls somewhere, or of the minima with which one
    grows, as far as intervals can tell."""
    if not len(floor):
        return np.zeros(0, dtype=bool)
    slope = ca.jacobian(column, t)
    try:
        f = ca.Function("slope", [*z, t], [ca.densify(ca.vec(slope))])
        bound = lower(f, "interval")(*map(_whole, z), Interval(floor, np.full(len(floor), np.inf)))
    except NotLowerable:
        return np.ones(len(floor), dtype=bool)
    shape = (len(floor), slope.shape[0])
    least = np.where(signs[:, None] > 0, bound.lo.reshape(shape), -bound.hi.reshape(shape))
    return np.asarray(~(least >= 0.0).all(axis=1))
