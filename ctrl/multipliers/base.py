"""The multiplier controller: feedback from violations to multipliers, with a state that can be saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import final

import numpy as np

from systems import DimensionMismatch, InvalidValue
from systems.arguments import expect_array, is_whole
from systems.errors import shown

__all__ = ["MultiplierController", "Stateful"]

_LARGEST = 1e30  # whose powers, as they occur in a prediction, are finite numbers still


class Stateful(ABC):
    """An object whose memory is a set of arrays of fixed shapes that can be saved and restored bit for bit."""

    @abstractmethod
    def _memory(self) -> dict[str, np.ndarray]:
        """The arrays by name, themselves and no copies; they are only ever written into."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the whole memory."""
        return {name: array.copy() for name, array in self._memory().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores the state saved by :meth:`state_dict`.

        Raises:
            InvalidValue: other names than this object has. DimensionMismatch: other shapes. Nothing is changed then.
        """
        memory = self._memory()
        if set(state) != set(memory):
            raise InvalidValue(
                f"state with {', '.join(sorted(state)) or 'nothing'}; {type(self).__name__} expects "
                f"{', '.join(sorted(memory))}; save and restore with the same kind of controller"
            )
        for name, array in memory.items():
            if np.shape(state[name]) != array.shape:
                raise DimensionMismatch(f"state '{name}' has shape {np.shape(state[name])}; expected {array.shape}")
        for name, array in memory.items():
            array[...] = state[name]


class MultiplierController(Stateful):
    """Feedback from the violation of constraints g <= 0 to their multipliers, 0 <= multiplier <= maximum.

    A violation that is not finite carries no information: the memory and the multipliers that depend on it are held
    until the next finite one. Beyond 1e30 a violation counts as 1e30.

    Args:
        shape: number of constraints c, or (..., c) for a batch of loops side by side.
        maximum: of the multipliers, broadcast to the shape. With a finite one, the penalty of a violation is bounded:
            at a stationary point it is the exact penalty with this weight.

    Attributes:
        multipliers: the current ones, of this shape.
    """

    def __init__(self, shape: int | tuple[int, ...] = 1, maximum: float | np.ndarray = np.inf) -> None:
        self.shape = expect_shape(shape)
        self.maximum = _broadcast("maximum", expect_array(maximum, "maximum", infinite=True), self.shape)
        if not (self.maximum >= 0).all():
            raise InvalidValue(f"maximum = {maximum}; a multiplier is never negative, so neither is its maximum")
        self.multipliers = np.zeros(self.shape)

    @final
    def update(self, violation: np.ndarray) -> np.ndarray:
        """The multipliers for this violation g (positive where violated), a new array of the same shape.

        Raises:
            DimensionMismatch: another shape.
        """
        violation = expect_array(violation, "violation", infinite=True, nan=True)
        if violation.shape != self.shape:
            raise DimensionMismatch(f"violation of shape {violation.shape}; expected {self.shape}, one per multiplier")
        known = np.isfinite(violation)
        advanced = self._advance(np.where(known, np.clip(violation, -_LARGEST, _LARGEST), 0.0), known)
        usable = known & np.isfinite(advanced)
        self.multipliers[usable] = np.minimum(np.maximum(advanced, 0.0), self.maximum)[usable]
        return self.multipliers.copy()

    @abstractmethod
    def _advance(self, violation: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Advances the memory and gives the multipliers before clipping; where not ``known``, neither counts."""

    def reset(self) -> None:
        """Discards the past; the multipliers are zero."""
        self.start(np.zeros(self.shape))

    @abstractmethod
    def start(self, multipliers: np.ndarray) -> None:
        """Discards the past and starts from these multipliers, clipped to their range."""

    def _place(self, multipliers: np.ndarray) -> None:
        """The state with which every :meth:`start` begins."""
        given = expect_array(multipliers, "multipliers to start from")
        if given.shape != self.shape:
            raise DimensionMismatch(f"multipliers of shape {given.shape}; expected {self.shape}")
        self.multipliers[:] = np.minimum(np.maximum(given, 0.0), self.maximum)


def gain(name: str, value: float | np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A nonnegative finite gain, broadcast to one per multiplier."""
    array = _broadcast(name, expect_array(value, name, infinite=True, nan=True), shape)
    if not (np.isfinite(array) & (array >= 0)).all():
        raise InvalidValue(f"{name} = {shown(value)}; expected a finite number of at least 0")
    return array


def expect_shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    """The number of constraints, or (..., constraints), as a tuple.

    Raises:
        InvalidValue: it is something else.
    """
    sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
    if not sizes or not all(is_whole(size) and size >= 0 for size in sizes):
        raise InvalidValue(f"shape = {shown(shape)}; expected the number of constraints, or (..., constraints)")
    return tuple(int(size) for size in sizes)


def _broadcast(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise DimensionMismatch(f"{name} has shape {array.shape}; expected a number, or an array {shape}") from error
