"""What goes wrong when a plant or task is written down: what was given, what was expected, how to mend it."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["DimensionMismatch", "InvalidValue", "UnknownName", "expect", "located"]


class InvalidValue(ValueError):
    """A number or an object that cannot mean anything here: NaN bounds, a negative step, a duplicate name."""


class DimensionMismatch(ValueError):
    """An array whose shape does not fit the signals it speaks of."""


class UnknownName(ValueError, AttributeError):
    """A signal or parameter name that was never declared."""

    @classmethod
    def among(cls, name: str, known: Iterable[str], what: str) -> UnknownName:
        """An error that lists what is known and guesses what was meant."""
        names = list(known)
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return cls(f"unknown {what} '{name}'; known: {', '.join(names) or 'none'}.{hint}")


@contextmanager
def located(where: str) -> Iterator[None]:
    """Says of an unknown name where it was written, such as ``"task 't': constraint 'c'"``."""
    try:
        yield
    except UnknownName as error:
        raise UnknownName(f"{where}: {error}") from error


def expect(value: Any, kind: type, what: str, hint: str) -> None:
    """Refuses an object of another kind.

    Args:
        what: whose value this is, such as ``"task 't': reference"``. hint: how to mend it.

    Raises:
        InvalidValue: it is no instance of ``kind``.
    """
    if not isinstance(value, kind):
        given = f"the class {value.__name__}" if isinstance(value, type) else reprlib.repr(value)
        raise InvalidValue(f"{what} = {given}; expected an instance of {kind.__name__}, {hint}")
