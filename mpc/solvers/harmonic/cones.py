"""Arithmetic of the 3-dimensional second-order cone {(t, a, b): sqrt(a^2 + b^2) <= t}, compiled.

Scaling of Nesterov & Todd (1997) in the formulas of Vandenberghe, The CVXOPT linear and quadratic cone program solvers
(2010), section 4: for s, z inside the cone a matrix W with W z = W^-1 s,

    W = beta [w0, w'; w, I + w w' / (1 + w0)],   w0^2 - |w|^2 = 1.

W^-2 has the eigenvectors (1, -w/|w|), (1, w/|w|) and the one across, with eigenvalues beta^-2 times k^2, k^-2 and 1,
where k = w0 + |w|. Near the boundary k grows without bound, and only products in these directions keep their accuracy.
"""

from __future__ import annotations

import math

from numba import njit

# Sums may be reordered, so that loops become vector instructions; NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "nsz"}

__all__ = [
    "FAST",
    "diamond",
    "inside",
    "join",
    "product",
    "quotient",
    "reach",
    "scale",
    "scaling",
    "spectrum",
    "split",
    "unscale",
]


@njit(nogil=True, error_model="numpy")
def inside(t: float, a: float, b: float) -> float:
    """t - |(a, b)|, positive in the interior."""
    return t - math.sqrt(a * a + b * b)


@njit(nogil=True, error_model="numpy")
def scaling(s0: float, s1: float, s2: float, z0: float, z1: float, z2: float) -> tuple[float, float, float, float]:
    """(beta, w0, w1, w2) of W for interior points s and z."""
    sa = math.sqrt(s1 * s1 + s2 * s2)
    za = math.sqrt(z1 * z1 + z2 * z2)
    sj = math.sqrt((s0 - sa) * (s0 + sa))
    zj = math.sqrt((z0 - za) * (z0 + za))
    dot = (s0 * z0 + s1 * z1 + s2 * z2) / (sj * zj)
    gamma = 0.5 / math.sqrt(0.5 * (1.0 + dot))
    w0 = gamma * (s0 / sj + z0 / zj)
    w1 = gamma * (s1 / sj - z1 / zj)
    w2 = gamma * (s2 / sj - z2 / zj)
    return math.sqrt(sj / zj), math.sqrt(1.0 + w1 * w1 + w2 * w2) if w0 > 0.0 else w0, w1, w2


@njit(nogil=True, error_model="numpy")
def scale(beta: float, w0: float, w1: float, w2: float, x0: float, x1: float, x2: float) -> tuple[float, float, float]:
    """W x."""
    dot = w1 * x1 + w2 * x2
    c = x0 + dot / (1.0 + w0)
    return beta * (w0 * x0 + dot), beta * (x1 + c * w1), beta * (x2 + c * w2)


@njit(nogil=True, error_model="numpy")
def unscale(
    beta: float, w0: float, w1: float, w2: float, x0: float, x1: float, x2: float
) -> tuple[float, float, float]:
    """W^-1 x."""
    dot = w1 * x1 + w2 * x2
    c = -x0 + dot / (1.0 + w0)
    return (w0 * x0 - dot) / beta, (x1 + c * w1) / beta, (x2 + c * w2) / beta


@njit(nogil=True, error_model="numpy")
def spectrum(beta: float, w0: float, w1: float, w2: float) -> tuple[float, float, float, float, float]:
    """Eigenvalues of W^-2 over the squared lengths of its eigenvectors, in the order of the text above;
    then w / |w|."""
    norm = math.sqrt(w1 * w1 + w2 * w2)
    b = 1.0 / (beta * beta)
    k = (w0 + norm) ** 2
    if norm > 0.0:
        return 0.5 * b * k, 0.5 * b / k, b, w1 / norm, w2 / norm
    return 0.5 * b, 0.5 * b, b, 1.0, 0.0


@njit(nogil=True, error_model="numpy")
def split(c: float, s: float, x0: float, x1: float, x2: float) -> tuple[float, float, float]:
    """Products of x with the three eigenvectors."""
    along = c * x1 + s * x2
    return x0 - along, x0 + along, c * x2 - s * x1


@njit(nogil=True, error_model="numpy")
def join(c: float, s: float, first: float, second: float, across: float) -> tuple[float, float, float]:
    """Sum of the three eigenvectors with these factors."""
    along = second - first
    return first + second, along * c - across * s, along * s + across * c


@njit(nogil=True, error_model="numpy")
def product(x0: float, x1: float, x2: float, y0: float, y1: float, y2: float) -> tuple[float, float, float]:
    """Jordan product of x and y."""
    return x0 * y0 + x1 * y1 + x2 * y2, x0 * y1 + y0 * x1, x0 * y2 + y0 * x2


@njit(nogil=True, error_model="numpy")
def quotient(x0: float, x1: float, x2: float, y0: float, y1: float, y2: float) -> tuple[float, float, float]:
    """The q with x o q = y, for x in the interior."""
    norm = math.sqrt(x1 * x1 + x2 * x2)
    determinant = (x0 - norm) * (x0 + norm)
    dot = x1 * y1 + x2 * y2
    q0 = (x0 * y0 - dot) / determinant
    c = (dot / x0 - y0) / determinant
    return q0, c * x1 + y1 / x0, c * x2 + y2 / x0


@njit(nogil=True, error_model="numpy")
def reach(s0: float, s1: float, s2: float, d0: float, d1: float, d2: float) -> float:
    """Largest step from the interior point s along d that stays in the cone, at most 1e30."""
    norm = math.sqrt(s1 * s1 + s2 * s2)
    root = math.sqrt((s0 - norm) * (s0 + norm))
    # In coordinates where s is (1, 0, 0) the step is 1 / (|d_vector| - d_scalar).
    b0, b1, b2 = s0 / root, s1 / root, s2 / root
    scalar = b0 * d0 - b1 * d1 - b2 * d2
    c = (scalar + d0) / (1.0 + b0)
    v1, v2 = d1 - c * b1, d2 - c * b2
    distance = (math.sqrt(v1 * v1 + v2 * v2) - scalar) / root
    return 1.0 / distance if distance > 1e-30 else 1e30


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
