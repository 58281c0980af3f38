"""Simplex method for linear programs with few variables and many rows, compiled; answers come with certificates."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["BOUNDED", "EMPTY", "STOPPED", "UNBOUNDED", "bound", "scales", "simplex"]

BOUNDED, UNBOUNDED, EMPTY, STOPPED = 0, 1, 2, 3

REDUCED_COST = 1e-12  # reduced cost, relative to the terms it is the sum of, that still counts as zero
PIVOT = 1e-10  # smallest pivot, relative to the largest entry of its column
REFACTOR = 25  # pivots between two factorisations of the basis


@njit(cache=True, nogil=True, error_model="numpy")
def scales(H):  # type: ignore[no-untyped-def]
    """Powers of two, so that scaling is exact, which bring the largest entry of every row and column of H near one."""
    rows, n = H.shape
    row_scale, column_scale = np.ones(rows), np.ones(n)
    for _ in range(3):
        for j in range(rows):
            largest = 0.0
            for i in range(n):
                largest = max(largest, abs(H[j, i]) * column_scale[i])
            if 0.0 < largest < math.inf:
                row_scale[j] = 2.0 ** -math.floor(math.log2(largest))
        for i in range(n):
            largest = 0.0
            for j in range(rows):
                largest = max(largest, abs(H[j, i]) * row_scale[j])
            if 0.0 < largest < math.inf:
                column_scale[i] = 2.0 ** -math.floor(math.log2(largest))
    return row_scale, column_scale


@njit(cache=True, nogil=True, error_model="numpy")
def simplex(H, h, c):  # type: ignore[no-untyped-def]
    """max c'x subject to H x <= h, by the primal simplex method on its dual, min h'y, H'y = c, y >= 0.

    Two phases with one artificial variable for each entry of c; largest reduced cost, and Bland's rule (1977) while
    the objective stands still. The basis has as many rows as there are variables, however many constraints there are.

    Args:
        H: (rows, n), C-contiguous, its entries of similar size; see :func:`scales`. h: (rows,), finite. c: (n,).

    Returns:
        How it ended, x (n,), y (rows,). BOUNDED: a maximiser and its multipliers. UNBOUNDED: x is a ray, H x <= 0 and
        c'x > 0 (the set may be empty all the same). EMPTY: y shows it (Farkas), H'y = 0, y >= 0 and h'y < 0. STOPPED:
        no answer.
    """
    rows, n = H.shape
    basis = rows + np.arange(n)  # from ``rows`` on: artificial variables
    sign = np.where(c >= 0.0, 1.0, -1.0)
    inverse = np.diag(sign)
    weights = np.abs(c)  # of the basis, the y of its rows
    floor_h = 1e-14 * np.abs(h).max() if rows else 0.0
    floor_c = 1e-11 * np.abs(c).max() if n else 0.0
    in_basis = np.zeros(rows, dtype=np.bool_)
    y = np.zeros(rows)
    cost = np.zeros(n)
    w = np.zeros(n)
    banned = np.zeros(rows, dtype=np.bool_)  # rows whose reduced cost turned out to be rounding
    for phase in (1, 2):
        stalled, since, fresh = 0, 0, False
        for _ in range(200 + 20 * (n + rows)):
            for k in range(n):
                cost[k] = (1.0 if phase == 1 else 0.0) if basis[k] >= rows else (0.0 if phase == 1 else h[basis[k]])
            x = np.zeros(n)
            for k in range(n):
                if cost[k] != 0.0:
                    for i in range(n):
                        x[i] += cost[k] * inverse[k, i]
            enter, best = -1, 0.0
            for j in range(rows):
                if in_basis[j] or banned[j]:
                    continue
                own = 0.0 if phase == 1 else h[j]
                value, size = own, abs(own)
                for i in range(n):
                    part = H[j, i] * x[i]
                    value -= part
                    size += abs(part)
                if value < -REDUCED_COST * size - (0.0 if phase == 1 else floor_h) and value < best:
                    enter, best = j, value
                    if stalled > n + 5:
                        break  # Bland: the first one
            if enter < 0:
                if since and not fresh:
                    if not _factor(H, c, basis, sign, inverse, weights):
                        return STOPPED, x, y
                    fresh, since = True, 0
                    continue
                break
            largest = 0.0
            for k in range(n):
                w[k] = 0.0
                for i in range(n):
                    w[k] += inverse[k, i] * H[enter, i]
                largest = max(largest, abs(w[k]))
            least = math.inf
            for k in range(n):
                if phase == 2 and basis[k] >= rows:
                    if abs(w[k]) > PIVOT * largest:
                        least = 0.0  # an artificial variable must not leave zero
                elif w[k] > PIVOT * largest:
                    least = min(least, max(weights[k], 0.0) / w[k])
            if least == math.inf:
                if since and not fresh:
                    if not _factor(H, c, basis, sign, inverse, weights):
                        return STOPPED, x, y
                    fresh, since = True, 0
                    continue
                if phase == 1:
                    banned[enter] = True
                    continue
                y[:] = 0.0
                y[enter] = 1.0
                for k in range(n):
                    if basis[k] < rows:
                        y[basis[k]] = max(-w[k], 0.0)
                return EMPTY, x, y
            # Of all that block the step, the one with the largest pivot; under Bland's rule, the first.
            leave = -1
            for k in range(n):
                blocks = False
                if phase == 2 and basis[k] >= rows:
                    blocks = abs(w[k]) > PIVOT * largest
                elif w[k] > PIVOT * largest:
                    blocks = max(weights[k], 0.0) / w[k] <= least * (1.0 + 1e-12)
                if blocks:
                    if leave < 0:
                        leave = k
                    elif stalled > n + 5:
                        if basis[k] < basis[leave]:
                            leave = k
                    elif abs(w[k]) > abs(w[leave]):
                        leave = k
            banned[:] = False
            stalled = stalled + 1 if -best * least <= 1e-14 else 0
            step = max(weights[leave], 0.0) / w[leave]
            if basis[leave] < rows:
                in_basis[basis[leave]] = False
            basis[leave], in_basis[enter] = enter, True
            for i in range(n):
                inverse[leave, i] /= w[leave]
            for k in range(n):
                if k != leave:
                    weights[k] -= step * w[k]
                    for i in range(n):
                        inverse[k, i] -= w[k] * inverse[leave, i]
            weights[leave] = step
            since, fresh = since + 1, False
            if since >= REFACTOR:
                if not _factor(H, c, basis, sign, inverse, weights):
                    return STOPPED, x, y
                since = 0
        else:
            return STOPPED, x, y
        if phase == 1:
            left = 0.0
            for k in range(n):
                if basis[k] >= rows:
                    left += abs(weights[k])
            if left > floor_c:
                return UNBOUNDED, x, y
    for k in range(n):
        if basis[k] < rows:
            y[basis[k]] = max(weights[k], 0.0)
    return BOUNDED, x, y


@njit(cache=True, nogil=True, error_model="numpy")
def _factor(H, c, basis, sign, inverse, weights):  # type: ignore[no-untyped-def]
    """The inverse of the basis by Gauss-Jordan elimination, and its weights; false where it is singular."""
    rows, n = H.shape
    matrix = np.zeros((n, n))  # a basic row is a column here
    for k in range(n):
        if basis[k] < rows:
            for i in range(n):
                matrix[i, k] = H[basis[k], i]
        else:
            matrix[basis[k] - rows, k] = sign[basis[k] - rows]
    work = matrix.copy()
    inverse[:] = np.eye(n)
    for k in range(n):
        p = k
        for i in range(k + 1, n):
            if abs(work[i, k]) > abs(work[p, k]):
                p = i
        if not abs(work[p, k]) > 1e-13:
            return False
        if p != k:
            for i in range(n):
                work[k, i], work[p, i] = work[p, i], work[k, i]
                inverse[k, i], inverse[p, i] = inverse[p, i], inverse[k, i]
        pivot = work[k, k]
        for i in range(n):
            work[k, i] /= pivot
            inverse[k, i] /= pivot
        for j in range(n):
            if j != k and work[j, k] != 0.0:
                factor = work[j, k]
                for i in range(n):
                    work[j, i] -= factor * work[k, i]
                    inverse[j, i] -= factor * inverse[k, i]
    for k in range(n):
        weights[k] = 0.0
        for i in range(n):
            weights[k] += inverse[k, i] * c[i]
    # One step of iterative refinement.
    rest = c.copy()
    for i in range(n):
        for k in range(n):
            rest[i] -= matrix[i, k] * weights[k]
    for k in range(n):
        for i in range(n):
            weights[k] += inverse[k, i] * rest[i]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def bound(c, H, h, rounding, feasible):  # type: ignore[no-untyped-def]
    """The largest c'x over H x <= h where the answer of :func:`simplex` is an optimum by the check of
    ``systems.linear_programs._bounded``; NaN otherwise.

    Args:
        c: (n,). H: (rows, n), C-contiguous. h: (rows,), finite. rounding, feasible: tolerances of that check.
    """
    rows, n = H.shape
    row, column = scales(H)
    c, h = c * column, h * row
    scaled = np.empty((rows, n))
    for j in range(rows):
        for i in range(n):
            scaled[j, i] = H[j, i] * row[j] * column[i]
    status, x, y = simplex(scaled, h, c)
    if status != BOUNDED:
        return math.nan
    largest_x = largest_c = largest_left = largest_terms = 0.0
    value = reached = sizes = 0.0
    for j in range(rows):
        y[j] = max(y[j], 0.0)
        value += h[j] * y[j]
        sizes += abs(h[j]) * y[j]
    for i in range(n):
        combined, terms = 0.0, 0.0
        for j in range(rows):
            combined += y[j] * scaled[j, i]
            terms += y[j] * abs(scaled[j, i])
        left = abs(c[i] - combined)
        value += left * abs(x[i])
        reached += c[i] * x[i]
        sizes += abs(c[i]) * abs(x[i])
        largest_left, largest_terms = max(largest_left, left), max(largest_terms, terms)
        largest_x, largest_c = max(largest_x, abs(x[i])), max(largest_c, abs(c[i]))
    if not largest_left <= rounding * (largest_c + largest_terms):
        return math.nan
    for j in range(rows):
        at, size = 0.0, abs(h[j])
        for i in range(n):
            at += scaled[j, i] * x[i]
            size += abs(scaled[j, i]) * abs(x[i])
        if not at - h[j] <= feasible * size + rounding * largest_x:
            return math.nan
    if not value - reached <= feasible * sizes + rounding * largest_x * largest_c:
        return math.nan
    return value
