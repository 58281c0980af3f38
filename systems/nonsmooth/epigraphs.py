"""The kinks of a function of which smaller values are better, replaced by variables or rows.

``|a|``, ``max(a, b)`` and ``min(a, b)`` have no derivative where their pieces meet, and solvers that need one stop
there. In a function of which smaller values are better, a maximum on which it depends non-decreasingly can be replaced
by a variable t with t >= a and t >= b, since the optimum has t = max(a, b) (Boyd & Vandenberghe, 2004, section 4.1.3).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.arithmetic.interval import Interval
from systems.lowering import lower
from systems.lowering.interpret import expressions
from systems.lowering.program import NotLowerable, Program, read
from systems.newton import is_guard
from systems.nonsmooth.kinks import Kink, candidates, jumping, kink_names, piece_values, whole

__all__ = ["Epigraph", "Penalties", "branches", "epigraph", "penalties", "smoothed"]

_MOST_BRANCHES = 64


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
        """Number of added variables."""
        return len(self.lower)


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
    possible = candidates(f, program)
    rough = jumping(f, program, possible)
    chosen = _with_inner([kink for kink in rough if kink.pieces], possible, program)
    while True:
        t = ca.SX.sym("t", len(chosen))
        values, (value,) = expressions(program, z, {kink.out: t[i] for i, kink in enumerate(chosen)})
        signs = np.array([1.0 if kink.upper else -1.0 for kink in chosen])
        bounded = [(i, signs[i] * piece) for i, kink in enumerate(chosen) for piece in piece_values(kink, values)]
        rows = [piece - signs[i] * t[i] for i, piece in bounded]
        lower = np.array([kink.floor for kink in chosen], dtype=float)
        floor = lower if above_floor else np.full_like(lower, -np.inf)
        wrong = _decreasing(ca.vertcat(ca.vec(value), *[piece for _, piece in bounded]), z, t, floor, signs)
        if not wrong.any():
            break
        chosen = [kink for kink, bad in zip(chosen, wrong, strict=True) if not bad]
    names = [f.name_in(i) for i in range(f.n_in())]
    original, _ = expressions(program, z)
    start = ca.vertcat(*[original[kink.out] for kink in chosen]) if chosen else ca.SX(0, 1)
    kept = {kink.out for kink in chosen}
    replaced = Epigraph(
        ca.Function(f.name(), [*z, t], [value], [*names, "t"], [f.name_out(0)]),
        ca.Function("rows", [*z, t], [ca.vertcat(*rows) if rows else ca.SX(0, 1)], [*names, "t"], ["rows"]),
        lower,
        ca.Function("start", z, [start], names, ["t"]),
        kink_names([kink for kink in rough if kink.out not in kept]),
    )
    return replaced, chosen


def branches(f: ca.Function) -> ca.Function | None:
    """A column without kinks whose entries are all at most zero exactly where those of f are: f with each maximum
    replaced by one piece after the other.

    Returns:
        f itself where it has no kink; None where it has one that is not a maximum, does not grow with it whatever its
        value, or would need more than 64 entries for each of its own.
    """
    program, z = read(f), f.sx_in()
    replacement, chosen = _replaced(f, above_floor=False)
    if replacement.left or 2**replacement.count > _MOST_BRANCHES:
        return None
    if not chosen:
        return f
    columns = []
    for choice in itertools.product((0, 1), repeat=len(chosen)):
        replaced: dict[int, Any] = {}
        for kink, which in zip(chosen, choice, strict=True):  # inner ones come first
            values, _ = expressions(program, z, replaced)
            replaced[kink.out] = piece_values(kink, values)[which]
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
        None where one of its kinks is not a maximum of smooth functions with a constant positive weight.
    """
    replacement, z = epigraph(f), f.sx_in()
    t = ca.SX.sym("t", replacement.count)
    value, rows = replacement.value(*z, t), replacement.rows(*z, t)
    slope = ca.gradient(value, t) if replacement.count else ca.SX(0, 1)
    bounds = ca.jacobian(rows, t) if replacement.count else ca.SX(0, 0)
    if replacement.left or ca.symvar(slope) or rows.shape[0] != 2 * replacement.count or ca.symvar(ca.vec(bounds)):
        return None
    weight = np.array(ca.DM(ca.evalf(slope))).reshape(-1)
    through = np.array(ca.DM(ca.evalf(bounds))).reshape(2 * replacement.count, replacement.count)
    if (np.abs(through).sum(axis=1) > 1.0).any():  # a piece that holds another kink
        return None
    # At t = 0 the rows of a maximum are its pieces a and b, those of a minimum -a and -b, of which the largest counts.
    none = ca.SX.zeros(replacement.count, 1)
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
        if i.op == "sqrt" and isinstance(i.args[0], int) and not is_guard(program, i):
            values, _ = expressions(program, z, replaced)
            replaced[i.out] = ca.sqrt(values[i.args[0]] + width**2)
    _, outputs = expressions(program, z, replaced)
    names = [f.name_in(i) for i in range(f.n_in())]
    return ca.Function(f.name(), z, outputs, names, [f.name_out(i) for i in range(f.n_out())])


def _with_inner(chosen: list[Kink], possible: list[Kink], program: Program) -> list[Kink]:
    """These and the maxima and minima that their pieces are made of: each piece becomes a row of its own, so a kink
    that the outer one hides in f is bare there."""
    used: set[int] = {kink.out for kink in chosen}
    inside = {piece for kink in chosen for piece in kink.pieces if isinstance(piece, int)}
    for i in reversed(program.instructions):
        if i.out in inside and i.op != "input":
            inside.update(a for a in i.args if isinstance(a, int))
    return [kink for kink in possible if kink.out in used or (kink.out in inside and kink.pieces)]


def _decreasing(column: Any, z: list[ca.SX], t: ca.SX, floor: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Mask (count,) of the maxima in which an entry of the column decreases somewhere, or of the minima in which one
    increases, as far as intervals can tell."""
    if not len(floor):
        return np.zeros(0, dtype=bool)
    slope = ca.jacobian(column, t)
    try:
        f = ca.Function("slope", [*z, t], [ca.densify(ca.vec(slope))])
        bound = lower(f, "interval")(*map(whole, z), Interval(floor, np.full(len(floor), np.inf)))
    except NotLowerable:
        return np.ones(len(floor), dtype=bool)
    shape = (len(floor), slope.shape[0])
    least = np.where(signs[:, None] > 0, bound.lo.reshape(shape), -bound.hi.reshape(shape))
    return np.asarray(~(least >= 0.0).all(axis=1))
