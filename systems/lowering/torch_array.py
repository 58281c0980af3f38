"""Torch tensors with numpy's interface, so that code written for numpy arrays runs unchanged on a GPU.

numpy dispatches calls to the types of their arguments (NEP 13 and 18), so code with ``np.maximum(a, b)`` need not be
written twice. Only double precision is supported. Sums, products, quotients and square roots are correctly
rounded on CPUs and GPUs alike. The other functions of CUDA's library are stated to be within 2 units in the last place
of the correctly rounded result, asinh and acosh within 3, by "extensive but not exhaustive tests, so they are not
guaranteed bounds" (NVIDIA, CUDA C++ Programming Guide 13.0, section 17.1, table 18). A proof on a GPU relies on that
table, as one on a CPU relies on the statements of its vendor; ``rounding.LIBRARY`` allows for four times as much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from numpy.lib.mixins import NDArrayOperatorsMixin

from systems.errors import InvalidValue

__all__ = ["MATRICES", "TorchArray"]

MATRICES = 1 << 15
"""Matrices per call for eigenvalues: cuSOLVER's batched solver fails on more than about 10^5."""

_UFUNCS = {
    "absolute": "abs",
    "bitwise_and": "bitwise_and",
    "bitwise_or": "bitwise_or",
    "invert": "bitwise_not",
    "not_equal": "ne",
    "equal": "eq",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "power": "pow",
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")},
}


@final
class TorchArray(NDArrayOperatorsMixin):
    """A tensor of doubles or of truth values on a device, with the interface of an array.

    Numpy arrays that are combined with it are moved to its device; only :meth:`numpy` moves data back.
    """

    __slots__ = ("t",)

    def __init__(self, t: torch.Tensor) -> None:
        if t.dtype not in (torch.float64, torch.bool, torch.int64):
            raise InvalidValue(f"a tensor of {t.dtype}; bounds need doubles")
        self.t = t

    @staticmethod
    def on(device: str, x: np.ndarray) -> TorchArray:
        """A copy of a numpy array on a device."""
        return TorchArray(torch.tensor(x, device=device))

    def numpy(self) -> np.ndarray:
        """The tensor as a numpy array."""
        return np.asarray(self.t.cpu().numpy())

    def _as_tensor(self, x: Any) -> Any:
        # Converted by numpy, for which a number is a double; torch would convert it to single precision.
        return x.t if isinstance(x, TorchArray) else torch.tensor(np.asarray(x), device=self.t.device)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (), **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            return NotImplemented
        rule = getattr(torch, _UFUNCS.get(ufunc.__name__, ufunc.__name__), None)
        if rule is None:
            return NotImplemented
        result = rule(*map(self._as_tensor, inputs))
        if out:
            out[0].t.copy_(result)
            return out[0]
        return TorchArray(result)

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        rule = _FUNCTIONS.get(func.__name__)
        return NotImplemented if rule is None else rule(self, *args, **kwargs)

    # ---- the interface of arrays ----

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.t.shape)

    @property
    def ndim(self) -> int:
        return self.t.ndim

    @property
    def T(self) -> TorchArray:
        return TorchArray(self.t.T)

    def __len__(self) -> int:
        return len(self.t)

    def __bool__(self) -> bool:
        return bool(self.t)

    def _key(self, key: Any) -> Any:
        if isinstance(key, tuple):
            return tuple(self._key(k) for k in key)
        return self._as_tensor(key) if isinstance(key, (TorchArray, np.ndarray)) else key

    def __getitem__(self, key: Any) -> TorchArray:
        return TorchArray(self.t[self._key(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.t[self._key(key)] = self._as_tensor(value)

    def reshape(self, *shape: Any) -> TorchArray:
        return TorchArray(self.t.reshape(*shape))

    def transpose(self, axes: Any) -> TorchArray:
        return TorchArray(self.t.permute(axes))

    def swapaxes(self, a: int, b: int) -> TorchArray:
        return TorchArray(self.t.swapaxes(a, b))

    def copy(self) -> TorchArray:
        return TorchArray(self.t.clone())

    def sum(self, axis: Any = None, keepdims: bool = False) -> TorchArray:
        return TorchArray(self.t.sum() if axis is None else self.t.sum(axis, keepdims))

    def max(self, axis: Any = None) -> TorchArray:
        return TorchArray(self.t.amax() if axis is None else self.t.amax(axis))

    def min(self, axis: Any = None) -> TorchArray:
        return TorchArray(self.t.amin() if axis is None else self.t.amin(axis))

    def all(self, axis: Any = None) -> TorchArray:
        return TorchArray(self.t.all() if axis is None else self.t.all(axis))

    def any(self, axis: Any = None) -> TorchArray:
        return TorchArray(self.t.any() if axis is None else self.t.any(axis))


def _copyto(like: TorchArray, to: TorchArray, value: Any, where: Any) -> None:
    to.t.copy_(torch.where(like._as_tensor(where), like._as_tensor(value), to.t))


def _eigh(like: TorchArray, x: TorchArray) -> tuple[TorchArray, TorchArray]:
    """Eigenvalues and eigenvectors of matrices (..., n, n), in batches that CUDA's solver accepts."""
    batch = x.t.shape[:-2]
    parts = [torch.linalg.eigh(part) for part in x.t.reshape(-1, *x.t.shape[-2:]).split(MATRICES)]
    values, vectors = (torch.cat([part[k] for part in parts]) for k in (0, 1))
    return TorchArray(values.reshape(*batch, *values.shape[1:])), TorchArray(
        vectors.reshape(*batch, *vectors.shape[1:])
    )


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": lambda like, *a: TorchArray(torch.where(*map(like._as_tensor, a))),
    "concatenate": lambda like, parts, axis=0: TorchArray(torch.cat([like._as_tensor(p) for p in parts], axis)),
    "stack": lambda like, parts, axis=0: TorchArray(torch.stack([like._as_tensor(p) for p in parts], axis)),
    "clip": lambda like, x, low, high: np.minimum(np.maximum(x, low), high),
    "broadcast_arrays": lambda like, *a: [TorchArray(t) for t in torch.broadcast_tensors(*map(like._as_tensor, a))],
    "broadcast_to": lambda like, x, shape: TorchArray(x.t.broadcast_to(shape)),
    "zeros_like": lambda like, x, dtype=None, shape=None: TorchArray(
        torch.zeros(
            x.shape if shape is None else shape, dtype=torch.bool if dtype is bool else x.t.dtype, device=x.t.device
        )
    ),
    "full_like": lambda like, x, value: TorchArray(torch.full_like(x.t, value)),
    "empty_like": lambda like, x, shape: TorchArray(x.t.new_empty(shape)),
    "copy": lambda like, x, order="K": TorchArray(x.t.contiguous()),
    "copyto": _copyto,
    "shape": lambda like, x: x.shape,
    "any": lambda like, x: x.any(),
    "all": lambda like, x: x.all(),
    "eigh": _eigh,
    "flatnonzero": lambda like, x: TorchArray(torch.nonzero(x.t.flatten())[:, 0]),
    "einsum": lambda like, rule, *a: TorchArray(torch.einsum(rule, *map(like._as_tensor, a))),
}
