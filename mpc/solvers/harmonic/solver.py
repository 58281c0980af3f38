"""The dedicated solver of harmonic, tracking and equality MPC, behind the common interface."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.linalg import null_space

from ctrl.controller import Status
from mpc.harmonic.conic_program import ConicProgram, Projection, reduce
from mpc.solvers.conic_solver import ConicSolver

__all__ = ["CompiledSolver", "by_stages"]

ROWS = 8  # that are looked at together for the dimensions they add
NOTHING = 1e-13  # of the largest entry: a dimension that rounding alone spans
_STATUS = (Status.SOLVED, Status.MAX_ITERATIONS, Status.INFEASIBLE, Status.NUMERICAL)


class CompiledSolver(ConicSolver):
    """Condensed interior point, compiled by numba when first built and cached on disk; the GIL is released in a solve.

    One iteration costs about rows f^2 / 6 + f^3 / 6 multiplications, f = m horizon + 3 m - n being the free variables
    of a harmonic MPC. That beats a factorisation along the horizon up to f of a few dozen and grows with its third
    power beyond.

    Args:
        program: what stays the same.
        bounds: lower and upper bound of the input, each (m,).
        frequency: by which the artificial harmonic turns in a sample; used to advance the warm start.
        max_iterations: of the interior point. Ordinary samples take 8 to 16; with the state at the edge of the feasible
            set and the reference far outside, 50 have been seen.
        quick: iterations of warm-started ADMM tried first, 0 for none. They make the settled phase several times faster
            and the worst step slower by their own cost.
    """

    RHO = 0.1  # penalty of ADMM; rows are scaled to half-width 1 and the objective to v'v / 2

    def __init__(
        self,
        program: ConicProgram,
        bounds: tuple[np.ndarray, np.ndarray],
        frequency: float = 0.0,
        max_iterations: int = 80,
        quick: int = 0,
    ) -> None:
        # numba takes half a second to import; only who solves pays for it.
        from mpc.solvers.harmonic.compiled import compiled_step
        from mpc.solvers.harmonic.interior_point import space_needed

        self._step = compiled_step()
        self.program = program
        self.projection = projection = by_stages(reduce(program))
        data, index = _pack(projection, program, bounds, frequency, self.RHO, max_iterations, quick)
        self._data, self._index = data, index
        f, rows, boxed, _, cones = index[:5].tolist()
        wide = int(index[10])
        self._space = np.zeros(7 * rows + 4 * boxed + 3 * cones + f + wide + space_needed(f, wide, boxed, cones))
        m, free = len(bounds[0]), projection.Z.shape[1]
        self._result = np.zeros(4 + f + m)
        self._parameter = np.zeros(projection.O.shape[1])
        self._kept, self._asked = np.zeros(free), np.zeros(projection.O.shape[1])
        self._v = self._result[4 : 4 + free]
        self.input = self._result[4 + f :]
        self.solve(self._parameter, 0)  # compiles, or loads what was compiled before
        self.keep()

    def tables(self) -> dict[str, np.ndarray]:
        """Arrays of the compiled step by name, as :func:`_pack` laid them out: G (f, wide), start (f, f),
        offset_parameter (parameters, rows), offset (rows,), box (4, boxed), triple, sign and bound (cones,), reach
        (1,), and those that give the input."""
        f, rows, boxed, _, cones, parameters, m = self._index[:7].tolist()
        wide = int(self._index[10])
        shapes = {"G": (f, wide), "start": (f, f), "offset_parameter": (parameters, rows), "offset": (rows,),
                  "box": (4, boxed), "sign": (cones,), "bound": (cones,), "ZT": (f, m), "YT": (parameters, m),
                  "y": (m,), "lower": (m,), "upper": (m,), "reach": (1,)}  # fmt: skip
        named, at = {}, 0
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            named[name] = self._data[at : at + size].reshape(shape)
            at += size
        named["triple"] = self._index[11 : 11 + cones]
        return named

    def solve(self, parameter: np.ndarray, elapsed: int) -> Status:
        """See :class:`ConicSolver`."""
        self._parameter[:] = parameter
        self._index[9] = elapsed
        status = _STATUS[self._step(self._parameter, self._data, self._index, self._space, self._result)]
        iterations, violation, gap, first = self._result[:4].tolist()
        # Of the interior point and of ADMM before it; the violation is in half-widths of the rows, the gap relative.
        self.iterations, self.residual = int(iterations + first), max(violation, gap)
        if status is Status.SOLVED:
            self.keep()
        return status

    def keep(self) -> None:
        """See :class:`ConicSolver`."""
        np.copyto(self._kept, self._v)
        np.copyto(self._asked, self._parameter)

    def point(self) -> np.ndarray:
        """See :class:`ConicSolver`."""
        reduced = self.projection
        return reduced.Z @ self._kept + reduced.Y @ self._asked + reduced.y

    def parameter(self) -> np.ndarray:
        """See :class:`ConicSolver`."""
        return self._asked


def by_stages(reduced: Projection) -> Projection:
    """The same in coordinates in which the rows of the first stages read the first coordinates only.

    The input of a stage has no effect on the rows before it, so the rows of j stages span about j m of the f dimensions
    of v. An orthogonal change of coordinates keeps |v|, and puts these dimensions first, row by row.
    """
    J, boxed = reduced.J, len(reduced.lower)
    f, size = J.shape[1], np.abs(J).max(initial=0.0)
    basis, count, reach = np.zeros((f, f)), 0, np.full(boxed, f)
    for at in range(0, boxed, ROWS):
        rows = J[at : min(at + ROWS, boxed)]
        known = basis[:, :count]
        rest = rows - (rows @ known) @ known.T
        rest -= (rest @ known) @ known.T  # once more, for what rounding left
        _, values, directions = np.linalg.svd(rest, full_matrices=False)
        more = min(int((values > NOTHING * size).sum()), f - count)
        added = directions[:more].T
        basis[:, count : count + more] = np.linalg.qr(added - known @ (known.T @ added))[0]
        count += more
        reach[at : at + ROWS] = count
    others = null_space(basis[:, :count].T) if count else np.eye(f)
    turned = np.hstack([basis[:, :count], others])[:, :f]
    if turned.shape[1] < f or np.abs(turned.T @ turned - np.eye(f)).max(initial=0.0) > 1e-12:
        return reduced
    rows = J @ turned
    rows[:boxed][np.arange(f) >= reach[:, None]] = 0.0
    return dataclasses.replace(reduced, J=np.ascontiguousarray(rows), Z=np.ascontiguousarray(reduced.Z @ turned))


def _pack(
    reduced: Projection,
    program: ConicProgram,
    bounds: tuple[np.ndarray, np.ndarray],
    frequency: float,
    rho: float,
    max_iterations: int,
    quick: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Everything the compiled step reads, in one array of numbers and one of integers, padded to multiples of 4."""
    boxed, triples = len(reduced.lower), len(reduced.low)
    free, parameters = reduced.J.shape[1], reduced.O.shape[1]
    nb, f = _padded(boxed), _padded(free)
    rows = _padded(nb + 3 * triples)
    # Box rows, then all e, all s, all c.
    place = np.concatenate([np.arange(boxed), *(nb + i * triples + np.arange(triples) for i in range(3))])
    source = np.concatenate([np.arange(boxed), *(boxed + np.arange(i, 3 * triples, 3) for i in range(3))])
    JT, OT, o = np.zeros((f, rows)), np.zeros((parameters, rows)), np.zeros(rows)
    JT[:free, place], OT[:, place], o[place] = reduced.J[source].T, reduced.O[source].T, reduced.o[source]
    box = np.zeros((4, nb))
    box[0], box[1] = np.inf, -np.inf
    box[0, :boxed], box[1, :boxed] = reduced.upper, reduced.lower
    box[2], box[3] = np.isfinite(box[0]), np.isfinite(box[1])
    upper, lower = np.flatnonzero(np.isfinite(reduced.high)), np.flatnonzero(np.isfinite(reduced.low))
    triple = np.concatenate([upper, lower])
    sign = np.concatenate([np.ones(len(upper)), -np.ones(len(lower))])
    bound = np.concatenate([reduced.high[upper], reduced.low[lower]])
    # The rows of every cone, where JT has those of every triple.
    G = np.zeros((f, _padded(nb + 3 * len(triple))))
    G[:, :nb] = JT[:, :nb]
    mean, sine, cosine = (JT[:, nb + i * triples + triple] for i in range(3))
    G[:, nb : nb + 3 * len(triple)] = np.hstack([sign * mean, -sine, -cosine])
    count = np.ones(G.shape[1])
    count[:nb] = box[2] + box[3]
    start = _inverted(np.linalg.cholesky(np.eye(f) + (G * count) @ G.T))
    first = program.input_at[0]
    ZT = np.zeros((f, len(first)))
    ZT[:free] = reduced.Z[first].T
    width = 0.5 * (bounds[1] - bounds[0])
    reach = np.max(np.linalg.norm(ZT, axis=0) / np.where(np.isfinite(width) & (width > 0), width, 1.0), initial=0.0)
    parts = [G, start, OT, o, box, sign, bound, ZT, reduced.Y[first].T, reduced.y[first], bounds[0], bounds[1], reach]
    KT = np.linalg.solve(np.linalg.cholesky(np.eye(f) + rho * JT @ JT.T), JT)
    parts += [JT, KT, reduced.low, reduced.high, np.array([rho, np.cos(frequency), np.sin(frequency)])]
    data = np.concatenate([np.ravel(part) for part in parts])
    following = np.full(nb, -1)
    following[:boxed] = _following(program)
    sizes = [f, rows, nb, triples, len(triple), parameters, len(first), max_iterations, quick, 0, G.shape[1]]
    # Columns are taken 4 by 4, from the first row of the first of them.
    reached = np.where(G[:, :nb].any(axis=1), (G[:, :nb] != 0.0).argmax(axis=1), nb)
    reached = np.repeat(np.minimum.accumulate(reached[::-1])[::-1][::4], 4)
    return data, np.concatenate([sizes, triple, following, reached]).astype(np.int64)


def _following(program: ConicProgram) -> np.ndarray:
    """Of each box row the row that says the same one stage later, -1 where there is none."""
    n, m = program.state_at.shape[1], program.input_at.shape[1]
    shift = n + m
    following = np.full(len(program.C), -1)
    last = program.input_at[-1, -1]
    known = {(row.nonzero()[0].tobytes(), row[row != 0].tobytes()): i for i, row in enumerate(program.C)}
    for i, row in enumerate(program.C):
        at = row.nonzero()[0]
        if at.max(initial=0) + shift <= last:
            following[i] = known.get(((at + shift).tobytes(), row[at].tobytes()), -1)
    return following


def _padded(size: int) -> int:
    return max(4, -(-size // 4) * 4)


def _inverted(factor: np.ndarray) -> np.ndarray:
    """The Cholesky factor as the compiled code wants it: its diagonal inverted."""
    return np.tril(factor, -1) + np.diag(1.0 / np.diag(factor))
