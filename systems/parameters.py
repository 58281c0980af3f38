"""Physical ranges of a dataclass's fields, stated where the fields are: ``mass: float = positive(0.15)  # kg``."""

from __future__ import annotations

import dataclasses
from typing import Any

import casadi as ca

from systems.arguments import expect_number

__all__ = ["expect_parameters", "nonnegative", "parameter", "positive"]

_RANGE = "range"
_FLOAT = (float, "float")


def parameter(
    default: Any = dataclasses.MISSING,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> Any:
    """A numeric field with above < value, least <= value <= most, value < below, as far as these are given.

    ``efficiency: float = parameter(0.9, above=0, most=1)``

    A :class:`Plant` refuses other values when it is constructed.

    Args:
        default: of the field; default: none, the field must be given.
        above: exclusive lower bound; default: none.
        least: inclusive lower bound; default: none.
        most: inclusive upper bound; default: none.
        below: exclusive upper bound; default: none.
    """
    limits = {"above": above, "least": least, "most": most, "below": below}
    return dataclasses.field(default=default, metadata={_RANGE: limits})


def positive(default: Any = dataclasses.MISSING) -> Any:
    """A :func:`parameter` above 0: a mass, a length, a moment of inertia.

    Args:
        default: of the field; default: none, the field must be given.
    """
    return parameter(default, above=0.0)


def nonnegative(default: Any = dataclasses.MISSING) -> Any:
    """A :func:`parameter` of at least 0: a friction coefficient, a damping, a largest force.

    Args:
        default: of the field; default: none, the field must be given.
    """
    return parameter(default, least=0.0)


def expect_parameters(thing: Any, name: str) -> None:
    """Refuses values of a dataclass's fields that are out of their range, or no number where a float is declared.

    Numbers of numpy become floats; CasADi symbols stand for any number.

    Raises:
        InvalidValue: says which field, what was given and what is expected.
    """
    for field in dataclasses.fields(thing):
        value, limits = getattr(thing, field.name), field.metadata.get(_RANGE)
        if isinstance(value, (ca.SX, ca.MX)):
            continue
        if limits is not None or field.type in _FLOAT or isinstance(value, float):
            number = expect_number(value, f"{name}.{field.name}", **(limits or {}))
            if number is not value:
                object.__setattr__(thing, field.name, number)
