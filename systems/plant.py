"""The plant: the only place where physics is written."""

from __future__ import annotations

import dataclasses
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import casadi as ca
import numpy as np

from systems.arguments import expect_factory, expect_names, expect_number, expect_pair
from systems.errors import DimensionMismatch, InvalidValue, UnknownName, located, shown
from systems.expressions import column, evaluated, without_nan
from systems.parameters import expect_parameters
from systems.signals import Signals, Vector, signals
from systems.symbolic_parameters import expect_same_function, with_symbols

if TYPE_CHECKING:
    from systems.forecast import Forecast

__all__ = ["Plant"]

NO_SIGNALS = signals()


class Plant(ABC):
    """The controlled system, a frozen dataclass whose fields are the physical parameters.

    A subclass declares ``state``, ``input`` and, if it is disturbed, ``disturbance``, and defines exactly one of
    ``ode`` (continuous time) or ``step`` (inherently discrete). Everything else is derived from these definitions::

        @dataclass(frozen=True)
        class Mass(Plant):
            mass: float = positive(1.0)  # kg
            drag: float = nonnegative(0.1)  # N s/m

            state = signals("position [m]", "speed [m/s]")
            input = signals("force [N]")

            def ode(self, x, u, w):
                return x.speed, (u.force - self.drag * x.speed) / self.mass

    A parameter whose physical range is stated by :func:`positive`, :func:`nonnegative` or :func:`parameter` is refused
    outside of it; a plain ``mass: float = 1.0`` may be any finite number.

    Raises:
        InvalidValue: a parameter that is not a finite number or out of its range, or an inconsistent class body.
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
        for method, arguments in (("ode", "self, x, u, w"), ("step", "self, x, u, w"), ("limits", "self")):
            written = cls.__dict__.get(method)
            if written is None:
                continue
            expected = f"a plain method: def {method}({arguments})"
            if isinstance(written, (staticmethod, classmethod, property)) or not callable(written):
                raise InvalidValue(f"{cls.__name__}.{method} is of type {type(written).__name__}; write {expected}")
            expect_factory(written, arguments, f"{cls.__name__}.{method}", expected)

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
        if not isinstance(self.disturbance, Signals):
            raise InvalidValue(
                f"{self.name}.disturbance is {shown(self.disturbance)}; write signals(...), or leave it out"
            )
        if dataclasses.is_dataclass(self):  # if not, the first reader of its parameters says so
            expect_parameters(self, self.name)
        if self.is_discrete:
            if getattr(self, "dt", None) is None:
                raise InvalidValue(
                    f"{self.name} is discrete by nature but has no dt; add a field dt: float, in seconds"
                )
            expect_number(self.dt, f"{self.name}.dt", above=0.0, hint="the sample time in seconds")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        """Time derivative of the state, one expression per state, in order."""
        raise NotImplementedError

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        """Next state, one expression per state, in order."""
        raise NotImplementedError

    def limits(self) -> Mapping[str, tuple[float, float]]:
        """The actuator limits, ``{"force": (-10.0, 10.0)}``; inputs that are not named are unlimited."""
        return {}

    @property
    def forecast(self) -> Forecast | None:
        """The forecast of states that are known ahead, see :func:`systems.known_ahead.know_ahead`; default: None."""
        return None

    # ---- derived ----

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def parameters(self) -> dict[str, Any]:
        """The scalar fields by name, which the equations use as numbers.

        Excluded are ``dt``, which is not physical; fields declared ``int`` or ``bool``, which are counts and switches
        and cannot be symbols; and fields that the class computes from others (``init=False``).

        Raises:
            InvalidValue: the class is not a dataclass.
        """
        if not dataclasses.is_dataclass(self):
            raise InvalidValue(f"{self.name} is not a dataclass; write @dataclass(frozen=True) above its class")
        kinds, structure = (int, float, ca.SX, ca.MX), (int, bool, "int", "bool")
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if field.init and field.type not in structure and field.name != "dt"
            if isinstance(value := getattr(self, field.name), kinds) and not isinstance(value, bool)
        }

    @property
    def parametrised(self) -> Plant:
        """The plant whose fields the parameters are: this one, or the one that it carries."""
        return self

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper actuator limits, each (m,), infinite where there is none.

        Raises:
            UnknownName: a limit of something other than an input.
            InvalidValue: limits that are not a mapping, a limit that is not a pair or NaN, or lower above upper.
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
            lower[i], upper[i] = expect_pair(limit, f"{self.name}: limits of {name}")
        return lower, upper

    def symbolic(self, names: Sequence[str]) -> tuple[Self, Any]:
        """The same plant with some parameters as CasADi symbols, and the column of those symbols.

        Raises:
            UnknownName: a name that is not a parameter.
        """
        known = self.parameters
        declared = {field.name for field in dataclasses.fields(self)} - {"dt"}  # type: ignore[arg-type]
        for name in expect_names(names, f"{self.name}: names of parameters"):
            if name not in known and name not in declared:
                raise UnknownName.among(name, known, f"parameter of {self.name}")
        if not names:
            return self, ca.SX(0, 1)
        symbols = {name: ca.SX.sym(name) for name in names}
        return with_symbols(self, symbols), ca.vertcat(*symbols.values())

    def with_parameters(self, values: Mapping[str, float]) -> Self:
        """The same plant with other values of some parameters, by name."""
        return dataclasses.replace(self, **values)  # type: ignore[type-var]

    def casadi(self, parameters: Sequence[str] = ()) -> ca.Function:
        """The physics as a plain CasADi function.

        Args:
            parameters: names of the fields to keep as symbols; their values are then the input ``p``.

        Returns:
            ``f(x, u, w, p)`` giving ``ode`` (or ``next`` for a discrete plant), shape (n, 1).

        Raises:
            UnknownName: the physics reads a signal that was not declared.
            DimensionMismatch: it returns another number of expressions than there are states.
            InvalidValue: it returns something that is not a function of its arguments, branches on a signal in
                Python, or contains a NaN; or the parameters as symbols make another function than their values do.
        """
        plant, p = self.symbolic(parameters)
        x, u, w = self.state.symbol(), self.input.symbol(), self.disturbance.symbol()
        equations, output = (plant.step, "next") if self.is_discrete else (plant.ode, "ode")
        where = f"{self.name}.{equations.__name__}"
        vectors = [
            Vector(self.state, x, f"{self.name} state"),
            Vector(self.input, u, f"{self.name} input"),
            Vector(self.disturbance, w, f"{self.name} disturbance"),
        ]
        result = evaluated(equations, where, *vectors, parameters=parameters)
        written = column(result, where, f"one expression per state: {', '.join(self.state.names)}")
        if written.shape != (len(self.state), 1):
            raise DimensionMismatch(
                f"{where} returned shape {written.shape}; expected ({len(self.state)}, 1), one expression per state: "
                f"{', '.join(self.state.names)}"
            )
        try:
            f = ca.Function(f"{self.name}_{output}", [x, u, w, p], [written], ["x", "u", "w", "p"], [output])
        except RuntimeError as error:
            raise InvalidValue(
                f"{self.name}: the equations contain symbols that are neither state, input, disturbance nor parameter; "
                f"CasADi says: {str(error).splitlines()[-1]}"
            ) from error
        if parameters:
            self._expect_followed(f, parameters)
        return without_nan(f, where)

    def _expect_followed(self, f: ca.Function, parameters: Sequence[str]) -> None:
        """That the equations with parameters as symbols, f(x, u, w, p), are those with their values.

        Raises:
            InvalidValue: they are not.
        """
        at = {name: float(getattr(self.parametrised, name)) for name in parameters}
        expect_same_function(f, self.casadi(), self.name, self.state.names, at)
