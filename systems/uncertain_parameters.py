"""Parameters of a plant that may take any value of an interval: the same equations for all of them, or an error."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import casadi as ca
import numpy as np

from systems.errors import InvalidValue, UnknownName
from systems.plant import Plant
from systems.symbolic_parameters import expect_same_function, with_symbols
from systems.symbols import SymbolRead, Unread, noted, unreadable

__all__ = [
    "expect_apart_from_limits",
    "expect_fixed_limits",
    "expect_independent",
    "expect_same",
    "expect_unread",
    "expect_varied",
]

_TRIED = 4  # values of parameters at which a plant is compared with its equations, beside the ends of their intervals


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
    written = plant.parametrised  # a plant around it reads no parameter
    expect_independent(written, names, columns)
    expect_fixed_limits(written, names, columns)
    f = plant.casadi(names)
    expect_unread(written, names)
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
    """That the equations of a plant with symbols, f(x, u, w, p), are at some values of these what the plant is there.

    Args:
        f: the equations with symbols.
        plant: whose equations they are.
        names: of the symbols.
        values: of them, by name; default: the plant's own.

    Raises:
        InvalidValue: as :func:`systems.symbolic_parameters.expect_same_function`.
    """
    other = plant if values is None else plant.with_parameters(values)
    at = {name: float(getattr(other.parametrised, name)) for name in names}
    expect_same_function(f, other.casadi(), plant.name, plant.state.names, at)


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


def expect_apart_from_limits(plant: Plant, names: Sequence[str], why: str) -> None:
    """That no limit of an input is computed from these parameters.

    Args:
        why: the reason, and how to fix it, as the end of the message.

    Raises:
        InvalidValue: one is, or may be.
    """
    for name in names:
        varied, _ = plant.symbolic((name,))
        try:
            with unreadable((name,)):
                limits = [bound for pair in varied.limits().values() for bound in pair]
            is_read = any(isinstance(bound, ca.SX) and not bound.is_constant() for bound in limits)
        except (SymbolRead, TypeError, ValueError):
            is_read = True
        if is_read:
            raise InvalidValue(f"{plant.name}: {name} sets the limits of the inputs, {why}")


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
