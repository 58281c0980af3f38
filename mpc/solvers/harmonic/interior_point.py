"""Projection onto boxes and second-order cones by a primal-dual interior-point method, compiled.

    min |v|^2 / 2   subject to   -hl <= J v <= hu  (rows),   |(s, c)| <= h -+ e  (triples (e, s, c) of rows)

Every harmonic, tracking or equality MPC is this problem in the coordinates of :mod:`mpc.conic`: v is the distance from
the optimum without inequality constraints. A row of J appears once although it is bounded on two sides, and a triple
once although it lies in two cones, so an iteration costs one product J'WJ, one Cholesky factorisation and two solves.
Predictor and corrector of Mehrotra (1992), scaling of Nesterov & Todd (1997), formulas of Vandenberghe (2010).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from mpc.solvers.harmonic.cones import (
    FAST,
    inside,
    join,
    product,
    quotient,
    reach,
    scale,
    scaling,
    spectrum,
    split,
    unscale,
)
from mpc.solvers.harmonic.dense import factor, normal, solve, times, transposed

__all__ = ["INFEASIBLE", "MAX_ITERATIONS", "NUMERICAL", "SOLVED", "interior_point", "space_needed"]

SOLVED, MAX_ITERATIONS, INFEASIBLE, NUMERICAL = 0, 1, 2, 3
GAP = 1e-12  # duality gap relative to max(1, |v|^2 / 2); the gap bounds |v - v*|^2 / 2
LOOSE = 1e-9  # gap of a point that still counts as solved where rounding lets it come no closer
FEASIBLE = 1e-9  # violation of the rows, in half-widths of their bounds
STATIONARY = 1e-8  # error of the gradient relative to max(1, |v|), which bounds |v - v*| too
REFINE = 1e-4  # relative gap below which the linear systems are solved with one step of iterative refinement
RADIUS = 1e7  # infeasible means: no v of this length is feasible
BLIND = FAST | {"nnan"}  # for maxima, where NaN is caught elsewhere


def space_needed(f: int, boxed: int, cones: int) -> int:
    """Numbers of workspace for :func:`interior_point`."""
    return 2 * (f + 1) * (boxed + 3 * cones + 3) + f * f + 4 * f + 2 + 12 * boxed + 27 * cones


@njit(nogil=True, error_model="numpy", fastmath=BLIND)
def _largest_ratio(d, s):  # type: ignore[no-untyped-def]
    """max -d / s, at least 0."""
    found = 0.0
    for k in range(s.shape[0]):
        found = max(found, -d[k] / s[k])
    return found


@njit(nogil=True, error_model="numpy", fastmath=BLIND)
def _largest(x):  # type: ignore[no-untyped-def]
    """max |x|."""
    found = 0.0
    for k in range(x.shape[0]):
        found = max(found, abs(x[k]))
    return found


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def _lift(su, sl, S, mu, ml):  # type: ignore[no-untyped-def]
    """Moves a point along the centre of the cones, into their interior, where it is not there already."""
    depth = 1e30
    for r in range(su.shape[0]):
        if mu[r] > 0.0:
            depth = min(depth, su[r])
        if ml[r] > 0.0:
            depth = min(depth, sl[r])
    for k in range(S.shape[0]):
        depth = min(depth, inside(S[k, 0], S[k, 1], S[k, 2]))
    if depth < 1e-8:
        for r in range(su.shape[0]):
            su[r] += mu[r] * (1.0 - depth)
            sl[r] += ml[r] * (1.0 - depth)
        for k in range(S.shape[0]):
            S[k, 0] += 1.0 - depth


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def _push(zu, zl, Z, triple, sign, cones, p):  # type: ignore[no-untyped-def]
    """p with G'z = J'p, the constraints being G v + s = h."""
    boxed = zu.shape[0]
    for r in range(boxed):
        p[r] = zu[r] - zl[r]
    for r in range(boxed, p.shape[0]):
        p[r] = 0.0
    for k in range(Z.shape[0]):
        r = boxed + triple[k]
        p[r] += sign[k] * Z[k, 0]
        p[r + cones] -= Z[k, 1]
        p[r + 2 * cones] -= Z[k, 2]


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def _weigh(JT, su, sl, zu, zl, S, Z, W, E, L, triple, sign, cones, p, XT, WT):  # type: ignore[no-untyped-def]
    """Scaling at (s, z): W, the spectrum of W^-2 and lambda of the cones; X and W X with P = I + X'W X.

    The rows of X are the box rows of J and, for every cone, the three eigenvectors of W^-2 times its rows: weighted
    rows keep P accurate however large the weights become.
    """
    f = JT.shape[0]
    boxed = su.shape[0]
    for r in range(boxed):
        p[r] = zu[r] / su[r] + zl[r] / sl[r]
    for i in range(f):
        for r in range(boxed):
            WT[i, r] = p[r] * JT[i, r]
    for k in range(S.shape[0]):
        z0, z1, z2 = Z[k, 0], Z[k, 1], Z[k, 2]
        beta, w0, w1, w2 = scaling(S[k, 0], S[k, 1], S[k, 2], z0, z1, z2)
        W[k, 0], W[k, 1], W[k, 2], W[k, 3] = beta, w0, w1, w2
        L[k, 0], L[k, 1], L[k, 2] = scale(beta, w0, w1, w2, z0, z1, z2)
        first, second, across, c, s = spectrum(beta, w0, w1, w2)
        E[k, 0], E[k, 1], E[k, 2], E[k, 3], E[k, 4] = first, second, across, c, s
        e, r = boxed + triple[k], boxed + 3 * k
        for i in range(f):
            x0, x1, x2 = split(c, s, sign[k] * JT[i, e], -JT[i, e + cones], -JT[i, e + 2 * cones])
            XT[i, r], XT[i, r + 1], XT[i, r + 2] = x0, x1, x2
            WT[i, r], WT[i, r + 1], WT[i, r + 2] = first * x0, second * x1, across * x2


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def _target_boxes(keep, centre, second, rs, s, z, ds, dz, mask, g):  # type: ignore[no-untyped-def]
    """g = W^-2 (keep rs - W (lambda \\ complementarity)) of one side of the rows."""
    for r in range(s.shape[0]):
        g[r] = mask[r] * (keep * rs[r] * z[r] - s[r] * z[r] - second * ds[r] * dz[r] + centre) / s[r]


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def _target_cones(keep, centre, second, RS, S, W, E, L, DS, DZ, G):  # type: ignore[no-untyped-def]
    """The same of the cones, as factors of the eigenvectors of W^-2."""
    for k in range(S.shape[0]):
        beta, w0, w1, w2 = W[k, 0], W[k, 1], W[k, 2], W[k, 3]
        t0, t1, t2 = S[k, 0], S[k, 1], S[k, 2]  # W (lambda \ lambda o lambda) = W lambda = s
        if second > 0.0:
            a0, a1, a2 = unscale(beta, w0, w1, w2, DS[k, 0], DS[k, 1], DS[k, 2])
            b0, b1, b2 = scale(beta, w0, w1, w2, DZ[k, 0], DZ[k, 1], DZ[k, 2])
            c0, c1, c2 = product(a0, a1, a2, b0, b1, b2)
            l0, l1, l2 = L[k, 0], L[k, 1], L[k, 2]
            q0, q1, q2 = quotient(l0, l1, l2, c0 - centre, c1, c2)
            t0, t1, t2 = scale(beta, w0, w1, w2, l0 + q0, l1 + q1, l2 + q2)
        r0, r1, r2 = keep * RS[k, 0] - t0, keep * RS[k, 1] - t1, keep * RS[k, 2] - t2
        r0, r1, r2 = split(E[k, 3], E[k, 4], r0, r1, r2)
        G[k, 0], G[k, 1], G[k, 2] = E[k, 0] * r0, E[k, 1] * r1, E[k, 2] * r2


@njit(nogil=True, error_model="numpy")
def _restored(kept, v, report):  # type: ignore[no-untyped-def]
    """The best point again."""
    f = v.shape[0]
    for i in range(f):
        v[i] = kept[i]
    report[1], report[2] = kept[f], kept[f + 1]
    return SOLVED


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def interior_point(JT, start, hu, hl, mu, ml, H, triple, sign, cones, v, y, p, space, max_iterations, report):  # type: ignore[no-untyped-def]
    """Solves one problem; returns a status code, writes v and the report [iterations, residual, gap].

    Args:
        JT: (f, rows), J transposed: box rows first, padded, then the e, the s and the c rows of all ``cones`` triples.
        start: (f, f), factor of I + G'G.
        hu, hl: (boxed,), upper bound and minus lower bound of J v. mu, ml: (boxed,), 1 where the bound exists, else 0.
        H: (k, 3), right-hand sides of the k cones. triple: (k,) which triple. sign: (k,) +1 upper, -1 lower.
        v: (f,), written. y, p: (rows,), written: J v, and the multiplier, with v = -J'p. space: workspace.
        report: (3,), written.
    """
    f = JT.shape[0]
    nb, nk = hu.shape[0], H.shape[0]
    wide = nb + 3 * nk + (-3 * nk) % 4
    XT, WT = space[: f * wide].reshape(f, wide), space[f * wide : 2 * f * wide].reshape(f, wide)
    at = 2 * f * wide
    P = space[at : at + f * f].reshape(f, f)
    at += f * f
    for i in range(f):
        for r in range(nb):
            XT[i, r] = JT[i, r]
        for r in range(nb + 3 * nk, wide):
            XT[i, r] = WT[i, r] = 0.0
    dv, rx, correction = space[at : at + f], space[at + f : at + 2 * f], space[at + 2 * f : at + 3 * f]
    at += 3 * f
    B = space[at : at + 12 * nb].reshape(12, nb)
    at += 12 * nb
    su, sl, zu, zl, dsu, dsl, dzu, dzl, ru, rl, gu, gl = (
        B[0], B[1], B[2], B[3], B[4], B[5], B[6], B[7], B[8], B[9], B[10], B[11]
    )  # fmt: skip
    C = space[at : at + 18 * nk].reshape(6, nk, 3)
    at += 18 * nk
    S, Z, DS, DZ, RS, L = C[0], C[1], C[2], C[3], C[4], C[5]
    W = space[at : at + 4 * nk].reshape(nk, 4)
    at += 4 * nk
    E = space[at : at + 5 * nk].reshape(nk, 5)
    at += 5 * nk
    x, g, kept = space[at : at + wide], space[at + wide : at + 2 * wide], space[at + 2 * wide : at + 2 * wide + f + 2]
    G = DZ  # the target of the cones is consumed before their dz is written
    degree = float(nk)
    for r in range(nb):
        degree += mu[r] + ml[r]
        # What a failed solve left behind must not reach this one: zero times NaN is NaN.
        dsu[r] = dsl[r] = dzu[r] = dzl[r] = 0.0
    for r in range(wide):
        g[r] = 0.0
    report[0], report[1], report[2] = 0.0, np.inf, np.inf

    # Start at the least-squares solution of G v = h, with s and z lifted into the cones (Vandenberghe, section 5.3).
    _push(hu, hl, H, triple, sign, cones, p)
    transposed(JT, p, v)
    solve(start, v)
    times(JT, v, y)
    for r in range(nb):
        zu[r], zl[r] = mu[r] * (y[r] - hu[r]), ml[r] * (-y[r] - hl[r])
        su[r], sl[r] = 1.0 - mu[r] - zu[r], 1.0 - ml[r] - zl[r]
    for k in range(nk):
        e = nb + triple[k]
        Z[k, 0], Z[k, 1], Z[k, 2] = sign[k] * y[e] - H[k, 0], -y[e + cones] - H[k, 1], -y[e + 2 * cones] - H[k, 2]
        S[k, 0], S[k, 1], S[k, 2] = -Z[k, 0], -Z[k, 1], -Z[k, 2]
    _lift(su, sl, S, mu, ml)
    _lift(zu, zl, Z, mu, ml)

    iteration, close = 0, False
    while True:
        _push(zu, zl, Z, triple, sign, cones, p)
        transposed(JT, p, rx)
        certificate = norm = gap = hz = 0.0
        for i in range(f):
            certificate += rx[i] * rx[i]
            rx[i] += v[i]
            norm += v[i] * v[i]
        times(JT, v, y)
        for r in range(nb):
            ru[r], rl[r] = mu[r] * (su[r] + y[r] - hu[r]), ml[r] * (sl[r] - y[r] - hl[r])
            gap += su[r] * zu[r] + sl[r] * zl[r]
            hz += hu[r] * zu[r] + hl[r] * zl[r]
        violation = max(_largest(ru), _largest(rl))
        for k in range(nk):
            e = nb + triple[k]
            RS[k, 0] = S[k, 0] + sign[k] * y[e] - H[k, 0]
            RS[k, 1] = S[k, 1] - y[e + cones] - H[k, 1]
            RS[k, 2] = S[k, 2] - y[e + 2 * cones] - H[k, 2]
            violation = max(violation, abs(RS[k, 0]), abs(RS[k, 1]), abs(RS[k, 2]))
            for i in range(3):
                gap += S[k, i] * Z[k, i]
                hz += H[k, i] * Z[k, i]
        size = max(1.0, 0.5 * norm)
        dual = _largest(rx) / math.sqrt(size)
        residual = max(violation, dual)
        report[0], report[1], report[2] = iteration, residual, gap / size
        finite = math.isfinite(residual) and math.isfinite(gap) and math.isfinite(size)
        if finite and violation <= FEASIBLE and dual <= 10.0 * STATIONARY and gap <= LOOSE * size:
            if dual <= STATIONARY and gap <= GAP * size:
                return SOLVED
            close = True
            for i in range(f):
                kept[i] = v[i]
            kept[f], kept[f + 1] = residual, gap / size
        elif close:
            # Rounding has won; the point before was as good as can be had.
            return _restored(kept, v, report)
        if not finite:
            report[1] = report[2] = np.inf
            return NUMERICAL
        # z is a certificate: h'z < G'z v, so v violates a constraint, for every v within the radius.
        if hz < 0.0 and -hz > RADIUS * math.sqrt(certificate):
            return INFEASIBLE
        if iteration >= max_iterations:
            return _restored(kept, v, report) if close else MAX_ITERATIONS

        _weigh(JT, su, sl, zu, zl, S, Z, W, E, L, triple, sign, cones, p, XT, WT)
        normal(XT, WT, P)
        if not factor(P):
            return _restored(kept, v, report) if close else NUMERICAL
        keep, centre, second, step = 1.0, 0.0, 0.0, 0.0
        for corrector in range(2):
            _target_boxes(keep, centre, second, ru, su, zu, dsu, dzu, mu, gu)
            _target_boxes(keep, centre, second, rl, sl, zl, dsl, dzl, ml, gl)
            _target_cones(keep, centre, second, RS, S, W, E, L, DS, DZ, G)
            for r in range(nb):
                g[r] = gu[r] - gl[r]
            for k in range(nk):
                r = nb + 3 * k
                g[r], g[r + 1], g[r + 2] = G[k, 0], G[k, 1], G[k, 2]
            transposed(XT, g, dv)
            for i in range(f):
                dv[i] = -keep * rx[i] - dv[i]
            solve(P, dv)
            times(XT, dv, x)
            if gap < REFINE * size:
                # Weights as large as these cost the solution digits; one correction brings them back.
                for r in range(nb):
                    g[r] += p[r] * x[r]
                for k in range(nk):
                    for i in range(3):
                        g[nb + 3 * k + i] += E[k, i] * x[nb + 3 * k + i]
                transposed(XT, g, correction)
                for i in range(f):
                    correction[i] = -keep * rx[i] - dv[i] - correction[i]
                solve(P, correction)
                for i in range(f):
                    dv[i] += correction[i]
                times(XT, correction, g)
                for r in range(wide):
                    x[r] += g[r]
            for r in range(nb):
                dzu[r] = gu[r] + x[r] * zu[r] / su[r]
                dzl[r] = gl[r] - x[r] * zl[r] / sl[r]
                dsu[r], dsl[r] = mu[r] * (-keep * ru[r] - x[r]), ml[r] * (-keep * rl[r] + x[r])
            longest = max(_largest_ratio(dsu, su), _largest_ratio(dsl, sl))
            # Where a bound is missing z is zero, and so is dz.
            for r in range(nb):
                longest = max(longest, -mu[r] * dzu[r] / (zu[r] + 1.0 - mu[r]), -ml[r] * dzl[r] / (zl[r] + 1.0 - ml[r]))
            step = 1.0 / max(longest, 1e-30)
            for k in range(nk):
                x0, x1, x2, c, s = x[nb + 3 * k], x[nb + 3 * k + 1], x[nb + 3 * k + 2], E[k, 3], E[k, 4]
                a0, a1, a2 = G[k, 0] + E[k, 0] * x0, G[k, 1] + E[k, 1] * x1, G[k, 2] + E[k, 2] * x2
                DZ[k, 0], DZ[k, 1], DZ[k, 2] = join(c, s, a0, a1, a2)
                d0, d1, d2 = join(c, s, 0.5 * x0, 0.5 * x1, x2)
                DS[k, 0], DS[k, 1], DS[k, 2] = -keep * RS[k, 0] - d0, -keep * RS[k, 1] - d1, -keep * RS[k, 2] - d2
                step = min(step, reach(S[k, 0], S[k, 1], S[k, 2], DS[k, 0], DS[k, 1], DS[k, 2]))
                step = min(step, reach(Z[k, 0], Z[k, 1], Z[k, 2], DZ[k, 0], DZ[k, 1], DZ[k, 2]))
            if corrector == 0:
                sigma = max(1e-3, (1.0 - min(1.0, step)) ** 3)
                keep, centre, second = 1.0 - sigma, sigma * gap / degree, 1.0
        step = min(1.0, 0.99 * step)
        if not step > 1e-12:
            return _restored(kept, v, report) if close else NUMERICAL
        for i in range(f):
            v[i] += step * dv[i]
        for r in range(nb):
            su[r] += step * dsu[r]
            sl[r] += step * dsl[r]
            zu[r] += step * dzu[r]
            zl[r] += step * dzl[r]
        for k in range(nk):
            for i in range(3):
                S[k, i] += step * DS[k, i]
                Z[k, i] += step * DZ[k, i]
        iteration += 1
