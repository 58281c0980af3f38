"""Predictions of many input sequences in compiled C."""

from __future__ import annotations

import ctypes
from typing import final

import casadi as ca
import numpy as np

from ctrl.export.code import fragment
from systems.lowering.c_backend import compiled_library

__all__ = ["CompiledRollouts"]


@final
class CompiledRollouts:
    """Computes :meth:`mpc.sampling.rollouts.Rollouts.many` in C, with the same results as numpy up to rounding.

    Args:
        sample, last: the functions of a sample and of the last state; see there.

    Raises:
        CompilerMissing: there is no C compiler, or it fails.
        NotLowerable: the task uses a function for which CasADi generates no C.
    """

    def __init__(self, sample: ca.Function, last: ca.Function) -> None:
        functions = sample, last
        self._opened = ctypes.CDLL(str(compiled_library(functions, more=fragment("mpc.sampling", "rollouts.c"))))
        self._n, self._m = sample.size1_in(0), sample.size1_in(1)
        most = [max(getattr(f, size)() for f in functions) for size in ("sz_arg", "sz_res", "sz_iw", "sz_w")]
        self._scratch = [np.zeros(2 * self._n + 2 * self._m + 3), *(np.zeros(size + 1) for size in most)]

    def __call__(
        self, x: np.ndarray, u: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray, p: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The inputs as applied (horizon, m, count), costs (count,) and violations (count,)."""
        horizon, _, count = u.shape
        applied, cost, violation = np.array(u, dtype=float, order="C"), np.empty(count), np.empty(count)
        x, x_ref, u_ref, p = (np.ascontiguousarray(a, dtype=float) for a in (x, x_ref, u_ref, p))
        sizes = map(ctypes.c_long, (horizon, self._n, self._m, p.shape[1], count))
        arrays = (x, applied, x_ref, u_ref, p, cost, violation, *self._scratch)
        self._opened.rollouts_many(*sizes, *(ctypes.c_void_p(a.ctypes.data) for a in arrays))
        return applied, cost, violation
