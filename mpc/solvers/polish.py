"""One step from an approximate solution of a quadratic program to that of the active set it suggests.

That is a semismooth Newton step (Qi & Sun, 1993) on the natural map of
:func:`mpc.solvers.optimality.natural_residual`: a row is active where its multiplier is larger than the room to its
bound, and violated where it is soft and the difference exceeds its weight; the equations of that set are solved.
Of active rows that depend on each other, multipliers are changed as little as possible: another split between a soft
row and a hard one beside it would exceed the soft row's weight. Whether the result is better is for the caller to see.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numba import njit
from scipy.sparse.linalg import splu

__all__ = ["polished", "polished_unit"]

REGULARISATION = 1e-9  # of dependent rows, taken out again by refinement
REFINEMENTS = 4


def polished(
    H: sp.csr_matrix,
    A: sp.csr_matrix,
    weight: np.ndarray,
    f: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    value: np.ndarray,
    multipliers: np.ndarray,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Point (d,) and multipliers (rows,), or None where the equations cannot be solved.

    Args:
        H: (d, d).
        A: (rows, d).
        f: (d,).
        weight, lower, upper, multipliers: (rows,).
        value: A z, (rows,).
    """
    moved = value + multipliers
    side = np.where(moved >= upper, 1.0, np.where(moved <= lower, -1.0, 0.0))
    bound = np.where(side > 0, upper, np.where(side < 0, lower, 0.0))
    is_violated = (side != 0) & (np.abs(moved - bound) > weight)
    active = np.flatnonzero((side != 0) & ~is_violated)
    duals = np.zeros(len(weight))
    duals[is_violated] = (side * np.where(is_violated, weight, 0.0))[is_violated]
    duals[active] = multipliers[active]
    rows, d = A[active], len(f)
    matrix = sp.bmat([[H, rows.T], [rows, None]], format="csc")
    damping = np.append(np.zeros(d), np.full(len(active), REGULARISATION))
    right = np.append(-f - A.T @ duals, bound[active])
    try:
        factor = splu((matrix - sp.diags(damping)).tocsc())
    except RuntimeError:  # singular
        return None
    solution = factor.solve(right)
    for _ in range(REFINEMENTS):
        solution = solution + factor.solve(right - matrix @ solution)
    duals[active] += solution[d:]
    return solution[:d], duals


@njit(cache=True, nogil=True, error_model="numpy")
def polished_unit(A, weight, f, lower, upper, value, multipliers):  # type: ignore[no-untyped-def]
    """The same for H the identity and dense A in C order, compiled: it comes with many a control step."""
    rows, d = A.shape
    side, duals = np.zeros(rows), np.zeros(rows)
    active = np.zeros(rows, dtype=np.int64)
    count = 0
    force = -f
    for i in range(rows):
        moved = value[i] + multipliers[i]
        if moved >= upper[i]:
            side[i] = 1.0
        elif moved <= lower[i]:
            side[i] = -1.0
        else:
            continue
        bound = upper[i] if side[i] > 0 else lower[i]
        if abs(moved - bound) > weight[i]:
            duals[i] = side[i] * weight[i]
        else:
            active[count] = i
            count += 1
            duals[i] = multipliers[i]
        if duals[i] != 0.0:
            for j in range(d):
                force[j] -= duals[i] * A[i, j]
    gram, right = np.empty((count, count)), np.empty(count)
    for k in range(count):
        i = active[k]
        right[k] = -(upper[i] if side[i] > 0 else lower[i])
        for j in range(d):
            right[k] += A[i, j] * force[j]
        for q in range(k + 1):
            total = 0.0
            for j in range(d):
                total += A[i, j] * A[active[q], j]
            gram[k, q] = total
            gram[q, k] = total
    if count:
        y = _damped(gram, right)
        for k in range(count):
            duals[active[k]] += y[k]
            for j in range(d):
                force[j] -= y[k] * A[active[k], j]
    return force, duals


@njit(cache=True, nogil=True, error_model="numpy")
def _damped(gram, right):  # type: ignore[no-untyped-def]
    """A solution of gram y = right, gram positive semidefinite, by Cholesky factors of gram + regularisation."""
    n = len(right)
    root = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            total = gram[i, j] + (REGULARISATION * (1.0 + gram[i, i]) if i == j else 0.0)
            for k in range(j):
                total -= root[i, k] * root[j, k]
            root[i, j] = np.sqrt(max(total, 1e-300)) if i == j else total / root[j, j]
    y, rest = np.zeros(n), right.copy()
    for _ in range(REFINEMENTS + 1):
        step = rest.copy()
        for i in range(n):
            for k in range(i):
                step[i] -= root[i, k] * step[k]
            step[i] /= root[i, i]
        for i in range(n - 1, -1, -1):
            for k in range(i + 1, n):
                step[i] -= root[k, i] * step[k]
            step[i] /= root[i, i]
        y += step
        rest = right - gram @ y
    return y
