"""Lattice form of a continuous piecewise affine function: the maximum of minima of its pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctrl.laws.lattice import Lattice, MaxMin
from mpc.explicit.critical_regions import Region
from mpc.explicit.polytopes import Polytope
from systems.linear_programs import maximise

__all__ = ["NotRepresented", "lattice_of"]

EQUAL = 1e-9  # difference of values, relative to their range, that counts as none
ACCURATE = 1e-8  # largest error of a lattice, in the same unit
MAX_SPLITS = 20_000


class NotRepresented(RuntimeError):
    """The lattice would differ from the function that it represents, or needs too many terms."""


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a region with the piece that holds on it."""

    piece: int
    shape: Polytope


def lattice_of(
    regions: list[Region],
    E: np.ndarray,
    from_state: np.ndarray,
    offset: np.ndarray,
    box: tuple[np.ndarray, np.ndarray],
) -> Lattice:
    """u = E z + from_state x + offset over regions whose union is convex and on which it is continuous.

    Args:
        E: (m, d).
        from_state: (m, n).
        offset: (m,).
        box: of x, that of the shapes of the regions being |x_i| <= 1.

    Raises:
        NotRepresented: the terms do not represent the function up to ``ACCURATE``.
    """
    middle, half = 0.5 * (box[0] + box[1]), 0.5 * (box[1] - box[0])
    inputs = []
    for j in range(len(E)):
        slopes = np.array([E[j] @ region.K + from_state[j] for region in regions])
        constants = np.array([E[j] @ region.k + offset[j] for region in regions])
        affine = np.column_stack([slopes * half, constants + slopes @ middle])
        lattice = _max_min(affine, [region.shape for region in regions])
        A = lattice.A / half
        inputs.append(MaxMin(A, lattice.b - A @ middle, lattice.terms))
    return Lattice(tuple(inputs))


def _max_min(affine: np.ndarray, shapes: list[Polytope]) -> MaxMin:
    """A term for every region: the pieces that are nowhere in it below its own.

    On its region a term is right, and elsewhere it must not be too large. It is not where it has, for every other
    region, a piece that stays below the one there (Tarela & Martínez, 1999). A term without one is tested by linear
    programs. Where it fails there is a piece that is above the region's own somewhere in it and low enough at the place
    of the failure; the region is cut where that piece crosses its own.

    Args:
        affine: (regions, n + 1), value and slopes on each region.
    """
    values = [shape.vertices @ row[:-1] + row[-1] for row, shape in zip(affine, shapes, strict=True)]
    least, most = min(v.min() for v in values), max(v.max() for v in values)
    scale = max(most - least, 1e-3 * max(abs(least), abs(most)), 1e-300)
    _, keep, own = np.unique(np.round(affine / (0.01 * EQUAL * scale)), axis=0, return_index=True, return_inverse=True)
    pieces = affine[keep] / scale
    regions = [_Part(int(i), shape) for shape, i in zip(shapes, own.ravel(), strict=True)]
    above = np.array([(_values(pieces, r) - _values(pieces, r)[:, [r.piece]]).max(axis=0) for r in regions]).T
    terms: dict[frozenset[int], None] = {}
    waiting: dict[frozenset[int], list[_Part]] = {}
    for region in regions:
        waiting.setdefault(_term(pieces, region), []).append(region)
    splits = 0
    while waiting:
        # A term with more pieces than another is nowhere larger, so it adds nothing.
        term = min(waiting, key=len)
        parts = waiting.pop(term)
        if any(other <= term for other in terms):
            continue
        failure = _failure(pieces, term, regions, above)
        if failure is None:
            terms[term] = None
            continue
        splits += len(parts)
        if splits > MAX_SPLITS:
            raise NotRepresented(f"its lattice needs more than {MAX_SPLITS} terms")
        for part in parts:  # every one of them needs a term of its own
            for more, half in _split(pieces, term, part, *failure):
                waiting.setdefault(_term(pieces, half) | more, []).append(half)
    least_terms = [term for term in terms if not any(other < term for other in terms)]
    used = sorted(set().union(*least_terms))
    place = {piece: at for at, piece in enumerate(used)}
    indices = sorted(tuple(sorted(place[piece] for piece in term)) for term in least_terms)
    lattice = MaxMin(pieces[used][:, :-1] * scale, pieces[used][:, -1] * scale, tuple(indices))
    _check(lattice, affine, shapes, scale)
    return lattice


def _check(lattice: MaxMin, affine: np.ndarray, shapes: list[Polytope], scale: float) -> None:
    """Whether the lattice is the function in the middle and at three more points of every region."""
    rng = np.random.default_rng(0)
    weights = [rng.dirichlet(np.full(len(shape.vertices), 0.3), 3) @ shape.vertices for shape in shapes]
    x = np.array([[shape.middle, *more] for shape, more in zip(shapes, weights, strict=True)])
    expected = np.einsum("rki,ri->rk", x, affine[:, :-1]) + affine[:, -1:]
    worst = float(np.abs(lattice(x) - expected).max()) / scale
    if not worst <= ACCURATE:
        raise NotRepresented(f"its lattice would be wrong by {worst:.1g} of its range")


def _values(pieces: np.ndarray, part: _Part) -> np.ndarray:
    return np.asarray(part.shape.vertices @ pieces[:, :-1].T + pieces[:, -1])


def _term(pieces: np.ndarray, part: _Part) -> frozenset[int]:
    values = _values(pieces, part)
    never_below = (values >= values[:, [part.piece]] - EQUAL).all(axis=0)
    return frozenset(np.flatnonzero(never_below).tolist()) | {part.piece}


def _failure(
    pieces: np.ndarray, term: frozenset[int], regions: list[_Part], above: np.ndarray
) -> tuple[np.ndarray, int] | None:
    """A point (n,) where the term is too large, and the piece that holds there; None where there is none."""
    members = sorted(term)
    n = pieces.shape[1] - 1
    upward = np.append(np.zeros(n), 1.0)
    for k in np.flatnonzero(above[members].min(axis=0) > EQUAL):
        # max t over the region with t <= piece - piece there, for all pieces of the term.
        region = regions[k]
        difference = pieces[members] - pieces[region.piece]
        H = np.vstack(
            [
                np.column_stack([region.shape.H, np.zeros(len(region.shape.h))]),
                np.column_stack([-difference[:, :n], np.ones(len(members))]),
            ]
        )
        solution = maximise(upward, H, np.append(region.shape.h, difference[:, n]))
        if solution.value > 2.0 * EQUAL:
            x = _where_above(region.shape, difference) if solution.point is None else solution.point[:n]
            if x is not None:
                return x, region.piece
    return None


def _where_above(shape: Polytope, difference: np.ndarray) -> np.ndarray | None:
    """A point (n,) at which all differences (k, n + 1) are above 2 EQUAL, by cutting; None where they are nowhere.

    For linear programs that are not solved: pieces may be so steep that their numbers are of very different sizes.
    """
    length = np.maximum(np.linalg.norm(difference[:, :-1], axis=1), EQUAL)
    rows, right = difference[:, :-1] / length[:, None], (difference[:, -1] - 2.0 * EQUAL) / length
    part = shape.within(-rows, right)
    return None if part is None else part.middle


def _split(
    pieces: np.ndarray, term: frozenset[int], part: _Part, x: np.ndarray, there: int
) -> list[tuple[frozenset[int], _Part]]:
    """The parts to replace a part whose term is too large at ``x``, each with pieces its term has to have besides."""
    at, middle = np.append(x, 1.0), np.append(part.shape.middle, 1.0)
    # On the way from the part's middle to x some piece leads from above its own to below the one there.
    shortfall = np.maximum((pieces[part.piece] - pieces) @ middle, (pieces - pieces[there]) @ at)
    shortfall[sorted(term)] = np.inf
    candidates = np.flatnonzero(shortfall <= EQUAL)
    if not len(candidates):
        candidates = np.array([shortfall.argmin()])
        if not shortfall[candidates[0]] <= ACCURATE:
            raise NotRepresented("its regions do not form a continuous function on a convex set")
    best = int(candidates[((pieces[candidates] - pieces[part.piece]) @ middle).argmax()])
    crossing = pieces[best] - pieces[part.piece]
    length = max(float(np.linalg.norm(crossing[:-1])), 1e-300)
    row, right = crossing[:-1] / length, -crossing[-1] / length
    lower, upper = part.shape.cut(row, right), part.shape.cut(-row, -right)
    none: frozenset[int] = frozenset()
    if lower is None or upper is None or lower is part.shape or upper is part.shape:
        # The piece is below the own one nowhere, up to rounding.
        return [(term | {best}, part)]
    return [(none, _Part(part.piece, lower)), (frozenset({best}), _Part(part.piece, upper))]
