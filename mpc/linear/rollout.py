"""Rows of a condensed program at a point, by predicting its states instead of multiplying with the full matrix."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import scipy.sparse as sp

__all__ = ["Rollout"]


@final
class Rollout:
    """G s for the states and inputs s = T L^-T z of a condensed program: u_k = v_k - K_k x_k and
    x_{k+1} = A_k x_k + B_k u_k from x_0 = 0, v = L^-T z, and a steady state that is chosen with the plan.

    That takes horizon^2 multiplications for v and as many as the horizon has samples for the rest, where the product
    with the full matrix takes horizon^2 for every row of a stage.

    Args:
        A: (stages, n, n), of one stage where all are equal. B: (stages, n, m). K: (stages, m, n), zero where the
            prediction is without feedback.
        root: (d, d), L.
        G: (rows, variables), of s = (x_0, u_0, x_1, ..., x_N, steady state).
        steady: (n + m, p), of the steady state by its coordinates, the last of v; empty where there is none.
        horizon: number of samples.
    """

    def __init__(
        self,
        A: np.ndarray,
        B: np.ndarray,
        K: np.ndarray,
        root: np.ndarray,
        G: sp.csr_matrix,
        steady: np.ndarray,
        horizon: int,
    ) -> None:
        from mpc.linear.rolled import rolled  # numba is slow to import

        G = sp.csr_matrix(G)
        self._rolled, self._rows, self._horizon = rolled, G.shape[0], horizon
        parts = (A, B, K, root, steady, G.data, G.indices.astype(np.int64), G.indptr.astype(np.int64))
        self._parts: tuple[Any, ...] = tuple(np.ascontiguousarray(part) for part in parts)
        self(np.zeros(len(root)))  # loads it

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """(rows,) at the point (d,)."""
        value = np.empty(self._rows)
        self._rolled(z, self._horizon, *self._parts, value)
        return value
