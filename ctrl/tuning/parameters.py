"""What is tuned: factors of a task's weights, as a controller sees them, and settings within a range."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from systems import InvalidValue, Quadratic, Task, UnknownName
from systems.arguments import expect_number, is_whole

__all__ = ["Range", "reweighted", "tunable_weights"]


@final
@dataclass(frozen=True)
class Range:
    """The range of a setting. Whole ends mean whole numbers. Positive ends that are not whole are searched on a
    logarithmic scale.

    Args:
        low, high: ends, included.

    Raises:
        InvalidValue: not finite numbers in increasing order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        expect_number(self.low, "the lower end of a range")
        expect_number(self.high, "the upper end of a range", above=float(self.low))

    @property
    def is_whole(self) -> bool:
        """Whether it contains whole numbers only."""
        return is_whole(self.low) and is_whole(self.high)

    @property
    def is_logarithmic(self) -> bool:
        """Whether a factor, rather than a difference, is what matters."""
        return not self.is_whole and self.low > 0


def tunable_weights(task: Task) -> tuple[str, ...]:
    """The signals whose weights are tuned: all that have one but the first weighted input, since a common factor of all
    weights changes nothing. Empty unless the cost is :class:`systems.Quadratic`.

    Args:
        task: whose weights they are.
    """
    if not isinstance(task.cost, Quadratic):
        return ()
    Q, R, P = task.cost.matrices(task.plant)
    states = [name for i, name in enumerate(task.plant.state.names) if Q[i].any() or P[i].any()]
    inputs = [name for i, name in enumerate(task.plant.input.names) if R[i].any()]
    return (*states, *inputs[1:]) if inputs else tuple(states[1:])


def reweighted(task: Task, factors: Mapping[str, float]) -> Task:
    """The task with other weights: diag(s) Q diag(s), likewise R and P, where s is the square root of the factors.

    Args:
        task: with a quadratic cost.
        factors: positive, of the weights, by the name of a state or an input; 1 for those that are not named.

    Raises:
        InvalidValue: the cost is not :class:`systems.Quadratic`, or a factor is not positive.
        UnknownName: no such signal.
    """
    if all(factor == 1.0 for factor in factors.values()):
        return task
    cost, plant = task.cost, task.plant
    if not isinstance(cost, Quadratic):
        raise InvalidValue(
            f"task '{task.name}': its cost is {type(cost).__name__}, which has no weights by signal; expected Quadratic"
        )
    names = (*plant.state.names, *plant.input.names)
    for name, factor in factors.items():
        if name not in names:
            raise UnknownName.among(name, names, f"signal of {plant.name}")
        expect_number(factor, f"the factor of the weight of {name}", above=0.0, hint="such as 2")
    x, u = (np.sqrt([factors.get(name, 1.0) for name in s.names]) for s in (plant.state, plant.input))
    Q, R, P = cost.matrices(plant)
    scaled = Quadratic(np.outer(x, x) * Q, np.outer(u, u) * R, None if cost.P is None else np.outer(x, x) * P)
    return dataclasses.replace(task, cost=scaled)
