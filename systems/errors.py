"""What goes wrong when a plant or task is written down: what was given, what was expected, how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["DimensionMismatch", "InvalidValue", "UnknownName"]


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
