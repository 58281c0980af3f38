"""From the regions of a continuous piecewise affine function to the largest of smallest of its pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from ctrl.laws.lattice import Lattice, MaxMin
from ctrl.sets import Polyhedron
from mpc.multiparametric import Region, bounded_shape

__all__ = ["lattice_of"]

EQUAL = 1e-9  # relative difference of values that counts as none
MAX_SPLITS = 10_000


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a region with the piece that holds on it."""

    piece: int
    set: Polyhedron
    corners: np.ndarray
    middle: np.ndarray


def lattice_of(
    regions: tuple[Region, ...], E: np.ndarray, from_state: np.ndarray, offset: np.ndarray, size: np.ndarray
) -> Lattice:
    """u = E z + from_state x + offset over regions whose union is convex and on which it is continuous.

    Args:
        E: (m, d). from_state: (m, n). offset: (m,). size: (n,), the unit of distances.
    """
    inputs = []
    for j in range(len(E)):
        affine = np.array([np.append(E[j] @ r.K + from_state[j], E[j] @ r.k + offset[j]) for r in regions])
        scale = np.maximum(np.abs(affine).max(axis=0), 1e-12)
        _, keep, own = np.unique(np.round(affine / scale, 10), axis=0, return_index=True, return_inverse=True)
        pieces = affine[keep]
        parts = [_Part(int(i), r.set, r.corners, r.middle) for r, i in zip(regions, own.ravel(), strict=True)]
        inputs.append(_max_min(pieces, parts, size))
    return Lattice(tuple(inputs))


def _max_min(pieces: np.ndarray, regions: list[_Part], size: np.ndarray) -> MaxMin:
    """A term for every region: the pieces that are nowhere in it below its own.

    On its region a term is right, and elsewhere it must not be too large. It is not where it has, for every other
    region, a piece that stays below the one there (Tarela & Martínez, 1999). A term without one is tested by linear
    programs, and where it fails its region is cut along the piece that would have helped.
    """
    above = np.array([(_values(pieces, r) - _values(pieces, r)[:, [r.piece]]).max(axis=0) for r in regions]).T
    slack = EQUAL * max(1.0, max(float(np.abs(_values(pieces, r)[:, r.piece]).max()) for r in regions))
    terms: dict[frozenset[int], None] = {}
    waiting = {_term(pieces, r, slack): r for r in regions}
    splits = 0
    while waiting:
        # A term with more pieces than another is nowhere larger, so it adds nothing.
        term = min(waiting, key=len)
        part = waiting.pop(term)
        if any(other <= term for other in terms):
            continue
        cut = _cut(pieces, term, part, regions, above, slack) if splits < MAX_SPLITS else None
        halves = [] if cut is None else _halves(part, cut, size)
        if len(halves) < 2:
            terms[term] = None
            continue
        splits += 1
        for half in halves:
            waiting.setdefault(_term(pieces, half, slack), half)
    least = [term for term in terms if not any(other < term for other in terms)]
    used = sorted(set().union(*least))
    place = {piece: at for at, piece in enumerate(used)}
    indices = sorted(tuple(sorted(place[piece] for piece in term)) for term in least)
    return MaxMin(pieces[used][:, :-1], pieces[used][:, -1], tuple(indices))


def _values(pieces: np.ndarray, part: _Part) -> np.ndarray:
    return part.corners @ pieces[:, :-1].T + pieces[:, -1]


def _term(pieces: np.ndarray, part: _Part, slack: float) -> frozenset[int]:
    values = _values(pieces, part)
    never_below = (values >= values[:, [part.piece]] - slack).all(axis=0)
    return frozenset(np.flatnonzero(never_below).tolist()) | {part.piece}


def _cut(
    pieces: np.ndarray, term: frozenset[int], part: _Part, regions: list[_Part], above: np.ndarray, slack: float
) -> np.ndarray | None:
    """The piece (n + 1,) minus that of the part, along whose zeros to cut, None where the term is nowhere too large."""
    members = sorted(term)
    doubtful = np.flatnonzero(above[members].min(axis=0) > slack)
    n = pieces.shape[1] - 1
    for k in doubtful:
        # max t over the region with t <= piece - piece there, for all pieces of the term.
        difference = pieces[members] - pieces[regions[k].piece]
        H = np.vstack(
            [
                np.column_stack([regions[k].set.H, np.zeros(len(regions[k].set.h))]),
                np.column_stack([-difference[:, :n], np.ones(len(members))]),
            ]
        )
        found = linprog(
            np.append(np.zeros(n), -1.0), H, np.append(regions[k].set.h, difference[:, n]), bounds=(None, None)
        )
        if found.status != 0 or -found.fun <= slack:
            continue

        at = np.append(found.x[:n], 1.0)
        own, other = pieces[part.piece], pieces[regions[k].piece]
        # On the way from the part's middle to there some piece leads from above its own to below the other.
        at_middle = np.append(part.middle, 1.0)
        helpful = np.flatnonzero((pieces @ at_middle >= own @ at_middle) & (pieces @ at <= other @ at + slack))
        helpful = np.setdiff1d(helpful, members)

        if len(helpful):
            best = helpful[np.argmax((pieces[helpful] - own) @ at_middle)]
            return np.asarray(pieces[best] - own)
    return None


def _halves(part: _Part, cut: np.ndarray, size: np.ndarray) -> list[_Part]:
    halves = []
    for sign in (1.0, -1.0):
        shape = bounded_shape(np.vstack([part.set.H, sign * cut[:-1]]), np.append(part.set.h, -sign * cut[-1]), size)
        if shape is not None:
            halves.append(_Part(part.piece, *shape))
    return halves
