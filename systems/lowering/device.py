"""The place of arrays: with numpy, or on a device of torch behind numpy's own functions."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["fetched", "placed"]


def placed(x: np.ndarray, device: str | None) -> Any:
    """A copy on a device of torch, such as "cuda" or "cpu"; itself where no device is named."""
    if device is None:
        return x
    from systems.lowering.torch_array import TorchArray  # torch is optional and slow to import

    return TorchArray.on(device, x)


def fetched(x: Any) -> np.ndarray:
    """An array that :func:`placed` made, or that was computed from one, as an array of numpy."""
    return x if isinstance(x, np.ndarray) else np.asarray(x.numpy())
