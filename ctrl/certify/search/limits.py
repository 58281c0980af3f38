"""Limits of a search for a proof, and the device on which it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

__all__ = ["Effort", "SearchLimits"]


@final
@dataclass(frozen=True)
class SearchLimits:
    """Limits of a search for a proof, and the device on which it runs.

    Args:
        boxes: examined at most; default: 2,000,000.
        seconds: of wall time; default: 60.
        device: of torch, on which boxes are examined, such as "cuda"; default: numpy. Laws made of regions and networks
            with GELU need numpy.
    """

    boxes: int = 2_000_000
    seconds: float = 60.0
    device: str | None = None


Effort = SearchLimits  # its name before
