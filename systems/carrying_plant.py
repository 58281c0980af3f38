"""Plants that carry another plant, whose parameters are theirs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import casadi as ca

from systems.plant import Plant

__all__ = ["CarryingPlant"]


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
