"""Checks and combinations of expressions that users write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import casadi as ca
import numpy as np

from systems.arguments import expect_arguments
from systems.errors import InvalidValue, UnknownName
from systems.signals import Vector
from systems.symbols import SymbolRead, unreadable

__all__ = ["column", "evaluated", "expect_arguments", "largest", "without_nan"]


def evaluated(function: Callable[..., Any], where: str, *arguments: Any, parameters: Sequence[str] = ()) -> Any:
    """The result of a user's function for symbolic signals.

    Args:
        where: whose function this is, for the message. parameters: names of those that are symbols, too.

    Raises:
        InvalidValue: it needs the number of a symbol, as Python branches and functions of ``math`` do, or passes it to
            a function that does not accept symbols.
    """
    try:
        with unreadable(parameters):
            return function(*arguments)
    except SymbolRead as error:
        raise InvalidValue(f"{where} {error}") from error
    except UnknownName:
        raise
    except (TypeError, NotImplementedError, ValueError) as error:  # CasADi raises all of these for other types
        if isinstance(error, ValueError) and not parameters:
            raise
        if parameters:
            raise InvalidValue(
                f"{where} cannot be evaluated with {', '.join(parameters)} as symbols, which they are here because any "
                f"value is meant: {type(error).__name__}: {error}"
            ) from error
        text = (str(error).strip().splitlines() or ["no message"])[0]
        raise InvalidValue(
            f"{where} cannot be evaluated: {type(error).__name__}: {text} Signals are CasADi symbols: read them by "
            "name (x.angle), or all as one column (x.column), and use functions of casadi"
        ) from error
    except RuntimeError as error:
        if "truth value" not in str(error):
            raise
        raise InvalidValue(
            f"{where} decides by the value of a signal, with if, and, or, min or max; signals are symbols here: "
            "write casadi.if_else(condition, a, b), casadi.fmin or casadi.fmax"
        ) from error


def column(result: Any, where: str, expected: str) -> ca.SX:
    """The result of a user's function, a sequence of expressions or a column of them, as one SX column (k, 1).

    Args:
        where: whose function this is. expected: what it should return, both for the message.

    Raises:
        InvalidValue: it is something else.
    """
    if result is None:
        raise InvalidValue(f"{where} returned None; return {expected}")
    try:
        bare = result.column if isinstance(result, Vector) else result
        return ca.SX(bare) if isinstance(bare, (ca.SX, ca.DM, np.ndarray)) else ca.vertcat(*map(ca.SX, bare))
    except (TypeError, NotImplementedError, RuntimeError) as error:
        raise InvalidValue(
            f"{where} returned {type(result).__name__}; return a sequence of CasADi expressions: {expected}"
        ) from error


def largest(*entries: ca.SX | float) -> ca.SX:
    """The largest of several scalars, and NaN where one of them is NaN.

    ``fmax`` and ``mmax`` pass over a NaN (maxNum of IEEE 754-2008), so a condition that is undefined in one of its rows
    would look like one that holds.
    """
    most = ca.mmax(ca.vertcat(*entries))
    if len(entries) > 1:
        for entry in entries:
            # Only a NaN is not at most infinity. No interval contains one, so its bounds stay those of fmax.
            most = ca.if_else(entry <= np.inf, most, entry)
    return most


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
            f"{where} contains a NaN: functions of the module math, and float(), cannot read signals; use casadi's: "
            "casadi.fabs, casadi.sqrt, casadi.sin"
        )
    return f
