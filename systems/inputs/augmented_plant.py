"""Plants that contain another plant and the states of its actuators."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import casadi as ca
import numpy as np

from systems.carrying_plant import CarryingPlant
from systems.discretise import Discretisation
from systems.errors import InvalidValue
from systems.expressions import column
from systems.forecast import Forecast
from systems.plant import Plant
from systems.references import Reference, Sinusoid
from systems.signals import Signals, Vector

__all__ = ["AugmentedPlant", "SampledPlant", "expect_free", "inputs_before", "part"]


def part(declared: Signals, *vectors: Vector) -> Vector:
    """The signals ``declared``, by name, out of one or several vectors."""
    entries = [next(v[name] for v in vectors if name in v.names) for name in declared.names]
    return Vector(declared, ca.vertcat(*entries) if entries else ca.SX(0, 1), "state or input")


class AugmentedPlant(CarryingPlant, ABC):
    """A plant whose states are those of an inner plant, followed by states through which its inputs pass."""

    @property
    @abstractmethod
    def added(self) -> Signals:
        """The states that follow those of the inner plant."""

    def added_reference(self, reference: Reference, k: np.ndarray) -> np.ndarray:
        """Reference of the added states at the samples ``k`` (...): (..., added)."""
        raise NotImplementedError

    def input_reference(self, reference: Reference, k: np.ndarray, dt: float) -> np.ndarray:
        """Reference of the inputs at the samples ``k`` (...), ``dt`` seconds apart: (..., m)."""
        return reference.at(self.inner, k)[1]

    def acting(self, x: Vector, u: Vector) -> Vector:
        """The input that acts on the inner plant just before a state ``x``, under the input ``u`` of the previous
        sample."""
        return part(self.inner.input, u, x)

    @property
    def state(self) -> Signals:  # type: ignore[override]
        return Signals((*self.inner.state, *self.added))

    @property
    def input(self) -> Signals:  # type: ignore[override]
        return self.inner.input

    @property
    def disturbance(self) -> Signals:  # type: ignore[override]
        return self.inner.disturbance

    @property
    def forecast(self) -> Forecast | None:
        return self.inner.forecast

    @property
    def moves(self) -> bool:
        """Whether the reference of the added states moves where that of the inner plant is constant."""
        return False

    @property
    def name(self) -> str:
        return self.inner.name

    def split(self, x: Vector) -> tuple[Vector, Vector]:
        """States of the inner plant, and the added ones."""
        return part(self.inner.state, x), part(self.added, x)


class SampledPlant(AugmentedPlant):
    """An augmented plant with memory from sample to sample.

    It is discrete by nature: the integrator of ``sampling`` advances the inner plant, with inputs held in between.
    """

    sampling: Discretisation

    @property
    def inner(self) -> Plant:
        return self.sampling.plant

    @property
    def dt(self) -> float:  # type: ignore[override]
        return self.sampling.dt

    def with_inner(self, plant: Plant) -> Self:
        return dataclasses.replace(self, sampling=self.sampling.replace(plant))  # type: ignore[type-var]

    def symbolic(self, names: Sequence[str]) -> tuple[Self, Any]:
        if len(names) and self.sampling.integrator == "exact" and not self.inner.is_discrete:
            raise InvalidValue(
                f"{self.name} is sampled by integrator='exact', whose matrices are computed from the numbers of "
                f"{', '.join(names)}; use integrator='rk4' where parameters may vary"
            )
        return super().symbolic(names)

    def advance(self, x: Vector, u: Any, w: Vector, share: float = 1.0) -> Any:
        """The state (n, 1) of the inner plant after a share of a sample under the inputs ``u`` (m, 1)."""
        sampling, plant = self.sampling, self.inner
        if share < 1.0:
            sampling = dataclasses.replace(sampling, dt=share * sampling.dt)
        if not plant.is_discrete and sampling.integrator == "exact":
            return sampling.equations()(x.column, u, w.column, ca.SX(0, 1))
        equations = plant.step if plant.is_discrete else plant.ode
        where = f"{plant.name}.{equations.__name__}"
        declared = (plant.state, plant.input, plant.disturbance)

        def written(z: Any, v: Any, d: Any, _: Any) -> Any:
            result = equations(*map(Vector, declared, (z, v, d), ("state", "input", "disturbance")))
            return column(result, where, f"one expression per state: {', '.join(plant.state.names)}")

        return sampling.stepper(written)(x.column, u, w.column, None)


def inputs_before(reference: Reference, plant: Plant, k: np.ndarray, samples: int) -> np.ndarray:
    """The input of a reference so many samples before the samples ``k`` (...): (..., m).

    A formula also knows what came before a run; of a table, the first entry is taken.
    """
    before = np.asarray(k) - samples
    return reference.at(plant, before if isinstance(reference, Sinusoid) else np.maximum(before, 0))[1]


def expect_free(names: Sequence[str], plant: Plant, what: str) -> None:
    """Raises InvalidValue where a name of an added state is taken."""
    taken = {*plant.state.names, *plant.input.names, *plant.disturbance.names}
    for name in names:
        if name in taken:
            raise InvalidValue(
                f"{plant.name} already has a signal '{name}', which {what} would add; apply it once, or rename the "
                "signal of the plant"
            )
