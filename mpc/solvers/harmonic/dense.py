"""Dense linear algebra of a few dozen unknowns, compiled: faster than BLAS calls at these sizes.

Matrices come transposed, (f, rows) in C order, with both sizes padded to multiples of 4 by zeros.
"""

from __future__ import annotations

import math

from numba import njit

from mpc.solvers.harmonic.cones import FAST

__all__ = ["factor", "normal", "solve", "times", "transposed"]


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def times(JT, v, y):  # type: ignore[no-untyped-def]
    """y = J v."""
    f, rows = JT.shape
    for r in range(rows):
        y[r] = 0.0
    for i in range(0, f, 4):
        a, b, c, d = v[i], v[i + 1], v[i + 2], v[i + 3]
        for r in range(rows):
            y[r] += a * JT[i, r] + b * JT[i + 1, r] + c * JT[i + 2, r] + d * JT[i + 3, r]


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def transposed(JT, p, v):  # type: ignore[no-untyped-def]
    """v = J'p."""
    f, rows = JT.shape
    for i in range(0, f, 4):
        a = b = c = d = 0.0
        for r in range(rows):
            q = p[r]
            a += JT[i, r] * q
            b += JT[i + 1, r] * q
            c += JT[i + 2, r] * q
            d += JT[i + 3, r] * q
        v[i], v[i + 1], v[i + 2], v[i + 3] = a, b, c, d


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def normal(JT, WT, first, P):  # type: ignore[no-untyped-def]
    """Lower triangle of P = I + J'W J from J and W J, in blocks of 4 by 2; first: (f,), of each column of J the first
    row that is not zero, in any order that never falls."""
    for i in range(0, len(JT), 4):
        # Slices, so that rows are counted from zero: numba checks the sign of every other index, and a loop with such
        # checks is not vectorised.
        at = first[i]
        wa, wb, wc, wd = WT[i][at:], WT[i + 1][at:], WT[i + 2][at:], WT[i + 3][at:]
        for j in range(0, i + 4, 2):
            xs, ys = JT[j][at:], JT[j + 1][at:]
            a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = 0.0
            for r in range(len(xs)):
                x, y = xs[r], ys[r]
                w = wa[r]
                a0 += w * x
                a1 += w * y
                w = wb[r]
                b0 += w * x
                b1 += w * y
                w = wc[r]
                c0 += w * x
                c1 += w * y
                w = wd[r]
                d0 += w * x
                d1 += w * y
            P[i, j], P[i, j + 1] = a0, a1
            P[i + 1, j], P[i + 1, j + 1] = b0, b1
            P[i + 2, j], P[i + 2, j + 1] = c0, c1
            P[i + 3, j], P[i + 3, j + 1] = d0, d1
        for k in range(i, i + 4):
            P[k, k] += 1.0


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def factor(P):  # type: ignore[no-untyped-def]
    """Cholesky factor in the lower triangle, its diagonal inverted; False where P is not positive definite."""
    f = P.shape[0]
    for j in range(f):
        total = P[j, j]
        for k in range(j):
            total -= P[j, k] * P[j, k]
        if not total > 0.0:
            return False
        inverse = 1.0 / math.sqrt(total)
        P[j, j] = inverse
        i = j + 1
        while i % 4 != 0:
            total = P[i, j]
            for k in range(j):
                total -= P[i, k] * P[j, k]
            P[i, j] = total * inverse
            i += 1
        while i < f:
            a, b, c, d = P[i, j], P[i + 1, j], P[i + 2, j], P[i + 3, j]
            for k in range(j):
                q = P[j, k]
                a -= P[i, k] * q
                b -= P[i + 1, k] * q
                c -= P[i + 2, k] * q
                d -= P[i + 3, k] * q
            P[i, j], P[i + 1, j], P[i + 2, j], P[i + 3, j] = a * inverse, b * inverse, c * inverse, d * inverse
            i += 4
    return True


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def solve(P, v):  # type: ignore[no-untyped-def]
    """v = P^-1 v by the factor of :func:`factor`."""
    f = P.shape[0]
    for i in range(f):
        total = v[i]
        for k in range(i):
            total -= P[i, k] * v[k]
        v[i] = total * P[i, i]
    for i in range(f - 1, -1, -1):
        a = v[i] * P[i, i]
        v[i] = a
        for k in range(i):
            v[k] -= a * P[i, k]
