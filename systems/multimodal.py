"""Plants with other agents, each of which behaves in one of several modes that controllers do not know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from systems.arguments import expect_array, expect_name, expect_names
from systems.content import ByContent
from systems.errors import InvalidValue
from systems.plant import Plant

__all__ = ["Agent", "MultiModalPlant"]


@final
@dataclass(frozen=True, eq=False)
class Agent(ByContent):
    """An agent beside the controlled one. Its next state depends on its own states, its disturbances and its mode.

    Args:
        name: of the agent.
        state: names of its states in the plant.
        disturbance: names of its disturbances in the plant.
        modes: one mapping per mode: the values of the plant's parameters that select it.
        probabilities: of the modes before anything is measured, with sum 1.

    Raises:
        InvalidValue: no mode, or probabilities that do not fit the modes.
    """

    name: str
    state: Sequence[str]
    disturbance: Sequence[str]
    modes: Sequence[Mapping[str, float]]
    probabilities: Sequence[float]

    def __post_init__(self) -> None:
        expect_name(self.name, "the name of an agent")
        expect_names(self.state, f"agent '{self.name}': state")
        expect_names(self.disturbance, f"agent '{self.name}': disturbance")
        p = expect_array(self.probabilities, f"agent '{self.name}': probabilities", ("modes",))
        if not len(self.modes) or len(p) != len(self.modes) or (p <= 0).any() or abs(float(p.sum()) - 1.0) > 1e-9:
            raise InvalidValue(
                f"agent '{self.name}': {len(self.modes)} modes with the probabilities {np.asarray(p).tolist()}; "
                "expected one positive probability per mode, with sum 1"
            )


class MultiModalPlant(Plant, ABC):
    """A plant among whose states are those of agents that do not react to the controlled one."""

    @property
    @abstractmethod
    def agents(self) -> tuple[Agent, ...]:
        """The agents; a mode is a value of the plant's parameters."""
