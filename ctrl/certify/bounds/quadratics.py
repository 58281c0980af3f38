"""Upper bounds on the maximum of quadratics over boxes, valid under rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import final

import numpy as np

from systems.arithmetic.balls import Ball, upward

__all__ = ["Terms", "by_terms", "greatest", "sharpened"]

_CORNERS = 6  # with at most this many disturbances, all corners are examined


@final
@dataclass(frozen=True, eq=False)
class Terms:
    """The greatest value of quadratics over |d| <= half, bounded term by term, with the data for a sharper bound.

    Args:
        upper: (b,), the bound.
        top: (b,), an upper bound on the constant.
        wide: (b,), a bound on the difference from the thin quadratic.
        scale: (b,), the size of all terms, to which rounding errors are proportional.
        linear: (b, k), of the thin quadratic linear d + d'(hessian) d / 2.
        hessian: (b, k, k).
        half: (b, k).
    """

    upper: np.ndarray
    top: np.ndarray
    wide: np.ndarray
    scale: np.ndarray
    linear: np.ndarray
    hessian: np.ndarray
    half: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All arrays, in order."""
        return self.upper, self.top, self.wide, self.scale, self.linear, self.hessian, self.half


def by_terms(constant: Ball, s: Ball, G: Ball, error: np.ndarray, half: np.ndarray) -> Terms:
    """Bounds of constant + s d + d'G d / 2 + error over |d| <= half."""
    wide = error + (half * (s.rad + 0.5 * _times(G.rad, half))).sum(-1)
    top = constant.hi
    scale = np.abs(top) + (half * (np.abs(s.mid) + 0.5 * _times(np.abs(G.mid), half))).sum(-1) + wide
    upper = top + _by_terms(s.mid, G.mid, half) + wide + 2.0**-40 * scale + 1e-290
    return Terms(upper, top, wide, scale, s.mid, G.mid, half)


def sharpened(terms: Terms, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The bounds by the tangent at the maximiser d of the thin quadratic where these are lower, and d.

    A concave part lies below its tangent; otherwise the largest eigenvalue bounds the difference. Directions beyond
    the first n are disturbances, which are not divided, so for these the maximum is computed corner by corner.
    """
    tangent, y = _by_corners(terms.linear, terms.hessian, terms.half, n)
    return np.minimum(terms.upper, terms.top + tangent + terms.wide + 2.0**-40 * terms.scale + 1e-290), y


def greatest(terms: Terms, sharpen: Callable[..., Sequence[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Upper bounds (b,), sharpened where they show no decrease, and an approximate maximiser d (b, k) of the thin part.

    Args:
        sharpen: returns both for the arrays of some terms, like :func:`sharpened`.
    """
    upper, y = terms.upper, np.zeros_like(terms.half)
    rest = np.flatnonzero(~(upper < 0) & np.isfinite(upper))
    if len(rest):
        upper = upper.copy()
        upper[rest], y[rest] = sharpen(*(x[rest] for x in terms.arrays))
    return upper, y


def _by_terms(s: np.ndarray, G: np.ndarray, half: np.ndarray) -> np.ndarray:
    """An upper bound of s d + d'G d / 2 over |d| <= half, to the rounding of :func:`_by_tangent`."""
    size, i = np.abs(G), np.arange(half.shape[-1])
    size[..., i, i] = np.maximum(G[..., i, i], 0.0)
    return (half * (np.abs(s) + 0.5 * _times(size, half))).sum(-1)


def _by_corners(s: np.ndarray, G: np.ndarray, half: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`_by_tangent`, at every corner of the directions beyond the first n.

    A function that is convex in each of these by itself is largest at a corner. Where the quadratic is concave in one,
    what makes it convex is added first.
    """
    q = half.shape[-1] - n
    if not 0 < q <= _CORNERS:
        return _by_tangent(s, G, half)
    i = np.arange(n, n + q)
    concavity = (0.5 * np.maximum(-G[:, i, i], 0.0) * half[:, n:] ** 2).sum(-1)
    upper, y = np.full_like(half[:, 0], -np.inf), np.zeros_like(half)
    across = 0.5 * (G[:, :n, n:] + G[:, n:, :n].swapaxes(-1, -2))
    for signs in product((-1.0, 1.0), repeat=q):
        w = half[:, n:] * np.array(signs)
        constant = (w * (s[:, n:] + 0.5 * _times(G[:, n:, n:], w))).sum(-1)
        linear, hessian, room = s[:, :n] + _times(across, w), G[:, :n, :n], half[:, :n]
        tangent, x = _by_tangent(linear, hessian, room)
        bound = constant + np.minimum(tangent, _by_terms(linear, hessian, room))
        y = np.where((bound > upper)[:, None], np.concatenate([x, w], axis=1), y)
        upper = np.maximum(upper, bound)
    return upper + concavity, y


def _by_tangent(s: np.ndarray, G: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An upper bound, to a rounding of 2^-41 of the sum of all terms' sizes, of s d + d'G d / 2 over |d| <= half."""
    n = half.shape[-1]
    y = np.zeros_like(half)
    for _ in range(3):
        for i in range(n):
            t = s[:, i] + (G[:, i, :] * y).sum(-1)
            curvature = -G[:, i, i]
            step = np.where(curvature > 0, t / np.where(curvature > 0, curvature, 1.0), np.sign(t) * np.inf)
            step = np.where(t == 0, 0.0, step)
            y[:, i] = np.clip(y[:, i] + step, -half[:, i], half[:, i])
    t = s + _times(G, y)
    value = (y * (s + 0.5 * _times(G, y))).sum(-1)
    tangent = value + (np.abs(t) * half - t * y).sum(-1)
    # d'Gd - its tangent = (d - y)'G(d - y) / 2 <= lambda |(d - y) / half|^2 / 2, lambda of the matrix scaled by half.
    scaled = half[:, :, None] * G * half[:, None, :]
    reach = np.minimum(1.0 + np.abs(y) / np.maximum(half, 1e-300), 2.0)
    return tangent + 0.5 * _largest_eigenvalue(scaled) * (reach * reach).sum(-1), y


def _largest_eigenvalue(M: np.ndarray) -> np.ndarray:
    """Upper bounds (b,) on max(0, largest eigenvalue) of symmetric matrices (b, n, n), for any accuracy of eigh.

    With nearly orthonormal columns of Q, x = Q z: x'Mx = z'(Q'MQ)z <= l |z|^2 by Gershgorin's discs, and |z|^2 is at
    most |x|^2 / (1 - |Q'Q - I|).
    """
    n = M.shape[-1]
    symmetric = 0.5 * (M + M.swapaxes(-1, -2))
    usable = np.isfinite(symmetric).all(axis=(-1, -2))
    Q = np.linalg.eigh(np.where(usable[:, None, None], symmetric, 0.0))[1]
    turned = (Ball.of(Q.swapaxes(-1, -2)) @ (Ball.of(symmetric) @ Ball.of(Q))).interval
    gram = (Ball.of(Q.swapaxes(-1, -2)) @ Ball.of(Q)) - Ball.of(np.eye(n))
    i = np.arange(n)
    size = np.maximum(np.abs(turned.lo), np.abs(turned.hi))
    others = size.sum(-1) - size[:, i, i]
    largest = (turned.hi[:, i, i] + upward(others)).max(-1)
    defect = gram.size.sum(-1).max(-1)
    bound = np.maximum(largest, 0.0) / (1.0 - defect) * (1.0 + 2.0**-50)
    return np.where(usable & (defect < 0.5), bound, np.inf)


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return (matrix @ vector[..., None])[..., 0]
