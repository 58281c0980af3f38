"""Arithmetic of many 3-dimensional second-order cones {(t, a, b): sqrt(a^2 + b^2) <= t} at once, compiled.

Points are arrays (3, cones), so that the loops over the cones become vector instructions. Scaling of Nesterov & Todd
(1997) in the formulas of Vandenberghe, The CVXOPT linear and quadratic cone program solvers (2010), section 4: for s, z
inside the cone a matrix W with W z = W^-1 s,

    W = beta [w0, w'; w, I + w w' / (1 + w0)],   w0^2 - |w|^2 = 1.

W^-2 has the eigenvectors (1, -w/|w|), (1, w/|w|) and the one across, with eigenvalues beta^-2 times k^2, k^-2 and 1,
where k = w0 + |w|. Near the boundary k grows without bound, and only products in these directions keep their accuracy.
"""

from __future__ import annotations

import math

from numba import njit

__all__ = ["BLIND", "FAST", "combine", "complementarity", "diamond", "normalise", "scaling", "steepest"]

# Sums may be reordered, so that loops become vector instructions; NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "nsz"}
BLIND = FAST | {"nnan"}  # for maxima, where NaN is caught elsewhere


@njit(nogil=True, error_model="numpy")
def normalise(S, U):  # type: ignore[no-untyped-def]
    """U (5, cones): 1 / root, the point over its root, and 1 / (1 + its first entry), root^2 being t^2 - a^2 - b^2."""
    for k in range(S.shape[1]):
        norm = math.sqrt(S[1, k] * S[1, k] + S[2, k] * S[2, k])
        inverse = 1.0 / math.sqrt((S[0, k] - norm) * (S[0, k] + norm))
        first = S[0, k] * inverse
        U[0, k], U[1, k], U[2, k], U[3, k] = inverse, first, S[1, k] * inverse, S[2, k] * inverse
        U[4, k] = 1.0 / (1.0 + first)


@njit(nogil=True, error_model="numpy", fastmath=BLIND)
def steepest(U, D):  # type: ignore[no-untyped-def]
    """The inverse of the largest step along D (3, cones) that stays in the cones, at least 0, from the point of U."""
    steepness = 0.0
    for k in range(D.shape[1]):
        # In coordinates where the point is (root, 0, 0) the step is root / (|d_vector| - d_scalar).
        scalar = U[1, k] * D[0, k] - U[2, k] * D[1, k] - U[3, k] * D[2, k]
        c = (scalar + D[0, k]) * U[4, k]
        a, b = D[1, k] - c * U[2, k], D[2, k] - c * U[3, k]
        steepness = max(steepness, (math.sqrt(a * a + b * b) - scalar) * U[0, k])
    return steepness


@njit(nogil=True, error_model="numpy")
def scaling(US, UZ, Z, W, E, L):  # type: ignore[no-untyped-def]
    """Writes the scaling of the cones and what follows from it.

    Args:
        US, UZ: (5, cones), slacks and multipliers as :func:`normalise` leaves them.
        Z: (3, cones), multipliers.
        W: (6, cones), written: beta, 1 / beta, w0, w1, w2, 1 / (1 + w0).
        E: (5, cones), written: eigenvalues of W^-2 over the squared lengths of its eigenvectors, and w / |w|.
        L: (3, cones), written: lambda = W z.
    """
    for k in range(Z.shape[1]):
        dot = US[1, k] * UZ[1, k] + US[2, k] * UZ[2, k] + US[3, k] * UZ[3, k]
        gamma = 0.5 / math.sqrt(0.5 * (1.0 + dot))
        w1, w2 = gamma * (US[2, k] - UZ[2, k]), gamma * (US[3, k] - UZ[3, k])
        square = w1 * w1 + w2 * w2
        norm, w0 = math.sqrt(square), math.sqrt(1.0 + square)
        ratio = US[0, k] / UZ[0, k]
        inverse = math.sqrt(ratio)
        beta = 1.0 / inverse
        stretch = (w0 + norm) * (w0 + norm)
        over = 1.0 / max(norm, 1e-300)
        W[0, k], W[1, k], W[2, k], W[3, k], W[4, k], W[5, k] = beta, inverse, w0, w1, w2, 1.0 / (1.0 + w0)
        E[0, k], E[1, k], E[2, k] = 0.5 * ratio * stretch, 0.5 * ratio / stretch, ratio
        E[3, k], E[4, k] = w1 * over, w2 * over
        along = w1 * Z[1, k] + w2 * Z[2, k]
        c = Z[0, k] + along * W[5, k]
        L[0, k], L[1, k], L[2, k] = beta * (w0 * Z[0, k] + along), beta * (Z[1, k] + c * w1), beta * (Z[2, k] + c * w2)


@njit(nogil=True, error_model="numpy")
def complementarity(centre, second, W, L, DS, DZ, T):  # type: ignore[no-untyped-def]
    """T = W (lambda \\ (lambda o lambda + second (W^-1 ds) o (W dz) - centre e)), what the corrector has to remove."""
    for k in range(L.shape[1]):
        beta, inverse, w0, w1, w2, q = W[0, k], W[1, k], W[2, k], W[3, k], W[4, k], W[5, k]
        along = w1 * DS[1, k] + w2 * DS[2, k]
        c = along * q - DS[0, k]
        a0, a1, a2 = inverse * (w0 * DS[0, k] - along), inverse * (DS[1, k] + c * w1), inverse * (DS[2, k] + c * w2)
        along = w1 * DZ[1, k] + w2 * DZ[2, k]
        c = along * q + DZ[0, k]
        b0, b1, b2 = beta * (w0 * DZ[0, k] + along), beta * (DZ[1, k] + c * w1), beta * (DZ[2, k] + c * w2)
        p0 = second * (a0 * b0 + a1 * b1 + a2 * b2) - centre
        p1, p2 = second * (a0 * b1 + b0 * a1), second * (a0 * b2 + b0 * a2)
        l0, l1, l2 = L[0, k], L[1, k], L[2, k]
        norm = math.sqrt(l1 * l1 + l2 * l2)
        determinant = (l0 - norm) * (l0 + norm)
        dot = l1 * p1 + l2 * p2
        c = (dot / l0 - p0) / determinant
        r0, r1, r2 = l0 + (l0 * p0 - dot) / determinant, l1 + c * l1 + p1 / l0, l2 + c * l2 + p2 / l0
        along = w1 * r1 + w2 * r2
        c = r0 + along * q
        T[0, k], T[1, k], T[2, k] = beta * (w0 * r0 + along), beta * (r1 + c * w1), beta * (r2 + c * w2)


@njit(nogil=True, error_model="numpy")
def combine(E, F, D):  # type: ignore[no-untyped-def]
    """D = sum of the eigenvectors of W^-2 with the factors F (3, cones)."""
    for k in range(F.shape[1]):
        along = F[1, k] - F[0, k]
        D[0, k] = F[0, k] + F[1, k]
        D[1, k] = along * E[3, k] - F[2, k] * E[4, k]
        D[2, k] = along * E[4, k] + F[2, k] * E[3, k]


@njit(nogil=True, error_model="numpy")
def diamond(mean: float, a: float, b: float, low: float, high: float) -> tuple[float, float, float]:
    """Projection onto |(a, b)| <= min(mean - low, high - mean).

    Projecting onto the two cones one after the other is exact, because their faces are orthogonal (Krupa, Limon,
    Bemporad & Alamo, 2022).
    """
    norm = math.sqrt(a * a + b * b)
    for sign, bound in ((1.0, low), (-1.0, high)):
        if math.isinf(bound):
            continue
        room = sign * (mean - bound)
        if norm <= room:
            continue
        if norm <= -room:
            mean, a, b, norm = bound, 0.0, 0.0, 0.0
            continue
        shrunk = 0.5 * (room + norm)
        mean = bound + sign * shrunk
        if norm > 0.0:
            a, b = a * shrunk / norm, b * shrunk / norm
        norm = shrunk
    return mean, a, b
