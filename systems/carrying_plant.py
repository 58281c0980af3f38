"""Plants that carry another plant, whose parameters are theirs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import casadi as ca

from systems.plant import Plant
from systems.signals import Signals

__all__ = ["CarryingPlant", "carried"]


class CarryingPlant(Plant, ABC):
    """A plant that is made of another, the inner plant, and has the parameters of that one."""

    @property
    @abstractmethod
    def inner(self) -> Plant:
        """The plant that is carried."""

    @abstractmethod
    def with_inner(self, plant: Plant) -> Self:
        """The same around another plant."""

    @property
    def parametrised(self) -> Plant:
        return self.inner.parametrised

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of the inner plant."""
        return self.inner.parameters

    def with_parameters(self, values: Mapping[str, float]) -> Self:
        return self.with_inner(self.inner.with_parameters(values))

    def symbolic(self, names: Sequence[str]) -> tuple[Self, Any]:
        plant, symbols = self.inner.symbolic(names)
        return (self.with_inner(plant) if len(names) else self), symbols

    def _expect_followed(self, f: ca.Function, parameters: Sequence[str]) -> None:
        self.inner.casadi(parameters)  # the parameters are read there alone

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return self.inner.limits()


def carried(around: Plant, plant: Plant) -> Plant:
    """A plant with what another adds to the one that it carries, such as previous inputs and signals known ahead; the
    plant itself if it has the same signals as the other one, or as none that is carried.

    Args:
        around: the plant of a task, transformed or not.
        plant: as it was before the transformations.
    """
    if not isinstance(around, CarryingPlant) or _declared(plant) == _declared(around):
        return plant
    inner = carried(around.inner, plant)
    return around.with_inner(inner) if _declared(inner) == _declared(around.inner) else plant


def _declared(plant: Plant) -> tuple[Signals, Signals, Signals]:
    return plant.state, plant.input, plant.disturbance
