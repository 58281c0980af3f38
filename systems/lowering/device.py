"""Location of arrays: numpy arrays, or tensors on a torch device that numpy's functions accept."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["fetched", "placed"]


def placed(x: np.ndarray, device: str | None) -> Any:
    """A copy on a torch device, such as "cuda" or "cpu"; the array itself if no device is named."""
    if device is None:
        return x
    from systems.lowering.torch_array import TorchArray  # torch is optional and slow to import

    return TorchArray.on(device, x)


def fetched(x: Any) -> np.ndarray:
    """A result of :func:`placed`, or an array computed from one, as a numpy array."""
    return x if isinstance(x, np.ndarray) else np.asarray(x.numpy())
