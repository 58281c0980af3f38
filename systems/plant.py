"""The plant: the one place where physics is written."""

from __future__ import annotations

import dataclasses
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, Self

import casadi as ca
import numpy as np

from systems.errors import DimensionMismatch, InvalidValue, UnknownName, located
from systems.expressions import without_nan
from systems.signals import Signals, Vector, signals
from systems.symbols import SymbolRead, unreadable

__all__ = ["Plant"]

NO_SIGNALS = signals()


class Plant(ABC):
    """What is controlled, as a frozen dataclass whose fields are the physical parameters.

    A subclass declares ``state``, ``input`` and, if something disturbs it, ``disturbance``, and writes exactly one of
    ``ode`` (continuous time) or ``step`` (discrete by nature). Everything else is derived from that text::

        @dataclass(frozen=True)
        class Mass(Plant):
            mass: float = 1.0  # kg

            state = signals("position [m]", "speed [m/s]")
            input = signals("force [N]")

            def ode(self, x, u, w):
                return x.speed, u.force / self.mass
    """

    state: Signals
    input: Signals
    disturbance: Signals = NO_SIGNALS
    dt: float | None  # seconds between samples; only plants that are discrete by nature have it

    @property
    def is_discrete(self) -> bool:
        """True where the plant is written as ``step``."""
        return type(self).step is not Plant.step

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.ode is not Plant.ode and cls.step is not Plant.step and cls.is_discrete is Plant.is_discrete:
            raise InvalidValue(
                f"{cls.__name__} defines both ode(x, u, w) and step(x, u, w); define exactly one: "
                "ode for continuous time, step for a plant that is discrete by nature"
            )
        for role in ("state", "input", "disturbance"):
            declared = cls.__dict__.get(role)
            if declared is not None and not isinstance(declared, (Signals, property)):
                raise InvalidValue(
                    f'{cls.__name__}.{role} is {declared!r}; declare it as {role} = signals("name [unit]", ...)'
                )

    def __post_init__(self) -> None:
        if type(self).ode is Plant.ode and type(self).step is Plant.step:
            raise InvalidValue(
                f"{self.name} defines neither ode(x, u, w) nor step(x, u, w); define one: ode for continuous time, "
                "step for a plant that is discrete by nature"
            )
        for role in ("state", "input"):
            if not isinstance(getattr(self, role, None), Signals):
                raise InvalidValue(
                    f'{self.name} declares no {role}; write {role} = signals("name [unit]", ...) in the class body'
                )
        names = [*self.state.names, *self.input.names, *self.disturbance.names]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidValue(f"{self.name}: {', '.join(twice)} named twice among state, input and disturbance")
        if self.is_discrete and getattr(self, "dt", None) is None:
            raise InvalidValue(f"{self.name} is discrete by nature but has no dt; add a field dt: float, in seconds")
        for name, value in self.parameters.items():
            if not isinstance(value, (ca.SX, ca.MX)) and not np.isfinite(value):
                raise InvalidValue(f"{self.name}.{name} = {value}; a physical parameter must be a finite number")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        """Time derivative of the state, one expression per state, in order."""
        raise NotImplementedError

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        """Next state, one expression per state, in order."""
        raise NotImplementedError

    def limits(self) -> Mapping[str, tuple[float, float]]:
        """What the actuators can do, ``{"force": (-10.0, 10.0)}``; inputs left out are unlimited."""
        return {}

    # ---- derived ----

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def parameters(self) -> dict[str, Any]:
        """The scalar fields by name (not ``dt``, which is no physics).

        Raises:
            InvalidValue: the class is no dataclass.
        """
        if not dataclasses.is_dataclass(self):
            raise InvalidValue(f"{self.name} is not a dataclass; write @dataclass(frozen=True) above its class")
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        kinds = (int, float, ca.SX, ca.MX)
        return {name: value for name, value in fields.items() if isinstance(value, kinds) and name != "dt"}

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper actuator limits, each (m,), infinite where there is none.

        Raises:
            UnknownName: a limit of something that is no input.
            InvalidValue: limits that are no mapping, a limit that is no pair or NaN, or lower above upper.
        """
        lower = np.full(len(self.input), -np.inf)
        upper = np.full(len(self.input), np.inf)
        limits = self.limits()
        if not isinstance(limits, Mapping):
            raise InvalidValue(
                f"{self.name}.limits() returned {limits!r}; return a mapping by input, such as "
                f'{{"{next(iter(self.input.names), "force")}": (-1.0, 1.0)}}'
            )
        for name, limit in limits.items():
            with located(f"{self.name}.limits()"):
                i = self.input.where(name)
            if np.shape(limit) != (2,):
                raise InvalidValue(f"{self.name}: the limits of {name} are {limit!r}; give a pair (lower, upper)")
            low, high = limit
            if not low <= high:  # also catches NaN
                raise InvalidValue(
                    f"{self.name}: limits of {name} are ({low}, {high}); the lower must not exceed the upper"
                )
            lower[i], upper[i] = low, high
        return lower, upper

    def symbolic(self, names: Sequence[str]) -> tuple[Self, Any]:
        """The same plant with some parameters as CasADi symbols, and the column of those symbols.

        Raises:
            UnknownName: a name that is no parameter.
        """
        known = self.parameters
        for name in names:
            if name not in known:
                raise UnknownName.among(name, known, f"parameter of {self.name}")
        if not names:
            return self, ca.SX(0, 1)
        from systems.parameters import with_symbols

        symbols = {name: ca.SX.sym(name) for name in names}
        return with_symbols(self, symbols), ca.vertcat(*symbols.values())

    def casadi(self, parameters: Sequence[str] = ()) -> ca.Function:
        """The physics as a plain CasADi function.

        Args:
            parameters: names of the fields to keep as symbols; their values are then the input ``p``.

        Returns:
            ``f(x, u, w, p)`` giving ``ode`` (or ``next`` for a discrete plant), shape (n, 1).

        Raises:
            UnknownName: the physics reads a signal that was not declared.
            DimensionMismatch: it returns another number of expressions than there are states.
            InvalidValue: it returns something that is no function of its arguments, branches on a signal in
                Python, or holds a NaN; or the parameters as symbols make another function than their values do.
        """
        plant, p = self.symbolic(parameters)
        x, u, w = self.state.symbol(), self.input.symbol(), self.disturbance.symbol()
        law, output = (plant.step, "next") if self.is_discrete else (plant.ode, "ode")
        where = f"{self.name}.{law.__name__}"
        try:
            with unreadable(parameters):
                result = law(
                    Vector(self.state, x, f"{self.name} state"),
                    Vector(self.input, u, f"{self.name} input"),
                    Vector(self.disturbance, w, f"{self.name} disturbance"),
                )
        except SymbolRead as error:
            raise InvalidValue(f"{where} {error}") from error
        except (TypeError, ValueError) as error:
            if not parameters or isinstance(error, UnknownName):
                raise
            raise InvalidValue(
                f"{where} cannot be evaluated with {', '.join(parameters)} as symbols, which they are here because any "
                f"value is meant: {type(error).__name__}: {error}"
            ) from error
        column = _column(result, where, self.state)
        try:
            f = ca.Function(f"{self.name}_{output}", [x, u, w, p], [column], ["x", "u", "w", "p"], [output])
        except RuntimeError as error:
            raise InvalidValue(
                f"{self.name}: the equations hold symbols that are neither state, input, disturbance nor parameter; "
                f"CasADi says: {str(error).splitlines()[-1]}"
            ) from error
        if parameters:
            from systems.parameters import expect_same

            expect_same(f, self, parameters)
        return without_nan(f, where)


def _column(result: Any, where: str, state: Signals) -> ca.SX:
    """What the user's equations returned, as an SX column with one row per state."""
    if result is None:
        raise InvalidValue(f"{where} returned None; return one expression per state: {', '.join(state.names)}")
    try:
        if isinstance(result, Vector):
            column = result.column
        elif isinstance(result, (ca.SX, ca.DM, np.ndarray)):
            column = ca.SX(result)
        else:
            column = ca.vertcat(*[ca.SX(entry) for entry in result])
    except (TypeError, NotImplementedError) as error:
        raise InvalidValue(
            f"{where} returned {type(result).__name__}; return a sequence of CasADi expressions, one per state"
        ) from error
    if column.shape != (len(state), 1):
        raise DimensionMismatch(
            f"{where} returned shape {column.shape}; expected ({len(state)}, 1), one expression per state: "
            f"{', '.join(state.names)}"
        )
    return column
