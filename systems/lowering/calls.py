"""Functions that CasADi does not expand, evaluated by CasADi itself on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import casadi as ca
import numpy as np

__all__ = ["call"]

_CHUNK = 256  # points evaluated in one call


@lru_cache(maxsize=64)
def _many(function: ca.Function) -> ca.Function:
    return function.map(_CHUNK)


def call(function: ca.Function, output: int, arguments: Sequence[Any]) -> np.ndarray:
    """One output entry of a function, at many points at once.

    Args:
        output: number of the entry among all outputs, each in column-major order.
        arguments: arrays that broadcast to the shape of the batch, one for each entry of all inputs.

    Returns:
        An array of the shape of the batch; NaN where CasADi cannot evaluate the function.
    """
    arrays = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in arguments)) if arguments else [np.zeros(())]
    shape, flat = arrays[0].shape, np.array([a.ravel() for a in arrays])
    result = np.empty(flat.shape[1])
    for start in range(0, flat.shape[1], _CHUNK):
        block = flat[:, start : start + _CHUNK]
        count = block.shape[1]
        padded = (
            np.concatenate([block, np.repeat(block[:, -1:], _CHUNK - count, axis=1)], axis=1) if count > 1 else block
        )
        result[start : start + count] = _entry(function if count == 1 else _many(function), function, padded, output)[
            :count
        ]
    return result.reshape(shape)


def _entry(evaluate: ca.Function, function: ca.Function, columns: np.ndarray, output: int) -> np.ndarray:
    inputs, row = [], 0
    for i in range(function.n_in()):
        rows = function.nnz_in(i)
        sparsity = ca.repmat(function.sparsity_in(i), 1, columns.shape[1])
        inputs.append(ca.DM(sparsity, columns[row : row + rows].T.ravel()))
        row += rows
    try:
        outputs = evaluate.call(inputs)
    except RuntimeError:
        return np.full(columns.shape[1], np.nan)
    for i, value in enumerate(outputs):
        rows = function.nnz_out(i)
        if output < rows:
            return np.array(value.nonzeros()).reshape(columns.shape[1], rows)[:, output]
        output -= rows
    raise IndexError(output)
