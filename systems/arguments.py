"""Argument checks. Each returns the value in the form that the caller needs, or raises an error of this package.

``what`` names the argument in the message, such as ``"task 'cartpole': steps"``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from systems.errors import DimensionMismatch, InvalidValue, shown

__all__ = [
    "expect_arguments",
    "expect_array",
    "expect_choice",
    "expect_factory",
    "expect_flag",
    "expect_name",
    "expect_names",
    "expect_number",
    "expect_pair",
    "expect_seed",
    "expect_whole",
    "is_number",
    "is_whole",
]

_LARGEST_COUNT = 2**31 - 1


def is_number(value: Any) -> bool:
    """Whether the value is a real number, of Python or numpy: no bool, string, complex number or array."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether the value is an integer, of Python or numpy: no bool, and no float even where it is whole."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def expect_number(
    value: Any,
    what: str,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
    infinite: bool = False,
    hint: str = "",
) -> float:
    """A real number with above < value, least <= value <= most and value < below where these are given; never NaN.

    Args:
        infinite: whether infinity is allowed. hint: further information on the expected value, such as ``"in
            seconds"``.

    Returns:
        The number as given if it is a Python number, otherwise a float.

    Raises:
        InvalidValue: it is something else, not finite, or out of its range.
    """
    if isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind in "fiu":
        value = value[()]
    if is_number(value) and _in_range(value, above, least, most, below, infinite):
        return value if type(value) in (int, float) else float(value)
    expected = "a number" if infinite else "a finite number"
    expected += "" if above is None else f" above {above:g}"
    expected += "" if least is None else f" of at least {least:g}"
    expected += "" if most is None else f", at most {most:g}"
    expected += "" if below is None else f", below {below:g}"
    raise InvalidValue(f"{what} = {shown(value)}; expected {expected}" + (f", {hint}" if hint else ""))


def _in_range(
    value: Any, above: float | None, least: float | None, most: float | None, below: float | None, infinite: bool
) -> bool:
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond the largest float
        return False
    return (
        (math.isfinite(number) or (infinite and math.isinf(number)))
        and (above is None or number > above)
        and (least is None or number >= least)
        and (most is None or number <= most)
        and (below is None or number < below)
    )


def expect_whole(
    value: Any, what: str, least: int | None = None, most: int | None = None, unit: str = "", hint: str = ""
) -> int:
    """An integer in a range, of Python or numpy. Floats are refused even where they are whole.

    Args:
        most: default: 2^31 - 1, beyond which libraries that count and allocate fail in various ways.
        unit: in words, such as ``"samples"``. hint: how to fix it.

    Raises:
        InvalidValue: it is something else, or out of its range.
    """
    if is_whole(value):
        if most is None and value > _LARGEST_COUNT:
            most = _LARGEST_COUNT
        if (least is None or value >= least) and (most is None or value <= most):
            return int(value)
    expected = f"a whole number of {unit}" if unit else "a whole number"
    if least is not None:
        expected += f", at least {least}" if unit else f" of at least {least}"
    expected += f" and at most {most}" if most is not None else ""
    raise InvalidValue(f"{what} = {shown(value)}; expected {expected}" + (f", {hint}" if hint else ""))


def expect_seed(value: Any, what: str = "seed", hint: str = "such as 0") -> int:
    """A seed: a whole number from 0 to 2^63 - 1. None is refused: every run can be repeated.

    Raises:
        InvalidValue: it is something else.
    """
    if is_whole(value) and 0 <= value < 2**63:
        return int(value)
    raise InvalidValue(f"{what} = {shown(value)}; expected a whole number from 0 to 2^63 - 1, {hint}")


def expect_name(value: Any, what: str) -> str:
    """A non-empty string.

    Raises:
        InvalidValue: it is something else.
    """
    if isinstance(value, str) and value.strip():
        return value
    raise InvalidValue(f"{what} = {shown(value)}; expected a name, a string that is not empty")


def expect_names(value: Any, what: str) -> tuple[str, ...]:
    """Several names in order: a list or tuple of strings, not one string.

    Raises:
        InvalidValue: it is something else.
    """
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise InvalidValue(f"{what} = {shown(value)}; expected a list or tuple of names, such as ('position', 'speed')")


def expect_flag(value: Any, what: str) -> bool:
    """True or False.

    Raises:
        InvalidValue: it is something else.
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise InvalidValue(f"{what} = {shown(value)}; expected True or False")


def expect_choice(value: Any, what: str, choices: Sequence[str | None], hint: str = "") -> Any:
    """One of several words; None in ``choices`` means that the argument may be left out.

    Args:
        hint: what else may be given, for the message.

    Raises:
        InvalidValue: it is something else.
    """
    if (value is None or isinstance(value, str)) and value in choices:
        return value
    *others, last = [repr(choice) for choice in choices if choice is not None]
    words = f"{', '.join(others)} or {last}" if others else last
    words += ", or leave it out" if None in choices else ""
    raise InvalidValue(f"{what} = {shown(value)}; expected {words}{hint}")


def expect_array(
    value: Any, what: str, shape: Sequence[int | str] | None = None, *, infinite: bool = False, nan: bool = False
) -> np.ndarray:
    """Real numbers as an array of floats.

    Args:
        shape: what is expected, with a word for a size that is free, such as ``("samples", 4)``.
        infinite, nan: whether infinity, and NaN, are allowed.

    Raises:
        InvalidValue: something that does not consist of real numbers (text, None, truth values, complex numbers,
            objects, generators), or numbers that are not finite.
        DimensionMismatch: another shape.
    """
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever a foreign object does when it is asked for an array
        raise InvalidValue(f"{what} = {shown(value)}; {_numbers_expected(shape)} ({_first_line(error)})") from error
    if array.dtype.kind not in "fiu" or _holds_flags(value):
        raise InvalidValue(f"{what} = {shown(value)}; {_numbers_expected(shape)}")
    array = array.astype(float)  # a copy, so that what is checked stays as it is
    if shape is not None and not _fits(array.shape, shape):
        raise DimensionMismatch(f"{what} has shape {array.shape}; expected {_shape(shape)}")
    if not nan and np.isnan(array).any():
        numbers = "numbers (or infinity)" if infinite else "finite numbers"
        raise InvalidValue(f"{what} = {shown(value)} contains NaN; give {numbers}")
    if not infinite and np.isinf(array).any():
        raise InvalidValue(f"{what} = {shown(value)} contains infinity; give finite numbers")
    return array


def expect_pair(value: Any, what: str) -> tuple[float, float]:
    """Lower and upper bound, each a number or infinite, lower <= upper.

    Raises:
        InvalidValue: it is something else.
    """
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1):
        low, high = value if len(value) == 2 else (None, None)
        if is_number(low) and is_number(high):
            if low <= high and low < math.inf and high > -math.inf:  # all false where one of them is NaN
                return float(low), float(high)
            raise InvalidValue(
                f"{what} = ({shown(low)}, {shown(high)}); expected two numbers, lower <= upper (-inf, inf for no bound)"
            )
    raise InvalidValue(f"{what} = {shown(value)}; expected a pair of numbers (lower, upper)")


def expect_arguments(function: Any, arguments: str, where: str) -> Callable[..., Any]:
    """Returns the function if it can be called with these arguments.

    Args:
        arguments: their names, such as ``"x, u"``; empty for a function without arguments.

    Raises:
        InvalidValue: it is not a function, is a class, or takes another number of arguments.
    """
    example = f"lambda {arguments}: ..." if arguments else "lambda: ..."
    if not callable(function) or isinstance(function, type):
        given = shown(function) if isinstance(function, type) else type(function).__name__
        raise InvalidValue(f"{where} is {given}; expected a function of ({arguments}), such as {example}")
    _expect_arity(function, arguments, where, f"a function of ({arguments}), such as {example}")
    return function


def expect_factory(make: Any, arguments: str, what: str, hint: str) -> Callable[..., Any]:
    """Returns the factory, a function or a class, if it can be called with these arguments.

    Raises:
        InvalidValue: it is an object instead, or takes other arguments.
    """
    if not callable(make):
        raise InvalidValue(f"{what} = {shown(make)}; expected {hint}")
    _expect_arity(make, arguments, what, hint)
    return make


def _expect_arity(function: Callable[..., Any], arguments: str, what: str, expected: str) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C: it does not tell
        return
    try:
        signature.bind(*[name for name in arguments.split(", ") if name])
    except TypeError as error:
        raise InvalidValue(f"{what} takes {signature}; expected {expected}") from error


def _fits(given: tuple[int, ...], shape: Sequence[int | str]) -> bool:
    return len(given) == len(shape) and all(
        isinstance(size, str) or size == n for n, size in zip(given, shape, strict=True)
    )


def _shape(shape: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _numbers_expected(shape: Sequence[int | str] | None) -> str:
    return "expected real numbers" + ("" if shape is None else f" of shape {_shape(shape)}") + ", as a list or array"


def _holds_flags(value: Any) -> bool:
    """Whether a flat list mixes truth values with numbers, which numpy would turn into numbers."""
    return isinstance(value, (list, tuple)) and any(isinstance(entry, (bool, np.bool_)) for entry in value)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
