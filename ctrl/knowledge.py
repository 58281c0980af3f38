"""A controller's objective, the data it was tuned on, and what it knows in advance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

__all__ = ["Knowledge", "knowledge_of", "restate"]


@final
@dataclass(frozen=True)
class Knowledge:
    """Three differences between controllers of one task that say nothing about the quality of their methods.

    A controller states them in an attribute ``knowledge``, which comparisons display.

    Args:
        objective: completes "minimises ...".
        tuning: completes "made from ...".
        foresight: completes "knows ...", about the reference in advance.
    """

    objective: str
    tuning: str
    foresight: str

    def __str__(self) -> str:
        return f"minimises {self.objective}; made from {self.tuning}; knows {self.foresight}"


def knowledge_of(controller: object) -> Knowledge | None:
    """The knowledge that a controller states; None if it states none.

    Args:
        controller: any.
    """
    said = getattr(controller, "_restated_knowledge", getattr(controller, "knowledge", None))
    return said if isinstance(said, Knowledge) else None


def restate(controller: object, knowledge: Knowledge) -> None:
    """Replaces what a controller states by what is known of how it was made, such as by tuning.

    Args:
        controller: any that takes attributes.
        knowledge: from now on.
    """
    controller._restated_knowledge = knowledge  # type: ignore[attr-defined]
