"""CPU threads and subnormal numbers while a learner computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["quick_arithmetic"]


@contextmanager
def quick_arithmetic(threads: int) -> Iterator[None]:
    """Context in which torch uses this number of CPU threads and flushes subnormal numbers to zero.

    Tails of the activation's derivative reach subnormal numbers, and then a product takes several times as long. Both
    settings are global; their previous values are restored.
    """
    before, flushed = torch.get_num_threads(), _flushes_subnormals()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        torch.set_num_threads(before)


def _flushes_subnormals() -> bool:
    """Whether this thread flushes subnormal numbers: torch can set this but not report it, so a product shows it."""
    return float(torch.tensor(torch.finfo(torch.float32).tiny) * 0.5) == 0.0
