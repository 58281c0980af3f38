"""One call from Python per control step, from the parameter to input and plan."""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit

from mpc.solvers.harmonic.admm import admm, advance
from mpc.solvers.harmonic.cones import FAST
from mpc.solvers.harmonic.dense import times
from mpc.solvers.harmonic.interior_point import NUMERICAL, SOLVED, interior_point
from systems.verified_cache import compiled

__all__ = ["compiled_step"]


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def times_small(ZT, v, u):  # type: ignore[no-untyped-def]
    """u = Z v for few rows."""
    for i in range(u.shape[0]):
        u[i] = 0.0
    for j in range(v.shape[0]):
        for i in range(u.shape[0]):
            u[i] += v[j] * ZT[j, i]


def compile_step(version: int) -> Any:
    """The compiled step. ``version`` identifies the code it calls: numba's cache looks at the constants a function
    encloses and at the file it stands in, but not at the other files its code comes from."""

    @compiled(fastmath=FAST)
    def step(parameter, data, index, space, result):  # type: ignore[no-untyped-def]
        """Solves for a parameter (state and reference); returns the status code of the interior point.

        Args:
            parameter: (t,).
            data, index: what :class:`mpc.solvers.harmonic.solver.CompiledSolver` packed.
            space: workspace.
            result: [report (4), v (f), u (m)], written; the report is iterations of the interior
                point, residual, relative gap, iterations of ADMM.
        """
        if version < 0:
            return NUMERICAL
        f, rows, nb, nc, nk, t, m = index[0], index[1], index[2], index[3], index[4], index[5], index[6]
        max_iterations, quick, warm, wide = index[7], index[8], index[9], index[10]
        triple, following = index[11 : 11 + nk], index[11 + nk : 11 + nk + nb]
        first = index[11 + nk + nb : 11 + nk + nb + f]
        G = data[: f * wide].reshape(f, wide)
        at = f * wide
        start = data[at : at + f * f].reshape(f, f)
        at += f * f
        OT = data[at : at + t * rows].reshape(t, rows)
        at += t * rows
        o0 = data[at : at + rows]
        at += rows
        box = data[at : at + 4 * nb].reshape(4, nb)  # upper, lower, and whether they exist
        at += 4 * nb
        sign, bound = data[at : at + nk], data[at + nk : at + 2 * nk]
        at += 2 * nk
        ZT = data[at : at + f * m].reshape(f, m)
        at += f * m
        YT = data[at : at + t * m].reshape(t, m)
        at += t * m
        y0, least, most = data[at : at + m], data[at + m : at + 2 * m], data[at + 2 * m : at + 3 * m]
        at += 3 * m
        reach = data[at]
        at += 1

        o, hu, hl = space[:rows], space[rows : rows + nb], space[rows + nb : rows + 2 * nb]
        used = rows + 2 * nb
        H = space[used : used + 3 * nk].reshape(3, nk)
        used += 3 * nk
        p = space[used : used + wide]
        used += wide
        for r in range(rows):
            o[r] = o0[r]
        for i in range(t):
            a = parameter[i]
            for r in range(rows):
                o[r] += a * OT[i, r]
        y, multiplier, kept = space[used : used + rows], space[used + rows : used + 2 * rows], space[used + 2 * rows :]
        used += 4 * rows
        report, v, u = result[:4], result[4 : 4 + f], result[4 + f : 4 + f + m]
        report[3] = 0.0
        status = -1
        if quick > 0:
            JT, KT = data[at : at + f * rows].reshape(f, rows), data[at + f * rows : at + 2 * f * rows].reshape(f, rows)
            at += 2 * f * rows
            low, high = data[at : at + nc], data[at + nc : at + 2 * nc]
            at += 2 * nc
            rho, cosine, sine = data[at], data[at + 1], data[at + 2]
            if warm > 0:
                for r in range(rows):
                    y[r], multiplier[r] = kept[r], kept[rows + r]
                for _ in range(warm):
                    advance(following, cosine, sine, nb, nc, y, multiplier, space[used:])
            else:
                for r in range(rows):
                    y[r], multiplier[r] = o[r], 0.0
            for r in range(nb):
                hu[r] = box[0, r] - o[r]
                hl[r] = o[r] - box[1, r]
            if admm(JT, KT, o, hu, hl, low, high, rho, y, multiplier, v, space[used:], quick, report):
                report[3], report[0] = report[0], 0.0
                status = SOLVED
            else:
                report[3] = report[0]
        if status != SOLVED:
            for r in range(nb):
                # A bound that does not exist is 0 in the interior point, which masks it.
                hu[r] = box[2, r] * (box[0, r] - o[r]) if box[2, r] > 0.0 else 0.0
                hl[r] = box[3, r] * (o[r] - box[1, r]) if box[3, r] > 0.0 else 0.0
            for k in range(nk):
                e = nb + triple[k]
                H[0, k], H[1, k], H[2, k] = sign[k] * (bound[k] - o[e]), o[e + nc], o[e + 2 * nc]
            status = interior_point(
                G, first, start, hu, hl, box[2], box[3], H, reach, v, p, space[used:], max_iterations, report
            )
            if quick > 0 and status == SOLVED:
                # What ADMM would have ended with.
                times(JT, v, y)
                for r in range(rows):
                    y[r] += o[r]
                    multiplier[r] = p[r] if r < nb else 0.0
                for k in range(nk):
                    e = nb + triple[k]
                    multiplier[e] += sign[k] * p[nb + k]
                    multiplier[e + nc] -= p[nb + nk + k]
                    multiplier[e + 2 * nc] -= p[nb + 2 * nk + k]
        if quick > 0 and status == SOLVED:
            for r in range(rows):
                kept[r], kept[rows + r] = y[r], multiplier[r]
        times_small(ZT, v, u)
        for i in range(m):
            u[i] += y0[i]
            for j in range(t):
                u[i] += YT[j, i] * parameter[j]
            u[i] = min(max(u[i], least[i]), most[i])
        return status

    return step


@cache
def compiled_step() -> Any:
    """The step for the code as it now stands."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return compile_step(zlib.crc32(b"".join(path.read_bytes() for path in sources)))
