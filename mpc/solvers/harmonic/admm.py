"""The same projection by the alternating direction method of multipliers, compiled; fast if the last solution is nearly
right.

Splitting y = J v + o (Boyd, Parikh, Chu, Peleato & Eckstein, 2011, section 5), which in harmonic MPC goes back to
Krupa, Limon, Bemporad & Alamo (2022). It may need thousands of iterations where a harmonic cone sits near its apex, so
its answer is accepted on converged residuals only.
"""

from __future__ import annotations

import math

from numba import njit

from mpc.solvers.harmonic.cones import FAST, diamond
from mpc.solvers.harmonic.dense import times, transposed

__all__ = ["admm", "advance"]


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def _within(o, hu, hl, low, high):  # type: ignore[no-untyped-def]
    """Whether v = 0 is feasible, and so the projection. False for NaN."""
    nb, nc = hu.shape[0], low.shape[0]
    for r in range(nb):
        if not (hu[r] >= 0.0 and hl[r] >= 0.0):
            return False
    for k in range(nc):
        mean, amplitude = o[nb + k], math.sqrt(o[nb + nc + k] ** 2 + o[nb + 2 * nc + k] ** 2)
        if not (amplitude <= high[k] - mean and amplitude <= mean - low[k]):
            return False
    return True


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def admm(JT, KT, o, hu, hl, low, high, rho, y, multiplier, v, space, max_iterations, report):  # type: ignore[no-untyped-def]
    """True where the iterates have converged; v then holds the projection.

    Args:
        JT: (f, rows), J transposed; box rows first, padded, then the e, the s and the c rows of all triples.
        KT: (f, rows), L^-1 J' with L L' = I + rho J'J.
        o: (rows,), the offset.
        rho: penalty.
        hu, hl: (boxed,), upper bound and minus lower bound of J v, infinite where there is none.
        low, high: (triples,), bounds of the cones, infinite where there is none.
        y, multiplier: (rows,), start, overwritten.
        v: (f,), written.
        space: (2 rows + f,).
        report: (3,), written.
    """
    f, rows = JT.shape
    nb, nc = hu.shape[0], low.shape[0]
    t, p, a = space[:rows], space[rows : 2 * rows], space[2 * rows : 2 * rows + f]
    if _within(o, hu, hl, low, high):
        for i in range(f):
            v[i] = 0.0
        for r in range(rows):
            y[r], multiplier[r] = o[r], 0.0
        report[0], report[1], report[2] = 1.0, 0.0, 0.0
        return True
    for iteration in range(1, max_iterations + 1):
        for r in range(rows):
            p[r] = rho * (y[r] - o[r]) - multiplier[r]
        transposed(KT, p, a)
        times(KT, a, t)
        primal = moved = 0.0
        for r in range(nb):
            aim = t[r] + multiplier[r] / rho
            projected = min(max(aim, -hl[r]), hu[r])
            moved += (projected + o[r] - y[r]) ** 2
            y[r] = projected + o[r]
            primal += (t[r] - projected) ** 2
            multiplier[r] = rho * (aim - projected)
        for k in range(nc):
            e, s, c = nb + k, nb + nc + k, nb + 2 * nc + k
            x0 = t[e] + o[e] + multiplier[e] / rho
            x1 = t[s] + o[s] + multiplier[s] / rho
            x2 = t[c] + o[c] + multiplier[c] / rho
            y0, y1, y2 = diamond(x0, x1, x2, low[k], high[k])
            moved += (y0 - y[e]) ** 2 + (y1 - y[s]) ** 2 + (y2 - y[c]) ** 2
            primal += (t[e] + o[e] - y0) ** 2 + (t[s] + o[s] - y1) ** 2 + (t[c] + o[c] - y2) ** 2
            y[e], y[s], y[c] = y0, y1, y2
            multiplier[e], multiplier[s], multiplier[c] = rho * (x0 - y0), rho * (x1 - y1), rho * (x2 - y2)
        report[0] = iteration
        if not math.isfinite(primal):
            return False
        if max(primal, moved) <= 1e-17:
            # v = -J' multiplier is optimal for this multiplier and y exactly; what is left is J v + o - y.
            transposed(JT, multiplier, v)
            size = 0.0
            for i in range(f):
                v[i] = -v[i]
                size += 0.5 * v[i] * v[i]
            times(JT, v, t)
            residual = gap = 0.0
            for r in range(rows):
                left = abs(t[r] + o[r] - y[r])
                residual = max(residual, left)
                gap += left * abs(multiplier[r])
            report[1], report[2] = residual, gap / max(1.0, size)
            if residual <= 1e-8 and gap <= 1e-10 * max(1.0, size):
                return True
    return False


@njit(nogil=True, error_model="numpy")
def advance(following, cosine, sine, boxed, cones, y, multiplier, space):  # type: ignore[no-untyped-def]
    """One sample on: rows take the values of their successors, harmonic triples are turned by the frequency.

    Args:
        following: (boxed,), the row of the same output one stage later, -1 at the last stage.
    """
    for r in range(boxed):
        space[r], space[boxed + r] = y[r], multiplier[r]
    for r in range(boxed):
        if following[r] >= 0:
            y[r], multiplier[r] = space[following[r]], space[boxed + following[r]]
        else:
            multiplier[r] = 0.0
    for k in range(cones):
        s, c = boxed + cones + k, boxed + 2 * cones + k
        y[s], y[c] = cosine * y[s] - sine * y[c], sine * y[s] + cosine * y[c]
        a, b = multiplier[s], multiplier[c]
        multiplier[s], multiplier[c] = cosine * a - sine * b, sine * a + cosine * b
