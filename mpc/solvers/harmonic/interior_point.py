"""Projection onto boxes and second-order cones by a primal-dual interior-point method, compiled.

    min |v|^2 / 2   subject to   -hl <= G v <= hu  (first rows),   H - G v in cones  (last rows)

Every harmonic, tracking or equality MPC is this problem in the coordinates of :mod:`mpc.harmonic.conic_program`: v is
the distance from the optimum without inequality constraints. A row appears once although it is bounded on two sides, so
an iteration costs one product G'WG, one Cholesky factorisation and two solves. Predictor and corrector of Mehrotra
(1992), scaling of Nesterov & Todd (1997), formulas of Vandenberghe (2010).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from mpc.solvers.harmonic.cones import BLIND, FAST, combine, complementarity, normalise, scaling, steepest
from mpc.solvers.harmonic.dense import factor, normal, solve, times, transposed

__all__ = ["INFEASIBLE", "MAX_ITERATIONS", "NUMERICAL", "SOLVED", "interior_point", "space_needed"]

SOLVED, MAX_ITERATIONS, INFEASIBLE, NUMERICAL = 0, 1, 2, 3
GAP = 1e-10  # duality gap relative to max(1, |v|^2 / 2); the gap bounds |v - v*|^2 / 2
FINE = 1e-13  # gap that is small enough whatever the error of the input seems to be
ACCURATE = 1e-7  # error of the input, in half-widths of its bounds, as the last step lets it be estimated
LOOSE = 1e-8  # gap of a point that still counts as solved where rounding lets it come no closer
FEASIBLE = 1e-9  # violation of the rows, in half-widths of their bounds
STATIONARY = 1e-8  # error of the gradient relative to max(1, |v|), which bounds |v - v*| too
REFINE = 1e-4  # relative gap below which the linear systems are solved with iterative refinement
REFINED = 1e-10  # error at which it ends
CAP = 1e15  # of the weights in the factorised matrix, lest they drown the rest of it; refinement makes up for that
RADIUS = 1e7  # infeasible means: no v of this length is feasible
CENTRING = 1e-3  # least centring, so that a pair that is nearly zero twice does not fall behind the others


def space_needed(f: int, wide: int, boxed: int, cones: int) -> int:
    """Numbers of workspace for :func:`interior_point`."""
    return 2 * f * wide + f * f + 5 * f + 2 + 7 * wide + 18 * boxed + 42 * cones


@njit(nogil=True, error_model="numpy", fastmath=BLIND)
def _largest(x):  # type: ignore[no-untyped-def]
    """max |x|."""
    largest = 0.0
    for k in range(x.shape[0]):
        largest = max(largest, abs(x[k]))
    return largest


@njit(nogil=True, error_model="numpy", fastmath=BLIND)
def _largest_ratio(d, inverse):  # type: ignore[no-untyped-def]
    """max -d inverse, at least 0."""
    largest = 0.0
    for k in range(d.shape[0]):
        largest = max(largest, -d[k] * inverse[k])
    return largest


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def _lift(su, sl, S, mu, ml):  # type: ignore[no-untyped-def]
    """Moves a point along the centre of the cones, into their interior, where it is not there already."""
    depth = 1e30
    for r in range(su.shape[0]):
        if mu[r] > 0.0:
            depth = min(depth, su[r])
        if ml[r] > 0.0:
            depth = min(depth, sl[r])
    for k in range(S.shape[1]):
        depth = min(depth, S[0, k] - math.sqrt(S[1, k] * S[1, k] + S[2, k] * S[2, k]))
    if depth < 1e-8:
        for r in range(su.shape[0]):
            su[r] += mu[r] * (1.0 - depth)
            sl[r] += ml[r] * (1.0 - depth)
        for k in range(S.shape[1]):
            S[0, k] += 1.0 - depth


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def _stacked(zu, zl, Z, p):  # type: ignore[no-untyped-def]
    """p such that the dual residual is v + G'p."""
    nb, nk = zu.shape[0], Z.shape[1]
    for r in range(nb):
        p[r] = zu[r] - zl[r]
    for i in range(3):
        for k in range(nk):
            p[nb + i * nk + k] = Z[i, k]


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def _eigenrows(G, E, nb, X):  # type: ignore[no-untyped-def]
    """Writes the last rows of X, with G' W^-2 G = X'W X: for every cone the three eigenvectors of W^-2 times its rows.

    Rows with weights keep the product accurate however large the weights become.
    """
    nk = E.shape[1]
    for i in range(G.shape[0]):
        for k in range(nk):
            j0, j1, j2 = G[i, nb + k], G[i, nb + nk + k], G[i, nb + 2 * nk + k]
            along = E[3, k] * j1 + E[4, k] * j2
            X[i, nb + k], X[i, nb + nk + k] = j0 - along, j0 + along
            X[i, nb + 2 * nk + k] = E[3, k] * j2 - E[4, k] * j1


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def _weigh(weight, X, Y):  # type: ignore[no-untyped-def]
    """Y = W X."""
    for i in range(X.shape[0]):
        for r in range(X.shape[1]):
            Y[i, r] = weight[r] * X[i, r]


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def _target(keep, centre, second, ru, rl, su, sl, zu, zl, dsu, dsl, dzu, dzl, iu, il, mu, ml, gu, gl, g):  # type: ignore[no-untyped-def]
    """The constant part of dz of the box rows, per side and summed."""
    for r in range(su.shape[0]):
        a = keep * ru[r] * zu[r] - su[r] * zu[r] - second * dsu[r] * dzu[r] + centre
        b = keep * rl[r] * zl[r] - sl[r] * zl[r] - second * dsl[r] * dzl[r] + centre
        gu[r], gl[r] = mu[r] * a * iu[r], ml[r] * b * il[r]
        g[r] = gu[r] - gl[r]


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def _restored(kept, v, report):  # type: ignore[no-untyped-def]
    """The best point again."""
    f = v.shape[0]
    for i in range(f):
        v[i] = kept[i]
    report[1], report[2] = kept[f], kept[f + 1]
    return SOLVED


@njit(nogil=True, error_model="numpy", fastmath=FAST)
def interior_point(G, first, start, hu, hl, mu, ml, H, reach, v, p, space, max_iterations, report):  # type: ignore[no-untyped-def]
    """Solves one problem; returns a status code, writes v and the report [iterations, residual, gap].

    Args:
        G: (f, wide), transposed: box rows, padded; then the first, the second and the third rows of all cones; padded.
        first: (f,), for :func:`mpc.solvers.harmonic.dense.normal`.
        start: (f, f), factor of I + G'G, where a row counts once for every bound.
        hu, hl: (boxed,), upper bound and minus lower bound.
        mu, ml: (boxed,), 1 where the bound exists, else 0.
        H: (3, cones).
        reach: how far |v| = 1 moves the first input, in half-widths of its bounds.
        v: (f,), written.
        p: (wide,), written: the multiplier, with v = -G'p.
        space: workspace.
        report: (3,), written.
    """
    f, wide = G.shape
    nb, nk = hu.shape[0], H.shape[1]
    X, Y = space[: f * wide].reshape(f, wide), space[f * wide : 2 * f * wide].reshape(f, wide)
    at = 2 * f * wide
    P = space[at : at + f * f].reshape(f, f)
    at += f * f
    V = space[at : at + 4 * f].reshape(4, f)
    dv, rx, correction, change = V[0], V[1], V[2], V[3]
    kept = space[at + 4 * f : at + 5 * f + 2]
    at += 5 * f + 2
    R = space[at : at + 7 * wide].reshape(7, wide)
    y, x, g, aim, weight, capped, error = R[0], R[1], R[2], R[3], R[4], R[5], R[6]
    at += 7 * wide
    B = space[at : at + 18 * nb].reshape(18, nb)
    at += 18 * nb
    su, sl, zu, zl, dsu, dsl, dzu, dzl, ru, rl = B[0], B[1], B[2], B[3], B[4], B[5], B[6], B[7], B[8], B[9]
    gu, gl, iu, il, ju, jl, wu, wl = B[10], B[11], B[12], B[13], B[14], B[15], B[16], B[17]
    C = space[at : at + 42 * nk].reshape(42, nk)
    S, Z, DS, DZ, RS, L, T = C[0:3], C[3:6], C[6:9], C[9:12], C[12:15], C[15:18], C[18:21]
    US, UZ, W, E, F = C[21:26], C[26:31], C[31:37], C[37:42], C[18:21]
    # What a failed solve left behind must not reach this one: zero times NaN is NaN.
    for r in range(wide):
        g[r] = aim[r] = weight[r] = capped[r] = p[r] = 0.0
    for i in range(f):
        for r in range(wide):
            X[i, r] = Y[i, r] = 0.0
        for r in range(nb):
            X[i, r] = G[i, r]
    degree = float(nk)
    for r in range(nb):
        degree += mu[r] + ml[r]
        dsu[r] = dsl[r] = dzu[r] = dzl[r] = 0.0
    report[0], report[1], report[2] = 0.0, np.inf, np.inf

    # Start at the least-squares solution of G v = h, with s and z lifted into the cones (Vandenberghe, section 5.3).
    _stacked(hu, hl, H, p)
    transposed(G, p, v)
    solve(start, v)
    times(G, v, y)
    for r in range(nb):
        zu[r], zl[r] = mu[r] * (y[r] - hu[r]), ml[r] * (-y[r] - hl[r])
        su[r], sl[r] = 1.0 - mu[r] - zu[r], 1.0 - ml[r] - zl[r]
    for i in range(3):
        for k in range(nk):
            Z[i, k] = y[nb + i * nk + k] - H[i, k]
            S[i, k] = -Z[i, k]
    _lift(su, sl, S, mu, ml)
    _lift(zu, zl, Z, mu, ml)

    iteration, close, before, moved = 0, False, np.inf, np.inf
    while True:
        _stacked(zu, zl, Z, p)
        transposed(G, p, rx)
        certificate = norm = gap = hz = weights = 0.0
        for i in range(f):
            certificate += rx[i] * rx[i]
            rx[i] += v[i]
            norm += v[i] * v[i]
        times(G, v, y)
        for r in range(nb):
            ru[r], rl[r] = mu[r] * (su[r] + y[r] - hu[r]), ml[r] * (sl[r] - y[r] - hl[r])
            gap += su[r] * zu[r] + sl[r] * zl[r]
            hz += hu[r] * zu[r] + hl[r] * zl[r]
            weights += zu[r] + zl[r]
        violation = max(_largest(ru), _largest(rl))
        for i in range(3):
            for k in range(nk):
                RS[i, k] = S[i, k] + y[nb + i * nk + k] - H[i, k]
                gap += S[i, k] * Z[i, k]
                hz += H[i, k] * Z[i, k]
                weights += abs(Z[i, k])
            violation = max(violation, _largest(RS[i]))
        size = max(1.0, 0.5 * norm)
        dual = _largest(rx) / math.sqrt(size)
        report[0], report[1], report[2] = iteration, max(violation, dual), gap / size
        finite = math.isfinite(violation + dual) and math.isfinite(gap) and math.isfinite(size)
        if finite and violation <= FEASIBLE and dual <= 10.0 * STATIONARY and gap <= LOOSE * size:
            # Errors fall as the gap does, or as its root where a pair vanishes twice; so this much is left at most.
            left = reach * moved * math.sqrt(gap / before)
            if dual <= STATIONARY and (gap <= FINE * size or (gap <= GAP * size and left <= ACCURATE)):
                return SOLVED
            close = True
            for i in range(f):
                kept[i] = v[i]
            kept[f], kept[f + 1] = report[1], report[2]
        elif close:
            # Rounding has won; the point before was as good as can be had.
            return _restored(kept, v, report)
        if not finite:
            report[1] = report[2] = np.inf
            return NUMERICAL
        # z is a certificate: h'z < G'z v, so v violates a constraint, for every v within the radius; and by more than a
        # point that counts as feasible may.
        if hz < 0.0 and -hz > RADIUS * math.sqrt(certificate) + FEASIBLE * weights:
            return INFEASIBLE
        if iteration >= max_iterations:
            return _restored(kept, v, report) if close else MAX_ITERATIONS

        for r in range(nb):
            iu[r], il[r] = 1.0 / su[r], 1.0 / sl[r]
            wu[r], wl[r] = zu[r] * iu[r], zl[r] * il[r]
            weight[r] = wu[r] + wl[r]
            # Where a bound is missing z is zero, and so is dz.
            ju[r], jl[r] = mu[r] / (zu[r] + 1.0 - mu[r]), ml[r] / (zl[r] + 1.0 - ml[r])
        normalise(S, US)
        normalise(Z, UZ)
        scaling(US, UZ, Z, W, E, L)
        for i in range(3):
            for k in range(nk):
                weight[nb + i * nk + k] = E[i, k]
        heaviest = _largest(weight)
        # Multipliers of an infeasible problem grow without bound, as they should.
        cap = CAP if gap < REFINE * size else np.inf
        for r in range(wide):
            capped[r] = weight[r] / (1.0 + weight[r] / cap)
        _eigenrows(G, E, nb, X)
        _weigh(capped, X, Y)
        normal(X, Y, first, P)
        if not factor(P):
            return _restored(kept, v, report) if close else NUMERICAL
        keep, centre, second, step = 1.0, 0.0, 0.0, 0.0
        for corrector in range(2):
            # The right-hand side, and dz = g + W^-2 G dv; that of the cones as factors of the eigenvectors of W^-2.
            _target(keep, centre, second, ru, rl, su, sl, zu, zl, dsu, dsl, dzu, dzl, iu, il, mu, ml, gu, gl, g)
            if corrector == 0:
                for i in range(3):
                    for k in range(nk):
                        T[i, k] = RS[i, k] - S[i, k]  # W (lambda \\ lambda o lambda) = W lambda = s
            else:
                complementarity(centre, second, W, L, DS, DZ, T)
                for i in range(3):
                    for k in range(nk):
                        T[i, k] = keep * RS[i, k] - T[i, k]
            for k in range(nk):
                along = E[3, k] * T[1, k] + E[4, k] * T[2, k]
                g[nb + k], g[nb + nk + k] = E[0, k] * (T[0, k] - along), E[1, k] * (T[0, k] + along)
                g[nb + 2 * nk + k] = E[2, k] * (E[3, k] * T[2, k] - E[4, k] * T[1, k])
            transposed(X, g, dv)
            for i in range(f):
                dv[i] = -keep * rx[i] - dv[i]
            solve(P, dv)
            times(X, dv, y)
            # dz = g + W^-2 x; where weights are capped, x stands for X dv and differs from it until it is refined.
            for r in range(wide):
                x[r] = y[r] / (1.0 + weight[r] / cap)
            refinements = 2 if gap < REFINE * size else 0
            while refinements > 0:
                for r in range(wide):
                    aim[r] = g[r] + weight[r] * x[r]
                transposed(X, aim, correction)
                for i in range(f):
                    correction[i] = -keep * rx[i] - dv[i] - correction[i]
                if not (heaviest > 1e-2 * CAP or _largest(correction) > REFINED * size):
                    break
                for r in range(wide):
                    error[r] = x[r] - y[r]
                    aim[r] = capped[r] * error[r]
                transposed(X, aim, change)
                for i in range(f):
                    change[i] += correction[i]
                solve(P, change)
                for i in range(f):
                    dv[i] += change[i]
                times(X, change, aim)
                for r in range(wide):
                    y[r] += aim[r]
                    x[r] += (aim[r] - error[r]) / (1.0 + weight[r] / cap)
                refinements -= 1
            for r in range(nb):
                dzu[r], dzl[r] = gu[r] + x[r] * wu[r], gl[r] - x[r] * wl[r]
                dsu[r], dsl[r] = mu[r] * (-keep * ru[r] - y[r]), ml[r] * (-keep * rl[r] + y[r])
            for k in range(nk):
                F[0, k], F[1, k], F[2, k] = 0.5 * y[nb + k], 0.5 * y[nb + nk + k], y[nb + 2 * nk + k]
            combine(E, F, DS)  # G dv
            for i in range(3):
                for k in range(nk):
                    DS[i, k] = -keep * RS[i, k] - DS[i, k]
                    F[i, k] = g[nb + i * nk + k] + E[i, k] * x[nb + i * nk + k]
            combine(E, F, DZ)
            longest = max(_largest_ratio(dsu, iu), _largest_ratio(dsl, il))
            longest = max(longest, _largest_ratio(dzu, ju), _largest_ratio(dzl, jl))
            longest = max(longest, steepest(US, DS), steepest(UZ, DZ))
            step = 1.0 / max(longest, 1e-30)
            if corrector == 0:
                # Where the whole predictor can be taken, nothing binds that was not known to bind.
                sigma = max(1e-6 if step > 0.9999 else CENTRING, (1.0 - min(1.0, step)) ** 3)
                keep, centre = 1.0 - sigma, sigma * gap / degree
                # After a very short predictor its second-order term misleads, and the steps may cycle.
                second = 1.0 if step > 0.1 else step
        # Nearly full steps are taken fully: near the end they square the gap.
        step = min(1.0, step * max(0.99, min(1.0 - 1e-6, step)))
        if not step > 1e-12:
            return _restored(kept, v, report) if close else NUMERICAL
        before, moved = gap, 0.0
        for i in range(f):
            v[i] += step * dv[i]
            moved += (step * dv[i]) ** 2
        moved = math.sqrt(moved)
        for r in range(nb):
            su[r] += step * dsu[r]
            sl[r] += step * dsl[r]
            zu[r] += step * dzu[r]
            zl[r] += step * dzl[r]
        for i in range(3):
            for k in range(nk):
                S[i, k] += step * DS[i, k]
                Z[i, k] += step * DZ[i, k]
        iteration += 1
