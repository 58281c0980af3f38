"""Parameters of a plant as symbols: the same plant for every value, or an error that says why it is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import casadi as ca
import numpy as np

from systems.errors import InvalidValue, UnknownName
from systems.lowering.program import read
from systems.lowering.same import same_function
from systems.symbols import SymbolRead, Unread, noted, unreadable

if TYPE_CHECKING:
    from systems.plant import Plant

__all__ = [
    "expect_fixed_limits",
    "expect_independent",
    "expect_same",
    "expect_unread",
    "expect_varied",
    "with_symbols",
]

_TRIED = 4  # values of parameters at which a plant is compared with its equations, beside the ends of their intervals

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

P = TypeVar("P", bound="Plant")


def with_symbols(plant: P, symbols: Mapping[str, ca.SX]) -> P:
    """The same plant with symbols as parameters.

    Raises:
        InvalidValue: a parameter that is computed from others, one that is no real number, or a plant whose making
            needs their values.
    """
    fields = {field.name: field for field in dataclasses.fields(plant)}  # type: ignore[arg-type]
    for name in symbols:
        if not fields[name].init:
            raise InvalidValue(
                f"{plant.name}.{name} is computed when the plant is made (field(init=False)), so it cannot vary by "
                "itself; let the parameters vary that it is computed from"
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


def expect_varied(plant: Plant, intervals: Mapping[str, tuple[float, float]]) -> None:
    """That parameters may take any value of these intervals, by name, and the equations with symbols in their place are
    the plant's for all of them, as far as values that are tried show it.

    Raises:
        UnknownName: no such parameter. InvalidValue: an interval that does not hold the plant's own value; whatever
            the other functions here raise.
    """
    if not intervals:
        return
    known, names = plant.parameters, tuple(intervals)
    for name, (least, most) in intervals.items():
        if name not in known:
            raise UnknownName.among(name, known, f"parameter of {plant.name} that may be uncertain")
        if not -np.inf < least <= known[name] <= most < np.inf:
            raise InvalidValue(f"{name} in [{least}, {most}]; expected an interval around its value {known[name]}")
    low, high = np.array(list(intervals.values()), dtype=float).T
    draws = np.random.default_rng(0).random((_TRIED, len(names)))
    tried = np.array([low, high, *(low + draws * (high - low))])
    columns = {name: tried[:, k].tolist() for k, name in enumerate(names)}
    expect_independent(plant, names, columns)
    expect_fixed_limits(plant, names, columns)
    f = plant.casadi(names)
    expect_unread(plant, names)
    for values in tried.tolist():
        expect_same(f, plant, names, dict(zip(names, values, strict=True)))


def expect_unread(plant: Plant, names: Sequence[str]) -> None:
    """That equations and limits do not look at the numbers of these parameters, neither where they are numbers nor
    where they are symbols that refuse it: what is done at some values would say nothing of the others.

    Raises:
        InvalidValue: they do.
    """
    numbers = dataclasses.replace(plant)  # type: ignore[type-var]
    for name in names:
        object.__setattr__(numbers, name, Unread(getattr(plant, name)))
    with noted() as looks:
        plant.casadi(names)
        try:
            numbers.casadi()
            with unreadable():
                numbers.limits()
        except (SymbolRead, InvalidValue):
            if not looks:
                raise
    if looks:
        raise InvalidValue(
            f"{plant.name} looks at the number of a parameter that may vary ({', '.join(names)}), by "
            f"{', '.join(dict.fromkeys(looks))}; whether it is the same function for all values cannot be told. Write "
            "it with operators and casadi's functions alone, kinks with casadi.fmin, casadi.fmax or casadi.fabs"
        )


def expect_same(f: ca.Function, plant: Plant, names: Sequence[str], values: Mapping[str, float] | None = None) -> None:
    """That a plant's equations with symbols, f(x, u, w, p), are at some values of these what the plant is there.

    A parameter can be read in ways that no symbol can refuse: isinstance(self.mass, float), str(self.mass).

    Args:
        values: by name; the plant's own where left out.

    Raises:
        InvalidValue: they are not, or are written in another way.
    """
    other = plant if values is None else dataclasses.replace(plant, **values)  # type: ignore[type-var]
    x, u, w, _ = f.sx_in()
    at = [float(getattr(other, name)) for name in names]
    known = other.casadi()(x, u, w, ca.SX(0, 1))
    found = f(x, u, w, ca.DM(at))
    rows = [
        name
        for k, name in enumerate(plant.state.names)
        if not _same(*(ca.Function("row", [x, u, w], [column[k]]) for column in (known, found)))
    ]
    if not rows:
        return
    numbers = ", ".join(f"{name} = {value:g}" for name, value in zip(names, at, strict=True))
    raise InvalidValue(
        f"{plant.name}: the equation of {', '.join(rows)} is another function when {', '.join(names)} may vary than at "
        f"{numbers}, where it is {known[plant.state.names.index(rows[0])]} instead of "
        f"{found[plant.state.names.index(rows[0])]}. A parameter that may vary is a CasADi symbol: its type, its text "
        "and functions of Python do not see its value. Write it with casadi's functions and operators alone: "
        "casadi.if_else, casadi.fmax, casadi.sqrt"
    )


def _same(a: ca.Function, b: ca.Function) -> bool:
    """By their text; by their values at random points where they call functions that are no text, such as tables, or
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


def expect_independent(plant: Plant, names: Sequence[str], values: Mapping[str, Sequence[float]]) -> None:
    """That no other parameter is filled in from these when the plant is made, and would stay behind when they vary.

    Args:
        values: some for each of the names.

    Raises:
        InvalidValue: one is.
    """
    fields = [field for field in dataclasses.fields(plant) if field.init]  # type: ignore[arg-type]
    given = {field.name: getattr(plant, field.name) for field in fields}
    optional = [
        field.name
        for field in fields
        if field.name not in names
        and (field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING)
    ]
    for name in optional:
        rest = {key: value for key, value in given.items() if key != name}
        for varied in names:
            filled = [_filled(type(plant), rest | {varied: value}, name) for value in (given[varied], *values[varied])]
            if _equal(filled[0], given[name]) and not all(_equal(other, given[name]) for other in filled[1:]):
                raise InvalidValue(
                    f"{plant.name}.{name} is filled in from {varied} when the plant is made, and would stay "
                    f"{given[name]!r} while {varied} varies; make {name} a property that is computed from {varied}, or "
                    f"let both vary"
                )


def _filled(kind: type, given: Mapping[str, Any], name: str) -> Any:
    """What a field becomes that is left out; None where the plant cannot be made so."""
    try:
        return getattr(kind(**given), name)
    except (TypeError, ValueError, ArithmeticError):
        return None


def _equal(a: Any, b: Any) -> bool:
    """Whether two values of a field are the same; those that cannot be compared are."""
    try:
        return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else a is b or bool(a == b)
    except (TypeError, ValueError):
        return True


def expect_fixed_limits(plant: Plant, names: Sequence[str], values: Mapping[str, Sequence[float]]) -> None:
    """That the limits of the inputs do not depend on these parameters.

    Args:
        values: some for each of the names, at which the limits are compared.

    Raises:
        InvalidValue: they do, or may.
    """
    refused = (
        "{} sets the limits of the inputs, which are not enclosed; let it stay what it is, or give limits that hold "
        "for all of its values"
    )
    for name in names:
        varied = with_symbols(plant, {name: ca.SX.sym(name)})
        try:
            with unreadable((name,)):
                limits = [bound for pair in varied.limits().values() for bound in pair]
        except (SymbolRead, TypeError, ValueError) as error:
            raise InvalidValue(f"{plant.name}: {refused.format(name)} (limits() {error})") from error
        others = [dataclasses.replace(plant, **{name: value}) for value in values[name]]  # type: ignore[type-var]
        if any(isinstance(bound, ca.SX) and not bound.is_constant() for bound in limits) or not all(
            np.array_equal(other.bounds, plant.bounds) for other in others
        ):
            raise InvalidValue(f"{plant.name}: {refused.format(name)}")


def _text(kind: Any) -> str:
    return kind if isinstance(kind, str) else kind.__name__
