"""The input nearest to a proposed one under affine conditions and bounds."""

from __future__ import annotations

from collections.abc import Sequence

import daqp
import numpy as np

__all__ = ["on_half_space", "on_polytope"]

_SOFT = 1e6  # weight of a violated condition relative to the distance, squared


def on_half_space(
    v: Sequence[float], a: Sequence[float], b: float, lower: Sequence[float], upper: Sequence[float]
) -> tuple[list[float], bool]:
    """argmin |z - v|^2 with a'z >= b and bounds, v within them, in closed form; if infeasible, the largest a'z.

    z = clip(v + t a) for the least t >= 0 that satisfies the condition; a'z is piecewise linear in t, with a kink
    where an entry reaches its bound.

    Args:
        v: m numbers between the bounds.
        a: of the condition.
        b: of the condition.
        lower: m numbers.
        upper: m numbers.

    Returns:
        z, and whether it satisfies the condition.
    """
    short = b - sum(p * q for p, q in zip(a, v, strict=True))
    if short <= 0.0:
        return list(v), True
    room = [
        ((high - at if slope > 0.0 else low - at) / slope, slope)
        for slope, at, low, high in zip(a, v, lower, upper, strict=True)
        if slope != 0.0
    ]
    room.sort()
    gain, t = sum(slope * slope for _, slope in room), 0.0
    for end, slope in room:
        if gain > 0.0 and short <= gain * (end - t):
            t += short / gain
            moved = [min(max(at + t * s, low), high) for at, s, low, high in zip(v, a, lower, upper, strict=True)]
            return moved, True
        short -= gain * (end - t)
        gain, t = max(gain - slope * slope, 0.0), end
    most = [high if s > 0.0 else low if s < 0.0 else at for at, s, low, high in zip(v, a, lower, upper, strict=True)]
    return most, short <= 0.0


def on_polytope(
    v: np.ndarray, A: np.ndarray, b: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, bool, int]:
    """argmin |z - v|^2 with A z >= b and bounds, by DAQP; if infeasible, with the least squared violation.

    Args:
        v: (m,).
        A: (rows, m).
        b: (rows,).
        lower: (m,).
        upper: (m,).

    Returns:
        z (m,), whether it satisfies the conditions, and the solver's iterations.
    """
    m, rows = len(v), len(b)
    high, low = np.concatenate([upper, np.full(rows, 1e30)]), np.concatenate([lower, b])
    z, _, flag, info = daqp.solve(
        np.eye(m), -v, np.ascontiguousarray(A), high, low, np.zeros(m + rows, dtype=np.int32), primal_tol=1e-9
    )
    if flag >= 1:
        return np.asarray(z), True, int(info["iterations"])
    # With slack variables s: A z + s >= b.
    H, f = np.diag(np.concatenate([np.ones(m), np.full(rows, _SOFT)])), np.concatenate([-v, np.zeros(rows)])
    high = np.concatenate([upper, np.full(2 * rows, 1e30)])
    low = np.concatenate([lower, np.full(rows, -1e30), b])
    z, _, flag, info = daqp.solve(
        H, f, np.ascontiguousarray(np.hstack([A, np.eye(rows)])), high, low, np.zeros(m + 2 * rows, dtype=np.int32)
    )
    return (np.asarray(z)[:m] if flag >= 1 else v), False, int(info["iterations"])
