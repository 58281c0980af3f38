"""A plant with the integral of an expression of its state as a further state: a distance travelled, a clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self, final

from systems.arguments import expect_arguments
from systems.carrying_plant import CarryingPlant
from systems.errors import InvalidValue, expect
from systems.expressions import column
from systems.plant import Plant
from systems.signals import Signal, Signals, Vector

__all__ = ["WithIntegral"]


@final
@dataclass(frozen=True)
class WithIntegral(CarryingPlant):
    """A plant with one more state, last, that nothing else depends on: guards of distances or times read it.

    Since the plant's own states do not depend on it, whatever is proved of the plant holds for this one, too.

    Args:
        plant: in continuous time.
        signal: the integral, such as ``Signal("travelled", "m")``.
        integrand: its time derivative, ``lambda plant, x: plant.progress(x)``; for a clock ``lambda plant, x: 1.0``.

    Raises:
        InvalidValue: a plant in discrete time, a signal that is not one, or an integrand that is not a function of two
            arguments.
    """

    plant: Plant
    signal: Signal
    integrand: Callable[[Any, Vector], Any]

    def __post_init__(self) -> None:
        expect(self.plant, Plant, "WithIntegral: plant", "such as RoadCar()")
        expect(self.signal, Signal, "WithIntegral: signal", 'such as Signal("travelled", "m")')
        expect_arguments(self.integrand, "plant, x", "WithIntegral: integrand")
        if self.plant.is_discrete:
            raise InvalidValue(
                f"{self.plant.name} is in discrete time, where there is nothing to integrate; add the sum to its step"
            )
        super().__post_init__()

    @property
    def inner(self) -> Plant:
        return self.plant

    def with_inner(self, plant: Plant) -> Self:
        return replace(self, plant=plant)

    @property
    def state(self) -> Signals:  # type: ignore[override]
        """Those of the plant, and the integral."""
        return Signals((*self.plant.state, self.signal))

    @property
    def input(self) -> Signals:  # type: ignore[override]
        """Those of the plant."""
        return self.plant.input

    @property
    def disturbance(self) -> Signals:  # type: ignore[override]
        """Those of the plant."""
        return self.plant.disturbance

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        own = Vector(self.plant.state, x.column[:-1], f"{self.plant.name} state")
        written = column(self.plant.ode(own, u, w), f"{self.plant.name}.ode", "one expression per state")
        return [*(written[i] for i in range(written.shape[0])), self.integrand(self.plant, own)]
