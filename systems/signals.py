"""Names and units of vectors, and CasADi columns with named entries."""

from __future__ import annotations

import keyword
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np

from systems.arguments import expect_array, expect_number
from systems.errors import DimensionMismatch, InvalidValue, UnknownName, shown

__all__ = [
    "Signal",
    "Signals",
    "Values",
    "Vector",
    "angle",
    "expect_values",
    "integer",
    "left_out",
    "quaternion",
    "signals",
]

Values = Mapping[str, float] | Sequence[float] | np.ndarray
"""Numbers for a vector of signals: in their order, or by name (the names left out take a default)."""

_DECLARATION = re.compile(r"^\s*(?P<name>[A-Za-z_]\w*)\s*(\[(?P<unit>[^\[\]]*)\])?\s*$")


@dataclass(frozen=True)
class Signal:
    """One named quantity and its unit, such as ``position [m]``.

    Args:
        name: an identifier, by which a vector's entry is read: ``x.position``.
        unit: text; default: "-", dimensionless.
        period: values that differ by a multiple of it are equivalent, as for an :func:`angle`; default: infinite (not
            periodic).
        quaternion: name shared by the four components of a unit :func:`quaternion`, of which q and -q are the same
            attitude; default: empty (not part of a quaternion).
        integer: whether it must be an integer, as an :func:`integer` input; default: no.
    """

    name: str
    unit: str = "-"
    period: float = math.inf
    quaternion: str = ""
    integer: bool = False

    def __post_init__(self) -> None:
        _expect_readable(self.name)
        if not isinstance(self.unit, str):
            raise InvalidValue(f"the unit of signal '{self.name}' is {shown(self.unit)}; expected text, such as 'm/s'")
        if not isinstance(self.integer, bool):
            raise InvalidValue(f"signal '{self.name}': integer = {shown(self.integer)}; expected True or False")
        expect_number(self.period, f"signal '{self.name}': period", above=0.0, infinite=True, hint="such as 2 pi")
        if not isinstance(self.quaternion, str):
            raise InvalidValue(
                f"signal '{self.name}': quaternion = {shown(self.quaternion)}; expected text; "
                'write *quaternion("qw", "qx", "qy", "qz")'
            )

    def __str__(self) -> str:
        return f"{self.name} [{self.unit}]"


class Signals(tuple[Signal, ...]):
    """An ordered set of named signals, constructed by :func:`signals`.

    Args:
        entries: each a :class:`Signal`; default: none.

    Raises:
        InvalidValue: an entry that is not a :class:`Signal`, or a name given twice.
    """

    def __new__(cls, entries: Iterable[Signal] = ()) -> Signals:
        try:
            given: tuple[Any, ...] = (entries,) if isinstance(entries, str) else tuple(entries)
        except TypeError:  # not iterable
            given = (entries,)
        for entry in given:
            if not isinstance(entry, Signal):
                raise InvalidValue(
                    f'entry {shown(entry)} of Signals; expected the type Signal: write signals("name [unit]", ...)'
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
            UnknownName: a key is not a signal.
            DimensionMismatch: a sequence of another length.
            InvalidValue: a NaN, or something that is not a real number.
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

    # ---- equivalent values ----

    @cached_property
    def periods(self) -> np.ndarray:
        """Period of each signal, (n,), infinite for signals that are not periodic."""
        periods = np.array([signal.period for signal in self], dtype=float)
        periods.flags.writeable = False
        return periods

    @cached_property
    def quaternions(self) -> list[list[int]]:
        """Positions of the four components of each unit quaternion."""
        groups: dict[str, list[int]] = {}
        for i, signal in enumerate(self):
            if signal.quaternion:
                groups.setdefault(signal.quaternion, []).append(i)
        return list(groups.values())

    @cached_property
    def is_euclidean(self) -> bool:
        """True where no signal is periodic and none belongs to a quaternion."""
        return not self.turning and not self.quaternions

    @cached_property
    def turning(self) -> list[tuple[int, float]]:
        """Position and period of each periodic signal."""
        return [(i, signal.period) for i, signal in enumerate(self) if math.isfinite(signal.period)]

    def nearest(self, values: np.ndarray, to: np.ndarray) -> np.ndarray:
        """The representative of ``values`` (..., n) closest to ``to`` (..., n): periodic signals moved by whole
        periods to within half a period, quaternions with the sign that makes their product with ``to`` positive."""
        values = np.asarray(values, dtype=float)
        if self.is_euclidean:
            return values
        if values.ndim == 1 and values.shape == np.shape(to) and not self.quaternions:
            return self._nearest(values, to)
        turning = np.isfinite(self.periods)
        moved = np.array(np.broadcast_to(values, np.broadcast_shapes(values.shape, np.shape(to))))
        period, target = self.periods[turning], np.broadcast_to(to, moved.shape)
        with np.errstate(invalid="ignore", over="ignore"):
            turns = np.round((moved[..., turning] - target[..., turning]) / period)
            moved[..., turning] -= np.where(np.isfinite(turns), turns, 0.0) * period
            for group in self.quaternions:
                opposite = (moved[..., group] * target[..., group]).sum(axis=-1) < 0
                moved[..., group] = np.where(opposite[..., None], -moved[..., group], moved[..., group])
        return moved

    def _nearest(self, values: np.ndarray, to: np.ndarray) -> np.ndarray:
        """The same for one vector without quaternions: a control step needs it several times."""
        moved = values.copy()
        for i, period in self.turning:
            turns = (float(moved[i]) - float(to[i])) / period
            if math.isfinite(turns):
                moved[i] -= round(turns) * period
        return moved

    def deviation(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """``values - reference``, each (..., n), reduced to half a period for periodic signals; see :meth:`nearest`."""
        return np.asarray(self.nearest(values, reference) - reference)

    def continuous(self, values: np.ndarray) -> np.ndarray:
        """A sequence (samples, n) whose neighbours are representatives closest to each other; the first stays."""
        if self.is_euclidean or len(values) < 2:
            return np.asarray(values, dtype=float)
        unrolled = np.array(values, dtype=float)
        for k in range(1, len(unrolled)):
            unrolled[k] = self.nearest(unrolled[k], unrolled[k - 1])
        return unrolled

    def nearest_expression(self, values: Any, to: Any) -> Any:
        """:meth:`nearest` of CasADi columns (n, 1)."""
        if self.is_euclidean:
            return values
        rows = [
            v if math.isinf(signal.period) else v - signal.period * ca.floor((v - t) / signal.period + 0.5)
            for signal, v, t in zip(self, ca.vertsplit(values), ca.vertsplit(to), strict=True)
        ]
        for group in self.quaternions:
            product = sum(rows[i] * to[i] for i in group)
            for i in group:
                rows[i] = ca.if_else(product < 0, -rows[i], rows[i])
        return ca.vertcat(*rows)


def signals(*declarations: str | Signal | Sequence[Signal]) -> Signals:
    """Declares signals: ``signals("position [m]", angle("heading [rad]"), *quaternion("qw", "qx", "qy", "qz"))``.

    Args:
        *declarations: each ``name [unit]`` (without a unit: dimensionless), a :class:`Signal` or several of these.

    Raises:
        InvalidValue: a declaration that is not ``name [unit]`` with an identifier as name, or a name given twice.
    """
    declared: list[Signal] = []
    for given in declarations:
        if isinstance(given, (list, tuple)) and given and all(isinstance(entry, Signal) for entry in given):
            declared.extend(given)
        else:
            declared.append(given if isinstance(given, Signal) else _signal(given))
    names = [signal.name for signal in declared]
    taken = sorted({"column", "names", "signals"}.intersection(names))
    if taken:
        raise InvalidValue(f"no signal may be called {', '.join(taken)}: x.{taken[0]} already means something else")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidValue(f"signal names given twice: {', '.join(twice)}; every signal needs a name of its own")
    return Signals(declared)


def angle(declaration: str, period: float | None = None) -> Signal:
    """A periodic signal, ``angle("heading [rad]")``: values that differ by whole turns are equivalent.

    References, costs, arrival tests, metrics and controllers then use the shortest angular difference. The plant, its
    cost and its constraints must be invariant under a full turn, which a task checks.

    Args:
        declaration: ``name [unit]``.
        period: a full turn, in the signal's unit; default: 2 pi for rad and 360 for deg.

    Raises:
        InvalidValue: a unit without a known turn and no period, or a period that is not a positive number.
    """
    signal = _signal(declaration)
    turn = {"rad": 2.0 * math.pi, "deg": 360.0}.get(signal.unit) if period is None else period
    if turn is None:
        raise InvalidValue(
            f"angle '{declaration}' has the unit [{signal.unit}], whose full turn is not known; write [rad] or [deg], "
            "or give period="
        )
    return replace(signal, period=float(expect_number(turn, f"angle '{declaration}': period", above=0.0)))


def integer(declaration: str) -> Signal:
    """An input that must be an integer, such as a number of running pumps or a switch (0 or 1):
    ``integer("pumps [-]")``. Its actuator limits define its range.

    Args:
        declaration: ``name [unit]``.
    """
    return replace(_signal(declaration), integer=True)


def quaternion(w: str, x: str, y: str, z: str) -> tuple[Signal, Signal, Signal, Signal]:
    """The four components of a unit quaternion, ``quaternion("qw", "qx", "qy", "qz")``, scalar part first.

    q and -q are the same attitude: references, arrival tests, metrics and controllers use the nearer one.

    Args:
        w, x, y, z: declarations of the components, ``name [unit]``.
    """
    parts = tuple(replace(_signal(part), quaternion=f"{w} {x} {y} {z}") for part in (w, x, y, z))
    return parts[0], parts[1], parts[2], parts[3]


def _signal(text: Any) -> Signal:
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
    return Signal(match["name"], (match["unit"] or "-").strip())


def left_out(values: Any) -> bool:
    """Whether values are the empty ``()`` that stands for an argument left out: every signal takes its default."""
    if isinstance(values, np.ndarray):
        return values.size == 0
    return isinstance(values, (Sequence, Mapping)) and not isinstance(values, str) and len(values) == 0


def expect_values(values: Any, what: str, infinite: bool = False) -> None:
    """Refuses what cannot be numbers for signals, whatever the signals are: see :data:`Values`.

    Raises:
        InvalidValue: neither a mapping of names to numbers nor a sequence of numbers; NaN, or infinity where not
            allowed.
    """
    if isinstance(values, Mapping):
        for name, value in values.items():
            if not isinstance(name, str):
                raise InvalidValue(f"{what}: the key {shown(name)} is not a string; give numbers by name of the signal")
            expect_number(value, f"{what}: {name}", infinite=infinite)
    elif not left_out(values):
        expect_array(values, what, ("signals",), infinite=infinite)


def _expect_readable(name: Any) -> None:
    """Refuses a signal's name that could not be read as ``x.name``."""
    if not isinstance(name, str):
        raise InvalidValue(f"signal name {shown(name)}; expected text, such as 'speed'")
    if not name.isidentifier():
        raise InvalidValue(
            f"signal name '{name}' is not an identifier, so x.{name or 'name'} cannot be written; use letters, digits "
            "and _"
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
    """A CasADi column with entries that are accessed by signal name.

    ``x.angle``, ``x["angle"]``, ``x[1]`` and ``position, angle = x`` all work; ``x.column`` is the bare (n, 1) column.
    A name that was not declared raises :class:`UnknownName`, so a misspelt state cannot slip into an equation.

    Args:
        declared: the signals of the entries.
        column: CasADi column (n, 1), one row per signal.
        owner: name of the vector in messages, such as "state"; default: none.
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
