"""The prediction of a condensed program at a point, compiled."""

from __future__ import annotations

import numpy as np

from systems.verified_cache import compiled

__all__ = ["rolled"]


@compiled(fastmath={"reassoc", "contract", "nsz"})
def rolled(z, horizon, A, B, K, root, steady, values, columns, ends, value):  # type: ignore[no-untyped-def]
    """Writes G s; see :class:`mpc.linear.rollout.Rollout`.

    Args:
        z: (d,).
        values, columns, ends: of G, as of a scipy matrix of compressed rows.
        value: (rows,), written.
    """
    n, m = B.shape[1], B.shape[2]
    v = z.copy()
    for j in range(len(v) - 1, -1, -1):
        v[j] /= root[j, j]
        a = v[j]
        for i in range(j):
            v[i] -= a * root[j, i]
    k = n + m
    s = np.zeros(horizon * k + n + steady.shape[0])
    for t in range(horizon):
        x, u, ahead = s[t * k : t * k + n], s[t * k + n : (t + 1) * k], s[(t + 1) * k : (t + 1) * k + n]
        a, b, f = A[t % len(A)], B[t % len(B)], K[t % len(K)]
        for i in range(m):
            total = v[t * m + i]
            for j in range(n):
                total -= f[i, j] * x[j]
            u[i] = total
        for i in range(n):
            total = 0.0
            for j in range(n):
                total += a[i, j] * x[j]
            for j in range(m):
                total += b[i, j] * u[j]
            ahead[i] = total
    last = horizon * k + n
    for i in range(steady.shape[0]):
        for j in range(steady.shape[1]):
            s[last + i] += steady[i, j] * v[horizon * m + j]
    for i in range(len(value)):
        total = 0.0
        for j in range(ends[i], ends[i + 1]):
            total += values[j] * s[columns[j]]
        value[i] = total
