"""What a controller was made with: what it minimises, what it was tuned on, what it knows in advance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

__all__ = ["Knowledge", "knowledge_of"]


@final
@dataclass(frozen=True)
class Knowledge:
    """The three ways in which controllers of one task can differ without being better or worse as methods.

    A controller gives it in an attribute ``knowledge``; comparisons show it.

    Args:
        objective: what it minimises, as the end of "minimises ...".
        tuning: from which data it was made, as the end of "made from ...".
        foresight: what of the reference it knows in advance, as the end of "knows ...".
    """

    objective: str
    tuning: str
    foresight: str

    def __str__(self) -> str:
        return f"minimises {self.objective}; made from {self.tuning}; knows {self.foresight}"


def knowledge_of(controller: object) -> Knowledge | None:
    """What a controller says of itself; None where it does not.

    Args:
        controller: any.
    """
    said = getattr(controller, "knowledge", None)
    return said if isinstance(said, Knowledge) else None
