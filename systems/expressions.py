"""What is asked of every expression that a user writes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np

from systems.errors import InvalidValue

__all__ = ["expect_arguments", "without_nan"]


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
