"""Parameters of a plant as symbols, and whether its equations are the same with symbols as with numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import casadi as ca
import numpy as np

from systems.errors import InvalidValue
from systems.lowering.program import read
from systems.lowering.same import same_function
from systems.symbols import SymbolRead, unreadable

__all__ = ["expect_same_function", "with_symbols"]

_ANALYTIC = frozenset(
    {
        "input",
        "add",
        "sub",
        "mul",
        "div",
        "neg",
        "inv",
        "sq",
        "twice",
        "sqrt",
        "exp",
        "log",
        "sin",
        "cos",
        "tan",
        "asin",
    }
    | {"acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "log1p", "expm1", "constpow"}
)
"""Operations that are analytic wherever they are defined."""


class _Named(Protocol):
    """A frozen dataclass with a name: a plant."""

    @property
    def name(self) -> str: ...


P = TypeVar("P", bound=_Named)


def with_symbols(plant: P, symbols: Mapping[str, ca.SX]) -> P:
    """The same plant with symbols as parameters.

    Raises:
        InvalidValue: a parameter that is computed from others, one that is not a real number, or a plant whose making
            needs their values.
    """
    fields = {field.name: field for field in dataclasses.fields(plant)}  # type: ignore[arg-type]
    for name in symbols:
        if not fields[name].init:
            raise InvalidValue(
                f"{plant.name}.{name} is computed when the plant is constructed (field(init=False)), so it cannot "
                "vary by itself; let the parameters vary that it is computed from"
            )
        if isinstance(getattr(plant, name), bool) or fields[name].type in (int, bool, "int", "bool"):
            raise InvalidValue(
                f"{plant.name}.{name} = {getattr(plant, name)!r} is declared as {_text(fields[name].type)}; only a "
                "real number can take all values of an interval: declare it as float, or let it stay what it is"
            )
    try:
        with unreadable(tuple(symbols)):
            return dataclasses.replace(plant, **symbols)  # type: ignore[type-var]
    except SymbolRead as error:
        raise InvalidValue(f"{plant.name}.__post_init__ {error}") from error
    except (TypeError, ValueError) as error:
        raise InvalidValue(
            f"{plant.name} cannot be made with {', '.join(symbols)} as symbols, which they are here because any value "
            f"is meant: {type(error).__name__}: {error}"
        ) from error


def expect_same_function(
    f: ca.Function, known: ca.Function, plant: str, states: Sequence[str], values: Mapping[str, float]
) -> None:
    """That a plant's equations with symbols, f(x, u, w, p), are at some values of these what the plant is there.

    A parameter can be read in ways that no symbol can refuse: isinstance(self.mass, float), str(self.mass).

    Args:
        f: the equations with symbols.
        known: the equations with numbers, of no parameters.
        plant: its name.
        states: names of the states.
        values: of the parameters in ``known``, by name, in the order of p.

    Raises:
        InvalidValue: they are not, or are written in another way.
    """
    x, u, w, _ = f.sx_in()
    given, numbers = f(x, u, w, ca.DM(list(values.values()))), known(x, u, w, ca.SX(0, 1))
    rows = [
        k
        for k in range(len(states))
        if not _same(*(ca.Function("row", [x, u, w], [column[k]]) for column in (numbers, given)))
    ]
    if not rows:
        return
    at = ", ".join(f"{name} = {value:g}" for name, value in values.items())
    raise InvalidValue(
        f"{plant}: the equation of {', '.join(states[k] for k in rows)} is another function when {', '.join(values)} "
        f"may vary than at {at}, where it is {numbers[rows[0]]} instead of {given[rows[0]]}. A parameter that may vary "
        "is a CasADi symbol: its type, its text and functions of Python do not see its value. Write it with casadi's "
        "functions and operators alone: casadi.if_else, casadi.fmax, casadi.sqrt"
    )


def _same(a: ca.Function, b: ca.Function) -> bool:
    """By their text; by their values at random points where they call functions that are not text, such as tables, or
    where both are analytic, since analytic functions that agree on an open set agree everywhere."""
    programs = read(a), read(b)
    if same_function(*programs):
        return True
    called = any(program.functions for program in programs)
    analytic = all(i.op in _ANALYTIC for program in programs for i in program.instructions)
    if not (called or analytic):
        return False
    rng = np.random.default_rng(0)
    for size in 10.0 ** np.repeat(np.arange(-3.0, 4.0), 8):
        at = [size * rng.standard_normal(a.size1_in(k)) for k in range(a.n_in())]
        if not np.allclose(np.array(a(*at)), np.array(b(*at)), rtol=1e-9, atol=0.0, equal_nan=True):
            return False
    return True


def _text(kind: Any) -> str:
    return kind if isinstance(kind, str) else kind.__name__
