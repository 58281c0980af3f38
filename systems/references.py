"""References: desired values of the state and the input at each sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from systems.arguments import expect_array, expect_number
from systems.content import ByContent
from systems.errors import DimensionMismatch, InvalidValue, shown
from systems.plant import Plant
from systems.signals import Values, expect_values

__all__ = ["Reference", "SetPoint", "Sinusoid", "TabulatedReference", "Trajectory"]


class Reference(ByContent, ABC):
    """x_r(k) and u_r(k) for the samples k = 0, 1, 2, ..."""

    @property
    @abstractmethod
    def is_constant(self) -> bool:
        """True where the reference is the same at every sample."""

    @abstractmethod
    def at(self, plant: Plant, k: int | Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reference at the samples ``k`` of shape (...): states (..., n) and inputs (..., m)."""


@final
class TabulatedReference:
    """A reference by sample number, with its first ``samples`` tabulated for fast control steps.

    ``x_ref, u_ref = TabulatedReference(task.reference, task.plant, task.steps + 1)(k)``
    """

    def __init__(self, reference: Reference, plant: Plant, samples: int) -> None:
        self._reference, self._plant = reference, plant
        self._x, self._u = reference.at(plant, np.arange(1 if reference.is_constant else samples))

    def __call__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """x_r (n,) and u_r (m,) at sample k."""
        if self._reference.is_constant:
            return self._x[0], self._u[0]
        if 0 <= k < len(self._x):
            return self._x[k], self._u[k]
        return self._reference.at(self._plant, k)


@dataclass(frozen=True, eq=False)
class SetPoint(Reference):
    """A constant state and input.

    Args:
        x, u: by name (others zero) or in order; default: zero.
    """

    x: Values = ()
    u: Values = ()

    def __post_init__(self) -> None:
        for name in ("x", "u"):
            expect_values(getattr(self, name), f"set-point {name}")

    @property
    def is_constant(self) -> bool:
        return True

    def at(self, plant: Plant, k: int | Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = _samples(k).shape
        x = plant.state.optional(self.x, "reference of the state")
        u = plant.input.optional(self.u, "reference of the input")
        return np.broadcast_to(x, (*shape, len(x))), np.broadcast_to(u, (*shape, len(u)))


@dataclass(frozen=True, eq=False)
class Sinusoid(Reference):
    """mean + sine sin(frequency k) + cosine cos(frequency k), for the state and the input.

    Args:
        frequency: rad per sample.
        x_mean, x_sine, x_cosine, u_mean, u_sine, u_cosine: by name or in order; default: zero.
    """

    frequency: float
    x_mean: Values = ()
    x_sine: Values = ()
    x_cosine: Values = ()
    u_mean: Values = ()
    u_sine: Values = ()
    u_cosine: Values = ()

    def __post_init__(self) -> None:
        expect_number(self.frequency, "frequency", hint="in rad per sample")
        for name in ("x_mean", "x_sine", "x_cosine", "u_mean", "u_sine", "u_cosine"):
            expect_values(getattr(self, name), f"sinusoidal reference {name}")

    @property
    def is_constant(self) -> bool:
        return False

    def at(self, plant: Plant, k: int | Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        phase = self.frequency * _samples(k)[..., None]
        values = []
        for declared, parts in (
            (plant.state, (self.x_mean, self.x_sine, self.x_cosine)),
            (plant.input, (self.u_mean, self.u_sine, self.u_cosine)),
        ):
            mean, sine, cosine = (declared.optional(p, "sinusoidal reference") for p in parts)
            values.append(mean + sine * np.sin(phase) + cosine * np.cos(phase))
        return values[0], values[1]


@dataclass(frozen=True, eq=False)
class Trajectory(Reference):
    """A reference given as a list of samples, the last of which is held.

    Args:
        x: (samples, n).
        u: (samples, m); default: zero.
    """

    x: np.ndarray
    u: np.ndarray | None = None

    def __post_init__(self) -> None:
        x = expect_array(self.x, "trajectory x", ("samples", "signals"))
        u = None if self.u is None else expect_array(self.u, "trajectory u", ("samples", "signals"))
        if not len(x):
            raise InvalidValue("trajectory x lists no sample; expected at least one")
        if u is not None and len(u) != len(x):
            raise DimensionMismatch(f"trajectory: {len(x)} samples of x, {len(u)} of u; give as many")

    @property
    def is_constant(self) -> bool:
        return False

    def at(self, plant: Plant, k: int | Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = np.asarray(self.x, dtype=float)
        u = np.zeros((len(x), len(plant.input))) if self.u is None else np.asarray(self.u, dtype=float)
        for declared, array in ((plant.state, x), (plant.input, u)):
            if array.shape[1] != len(declared):
                raise DimensionMismatch(
                    f"trajectory has {array.shape[1]} columns for {len(declared)} signals: {', '.join(declared.names)}"
                )
        index = np.clip(_samples(k), 0, len(x) - 1)
        return x[index], u[index]


def _samples(k: int | Sequence[int] | np.ndarray) -> np.ndarray:
    """Sample numbers as an array of integers.

    Raises:
        InvalidValue: they are not whole numbers.
    """
    try:
        samples = np.asarray(k)
    except ValueError:  # lists of different lengths
        samples = np.asarray("")
    if samples.dtype.kind not in "iu":
        raise InvalidValue(f"sample k = {shown(k)}; expected a whole number, or several, counted from 0")
    return samples
