"""Names and units of vectors, and CasADi columns that are read by name."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.arguments import expect_array, expect_number
from systems.errors import DimensionMismatch, InvalidValue, UnknownName, shown

__all__ = ["Signal", "Signals", "Values", "Vector", "expect_values", "left_out", "signals"]

Values = Mapping[str, float] | Sequence[float] | np.ndarray
"""Numbers for a vector of signals: in their order, or by name (the names left out take a default)."""

_DECLARATION = re.compile(r"^\s*(?P<name>[A-Za-z_]\w*)\s*(\[(?P<unit>[^\[\]]*)\])?\s*$")


@dataclass(frozen=True)
class Signal:
    """One named quantity and its unit, such as ``position [m]``."""

    name: str
    unit: str = "-"

    def __post_init__(self) -> None:
        _expect_readable(self.name)
        if not isinstance(self.unit, str):
            raise InvalidValue(f"the unit of signal '{self.name}' is {shown(self.unit)}; expected text, such as 'm/s'")

    def __str__(self) -> str:
        return f"{self.name} [{self.unit}]"


class Signals(tuple[Signal, ...]):
    """An ordered set of named signals. Made by :func:`signals`.

    Raises:
        InvalidValue: an entry that is no :class:`Signal`, or a name given twice.
    """

    __slots__ = ()

    def __new__(cls, entries: Iterable[Signal] = ()) -> Signals:
        try:
            given: tuple[Any, ...] = (entries,) if isinstance(entries, str) else tuple(entries)
        except TypeError:  # nothing that can be gone through
            given = (entries,)
        for entry in given:
            if not isinstance(entry, Signal):
                raise InvalidValue(
                    f'Signals hold {shown(entry)}; expected entries of type Signal: write signals("name [unit]", ...)'
                )
        names = [signal.name for signal in given]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidValue(f"signal names given twice: {', '.join(twice)}; every signal needs a name of its own")
        return super().__new__(cls, given)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(signal.name for signal in self)

    @property
    def units(self) -> tuple[str, ...]:
        return tuple(signal.unit for signal in self)

    def where(self, name: str) -> int:
        """Position of the signal called ``name``.

        Raises:
            UnknownName: no signal has this name.
        """
        try:
            return self.names.index(name)
        except ValueError:
            raise UnknownName.among(name, self.names, "signal") from None

    def array(self, values: Values, default: float = 0.0, what: str = "values") -> np.ndarray:
        """Numbers in the order of the signals, from a sequence or from a mapping by name.

        Returns:
            float64 array of shape (n,).

        Raises:
            UnknownName: a key is no signal.
            DimensionMismatch: a sequence of another length.
            InvalidValue: a NaN, or something that is no real number.
        """
        if isinstance(values, Mapping):
            array = np.full(len(self), float(default))
            for name, value in values.items():
                array[self.where(name)] = expect_number(value, f"{what}: {name}", infinite=True)
        else:
            array = expect_array(values, what, infinite=True, nan=True)
            if array.shape != (len(self),):
                raise DimensionMismatch(
                    f"{what}: given an array of shape {array.shape}, expected ({len(self)},) for "
                    f"{', '.join(self.names) or 'no signals'}; give one number per signal or a mapping by name"
                )
        if np.isnan(array).any():
            bad = [name for name, number in zip(self.names, array, strict=True) if np.isnan(number)]
            raise InvalidValue(f"{what}: NaN given for {', '.join(bad)}; give a number (or infinity)")
        return array

    def optional(self, values: Values, what: str) -> np.ndarray:
        """As :meth:`array`, but zero everywhere where the argument was left out, as the empty ``()``."""
        return self.array({} if left_out(values) else values, what=what)

    def symbol(self, kind: Any = ca.SX) -> Any:
        """A fresh CasADi column with one symbol per signal, shape (n, 1)."""
        return ca.vertcat(*[kind.sym(name) for name in self.names]) if self else kind(0, 1)


def signals(*declarations: str) -> Signals:
    """Declares signals: ``signals("position [m]", "angle [rad]")``.

    Raises:
        InvalidValue: a declaration that is not ``name [unit]`` with an identifier as name, or a name given twice.
    """
    found = []
    for text in declarations:
        if not isinstance(text, str):
            raise InvalidValue(
                f"signal {text!r} is {type(text).__name__}, not a string; write one string per signal, such as "
                'signals("position [m]", "speed [m/s]"), or signals(*names) for a list'
            )
        match = _DECLARATION.match(text)
        if match is None:
            raise InvalidValue(
                f"signal '{text}' is not of the form 'name [unit]', such as 'cart_speed [m/s]'; "
                "the name must be an identifier, so that x.name can be written"
            )
        found.append(Signal(match["name"], (match["unit"] or "-").strip()))
    return Signals(found)


def left_out(values: Any) -> bool:
    """Whether values are the empty ``()`` that stands for an argument left out: every signal takes its default."""
    if isinstance(values, np.ndarray):
        return values.size == 0
    return isinstance(values, (Sequence, Mapping)) and not isinstance(values, str) and len(values) == 0


def expect_values(values: Any, what: str, infinite: bool = False) -> None:
    """Refuses what cannot be numbers for signals, whatever the signals are: see :data:`Values`.

    Raises:
        InvalidValue: no mapping of names to numbers and no sequence of numbers, NaN, or infinity where not allowed.
    """
    if isinstance(values, Mapping):
        for name, value in values.items():
            if not isinstance(name, str):
                raise InvalidValue(f"{what}: the key {shown(name)} is no string; give numbers by name of the signal")
            expect_number(value, f"{what}: {name}", infinite=infinite)
    elif not left_out(values):
        expect_array(values, what, ("signals",), infinite=infinite)


def _expect_readable(name: Any) -> None:
    """Refuses a signal's name that could not be read as ``x.name``."""
    if not isinstance(name, str):
        raise InvalidValue(f"signal name {shown(name)}; expected text, such as 'speed'")
    if not name.isidentifier():
        raise InvalidValue(
            f"signal name '{name}' is no identifier, so x.{name or 'name'} cannot be written; use letters, digits and _"
        )
    if keyword.iskeyword(name):
        raise InvalidValue(
            f"no signal may be called '{name}', a keyword of Python: x.{name} cannot be written; use '{name}_'"
        )
    if unicodedata.normalize("NFKC", name) != name:  # which Python does with the name in x.name
        raise InvalidValue(
            f"no signal may be called '{name}': Python reads x.{name} as "
            f"x.{unicodedata.normalize('NFKC', name)}; use that name"
        )
    if name in dir(Vector) or name.startswith("__"):
        raise InvalidValue(f"no signal may be called {name}: x.{name} already means something else; use '{name}_'")


class Vector:
    """A CasADi column whose entries are read by signal name.

    ``x.angle``, ``x["angle"]``, ``x[1]`` and ``position, angle = x`` all work; ``x.column`` is the bare (n, 1) column.
    A name that was not declared raises :class:`UnknownName`, so a misspelt state cannot slip into an equation.
    """

    __slots__ = ("_owner", "column", "signals")

    def __init__(self, declared: Signals, column: Any, owner: str = "") -> None:
        if not isinstance(declared, Signals):
            raise InvalidValue(f'signals = {shown(declared)}; expected Signals, made by signals("name [unit]", ...)')
        if not isinstance(column, (ca.SX, ca.MX, ca.DM)):
            raise InvalidValue(f"column = {shown(column)}; expected a CasADi column, such as signals.symbol()")
        if column.shape[0] != len(declared) or column.shape[1] != 1:
            raise DimensionMismatch(
                f"{owner or 'vector'}: column of shape {column.shape} given for {len(declared)} signals "
                f"({', '.join(declared.names)})"
            )
        self.signals = declared
        self._owner = owner
        self.column: Any = column  # whose operations take any other

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, str):
            if key not in self.signals.names:
                raise UnknownName.among(key, self.signals.names, f"{self._owner} signal".strip())
            return self.column[self.signals.where(key)]
        if isinstance(key, bool) or not isinstance(key, (int, np.integer)):
            raise InvalidValue(f"{self._owner}[{shown(key)}]; give a name or a whole number; x.column can be sliced")
        if not -len(self) <= key < len(self):
            raise DimensionMismatch(
                f"{self._owner}: index {key} of a vector of {len(self)}; the signals are {', '.join(self.names)}"
            )
        return self.column[int(key)]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the entries, in order."""
        return self.signals.names

    def __iter__(self) -> Iterator[Any]:
        return (self.column[i] for i in range(len(self.signals)))

    def __len__(self) -> int:
        return len(self.signals)

    def __repr__(self) -> str:
        return f"Vector({', '.join(map(str, self.signals))})"
