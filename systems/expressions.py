"""What is asked of every expression that a user writes, and what is made of several."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np

from systems.errors import InvalidValue

__all__ = ["expect_arguments", "largest", "without_nan"]


def largest(*entries: ca.SX | float) -> ca.SX:
    """The largest of several scalars, and NaN where one of them is NaN.

    ``fmax`` and ``mmax`` pass over a NaN (maxNum of IEEE 754-2008), so a condition that is undefined in one of its rows
    would look like one that holds.
    """
    found = ca.mmax(ca.vertcat(*entries))
    if len(entries) > 1:
        for entry in entries:
            # Only a NaN is not at most infinity. No interval contains one, so its bounds stay those of fmax.
            found = ca.if_else(entry <= np.inf, found, entry)
    return found


def without_nan(f: ca.Function, where: str) -> ca.Function:
    """The same function, if no constant in it is NaN.

    ``float()`` of a CasADi symbol is NaN instead of an error, so ``math.fabs(x.speed)`` would silently be a NaN.

    Args:
        f: of SX expressions. where: whose equations these are, for the message.

    Raises:
        InvalidValue: a constant is NaN.
    """
    constants = (f.instruction_constant(i) for i in range(f.n_instructions()) if f.instruction_id(i) == ca.OP_CONST)
    if any(np.isnan(constant) for constant in constants):
        raise InvalidValue(
            f"{where} holds a NaN: functions of the module math, and float(), cannot read signals; use casadi's: "
            "casadi.fabs, casadi.sqrt, casadi.sin"
        )
    return f


def expect_arguments(function: Any, arguments: str, where: str) -> Callable[..., Any]:
    """The same function, if it can be called with these arguments.

    Args:
        arguments: their names, such as ``"x, u"``.

    Raises:
        InvalidValue: it is no function, or takes another number of arguments.
    """
    if not callable(function):
        raise InvalidValue(f"{where} is {type(function).__name__}; expected a function of ({arguments})")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C: it does not tell
        return function
    try:
        signature.bind(*arguments.split(", "))
    except TypeError as error:
        raise InvalidValue(
            f"{where} takes {signature}; expected a function of ({arguments}), such as lambda {arguments}: ..."
        ) from error
    return function
