"""Requirements of a constraint: hard, soft with a penalty, with a probability, or within a budget of violations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from systems.arguments import expect_choice, expect_number

__all__ = ["Budget", "Chance", "Hard", "Requirement", "Soft"]


@dataclass(frozen=True)
class Hard:
    """The constraint must hold at every sample."""


@dataclass(frozen=True)
class Soft:
    """The constraint may be violated at a penalty: ``weight`` times the violation (exact penalty, L1) per sample.

    Args:
        weight: a positive number, cost per unit of violation and sample.
    """

    weight: float

    def __post_init__(self) -> None:
        expect_number(self.weight, "soft weight", above=0.0)


@dataclass(frozen=True)
class Chance:
    """The constraint must hold with at least this probability at every sample.

    Args:
        probability: between 0 and 1, both excluded.
    """

    probability: float

    def __post_init__(self) -> None:
        expect_number(self.probability, "probability", above=0.0, below=1.0, hint="such as 0.9")


@dataclass(frozen=True)
class Budget:
    """Bounds the expected violation, summed over a run or discounted.

    Args:
        limit: the largest expected sum, at least 0.
        per: "episode" for the sum over a run, "discounted" for the discounted sum.
        of: what is summed: "steps", the number of violated samples, or "excess", max(0, g) of the largest g;
            default: "steps".
    """

    limit: float
    per: Literal["episode", "discounted"]
    of: Literal["steps", "excess"] = "steps"

    def __post_init__(self) -> None:
        expect_number(self.limit, "budget", least=0.0)
        expect_choice(self.per, "per", ("episode", "discounted"))
        expect_choice(self.of, "of", ("steps", "excess"))


Requirement = Hard | Soft | Chance | Budget
"""Any of these."""
