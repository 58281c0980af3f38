"""Linear algebra with outward-rounded intervals: matrix products and definiteness, for batches with the batch first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from systems.arithmetic.interval import Interval

__all__ = ["congruence", "least_eigenvalue", "matvec", "product", "quadratic_form", "reshape", "total", "transpose"]

Operand = Interval | NDArray[np.float64]


def reshape(x: Interval, shape: tuple[int, ...]) -> Interval:
    """The same entries in another shape."""
    return x.moved(lambda a: a.reshape(shape))


def transpose(x: Interval) -> Interval:
    """The last two axes exchanged."""
    return x.moved(lambda a: a.swapaxes(-1, -2))


def total(x: Interval) -> Interval:
    """Sum over the last axis."""
    if x.shape[-1] == 0:
        return Interval(np.zeros(x.shape[:-1]), np.zeros(x.shape[:-1]))
    result = x[..., 0]
    for k in range(1, x.shape[-1]):
        result = result + x[..., k]
    return result


def matvec(a: Operand, x: Operand) -> Interval:
    """a x for (..., r, k) and (..., k)."""
    return total(Interval.of(a) * Interval.of(x)[..., None, :])


def product(a: Operand, b: Operand) -> Interval:
    """a b for (..., r, k) and (..., k, c)."""
    return total(Interval.of(a)[..., :, None, :] * transpose(Interval.of(b))[..., None, :, :])


def quadratic_form(P: NDArray[np.float64], x: Interval) -> Interval:
    """x'Px over (..., n), P symmetric; squares are enclosed as such, so the bounds are sharp for a diagonal P."""
    n = len(P)
    terms = [x[..., i].sq() * P[i, i] for i in range(n)]
    terms += [x[..., i] * x[..., j] * (2.0 * P[i, j]) for i in range(n) for j in range(i) if P[i, j] != 0]
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def congruence(M: Interval) -> tuple[NDArray[np.float64], Interval]:
    """T and an enclosure of T M T' for symmetric matrices M (..., n, n), with T M T' about the identity.

    T comes from a floating-point eigendecomposition, whose accuracy does not matter: the enclosure of T M T' is
    computed for the T that is returned. Where M is not finite, T is zero.
    """
    middle = np.where(np.isfinite(M.lo) & np.isfinite(M.hi), M.mid, np.nan)
    middle = 0.5 * (middle + middle.swapaxes(-1, -2))
    finite = np.asarray(np.isfinite(middle).all(axis=(-1, -2)))
    values, vectors = np.linalg.eigh(np.where(finite[..., None, None], middle, 0.0))
    usable = np.asarray(finite & (values > 0).all(axis=-1))
    scale = 1.0 / np.sqrt(np.where(usable[..., None], values, 1.0))
    T = np.where(usable[..., None, None], (vectors * scale[..., None, :]).swapaxes(-1, -2), 0.0)
    return T, product(product(T, M), T.swapaxes(-1, -2))


def least_eigenvalue(M: Interval) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """T (..., n, n) and a lower bound (...,) of the eigenvalues of T M T' for every symmetric matrix in M.

    By Gershgorin's discs. A positive bound proves that every symmetric matrix in M is positive definite (Sylvester's
    law of inertia; T is then regular, since T'y = 0 would make y'T M T'y = 0).
    """
    T, G = congruence(M)
    n = G.shape[-1]
    diagonal = np.eye(n, dtype=bool)
    others = total(abs(Interval(np.where(diagonal, 0.0, G.lo), np.where(diagonal, 0.0, G.hi))))
    i = np.arange(n)
    return T, (G[..., i, i] - others).lo.min(axis=-1)
