"""The errors of the package. Each states what was given, what was expected, and how to fix it."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "DimensionMismatch",
    "InvalidValue",
    "NotReady",
    "TriviumError",
    "UnknownName",
    "expect",
    "located",
    "shown",
]


class TriviumError(Exception):
    """Base class of every error that this package raises deliberately.

    Errors caused by misuse are also ``ValueError``s, as raised by Python's own functions; errors of the machine or of
    files are also ``OSError``s, ``ImportError``s or ``RuntimeError``s.
    """


class InvalidValue(TriviumError, ValueError):
    """A number or an object that cannot be used here: a NaN bound, a negative step, a class instead of an instance."""


class DimensionMismatch(TriviumError, ValueError, IndexError):
    """An array with the wrong shape for its signals, or an index out of their range."""


class UnknownName(TriviumError, ValueError, AttributeError):
    """A signal or parameter name that was never declared."""

    @classmethod
    def among(cls, name: Any, known: Iterable[str], what: str) -> UnknownName:
        """An error that lists the known names and suggests the closest one."""
        names = list(known)
        close = difflib.get_close_matches(str(name), names, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        given = f"'{name}'" if isinstance(name, str) else shown(name)
        return cls(f"unknown {what} {given}; known: {', '.join(names) or 'none'}.{hint}")


class NotReady(TriviumError, RuntimeError):
    """A method was called before the one that it depends on."""


@contextmanager
def located(where: str, kind: type[TriviumError] = UnknownName) -> Iterator[None]:
    """Adds to an error of this kind where the mistake was written, such as ``"task 't': constraint 'c'"``."""
    try:
        yield
    except kind as error:
        raise type(error)(f"{where}: {error}") from error


_SHORT = reprlib.Repr()
_SHORT.maxstring, _SHORT.maxlevel = 80, 3


def shown(value: Any) -> str:
    """A short representation of a value, as it would be typed."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    try:
        text = _SHORT.repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return f"a {type(value).__name__} too long to be shown"
    text, *more = text.split("\n", 1)
    return text if len(text) <= 200 and not more else f"{text[:200]}..."


def expect(value: Any, kind: type | tuple[type, ...], what: str, hint: str) -> None:
    """Refuses an object of another class.

    Args:
        what: name of the argument, such as ``"task 't': reference"``. hint: how to fix it.

    Raises:
        InvalidValue: it is not an instance of ``kind``.
    """
    if not isinstance(value, kind):
        kinds = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise InvalidValue(f"{what} = {shown(value)}; expected an instance of {kinds}, {hint}")
