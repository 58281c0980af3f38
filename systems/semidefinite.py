"""Tests whether matrices are symmetric and positive (semi)definite, independent of the units of their rows.

Each row and column is divided by the root of its diagonal entry, which makes a covariance the matrix of its
correlations: an eigenvalue relative to the largest entry says nothing of signals in small units.
"""

from __future__ import annotations

import numpy as np

__all__ = ["is_positive_definite", "is_positive_semidefinite", "is_symmetric"]

_ROUNDING = 1e-14  # of the largest entry, which computing a matrix may leave on its diagonal in place of zero
_OWN = 4.0 * float(np.finfo(float).eps)  # the same where the row has no other entry that it could come from
_TOLERANCE = 1e-9  # of scaled entries


def is_symmetric(matrix: np.ndarray) -> bool:
    """Whether a finite square matrix equals its transpose, up to rounding of each pair of rows."""
    scaled = _scaled(matrix, 0.0)
    return bool((np.abs(scaled - scaled.T) <= _TOLERANCE * np.maximum(1.0, np.abs(scaled))).all())


def is_positive_semidefinite(matrix: np.ndarray, noise: float = 0.0) -> bool:
    """Whether a finite symmetric matrix (n, n) has no negative eigenvalue, up to rounding of each of its rows.

    Args:
        matrix: to test.
        noise: error of each of its entries relative to the largest; default: 0 (a matrix that was given, not computed).
    """
    diagonal, largest = np.diag(matrix), float(np.abs(matrix).max(initial=0.0))
    alone = np.count_nonzero(matrix, axis=1) == (diagonal != 0)
    if (diagonal < -largest * np.maximum(noise, np.where(alone, _OWN, _ROUNDING))).any():
        return False
    return bool(np.linalg.eigvalsh(_scaled(matrix, noise)).min(initial=0.0) >= -_TOLERANCE)


def is_positive_definite(matrix: np.ndarray) -> bool:
    """Whether a finite symmetric matrix (n, n) has positive eigenvalues alone, which rounding cannot make zero."""
    if not (np.diag(matrix) > 0).all():
        return False
    least = np.linalg.eigvalsh(_scaled(matrix, 0.0)).min(initial=1.0)
    return bool(least > len(matrix) * np.finfo(float).eps)


def _scaled(matrix: np.ndarray, noise: float) -> np.ndarray:
    """The matrix with ones on its diagonal, an entry that rounding may have made zero or negative being replaced by
    that rounding."""
    diagonal, largest = np.diag(matrix), float(np.abs(matrix).max(initial=0.0))
    base = np.where(diagonal > 0, diagonal, max(noise, _ROUNDING) * largest) + noise * largest
    size = np.sqrt(np.where(base > 0, base, 1.0))
    scaled = matrix / np.outer(size, size)  # a product, since two divisions in turn round differently on either side
    np.fill_diagonal(scaled, 1.0)
    return np.asarray(scaled)
