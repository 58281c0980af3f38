"""A controller's objective, the data it was tuned on, and what it knows in advance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

__all__ = ["Knowledge", "Restatable", "knowledge_of", "restate"]


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


class Restatable(Protocol):
    """A controller whose maker knows more than it does itself, such as that its weights were tuned.

    Args:
        restated_knowledge: replaces its own ``knowledge``; set by :func:`restate` only.
    """

    restated_knowledge: Knowledge


def knowledge_of(controller: object) -> Knowledge | None:
    """The knowledge that a controller states, or that its maker restated; None if there is none.

    Args:
        controller: any.
    """
    stated = getattr(controller, "restated_knowledge", getattr(controller, "knowledge", None))
    return stated if isinstance(stated, Knowledge) else None


def restate(controller: Restatable, knowledge: Knowledge) -> None:
    """Replaces what a controller states by what its maker knows, such as that it was tuned.

    Args:
        controller: any that takes attributes.
        knowledge: to state from now on.
    """
    controller.restated_knowledge = knowledge
