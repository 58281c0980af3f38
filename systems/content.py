"""Equality of objects that contain arrays and mappings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["ByContent"]


class ByContent:
    """A frozen dataclass, declared with ``eq=False``, that is equal to another if their classes and fields are equal.

    The equality that a dataclass generates compares arrays to an array and cannot hash a mapping. Here a list, a tuple
    and an array of the same numbers are equal, and so are mappings in another order; a function equals only itself.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByContent) and _content(self) == _content(other)

    def __hash__(self) -> int:
        return hash(_content(self))


def _content(thing: Any) -> Any:
    """The same numbers as something that can be compared and hashed."""
    if isinstance(thing, ByContent):
        if not dataclasses.is_dataclass(thing):  # what it holds is not known: equal only to itself
            return type(thing), id(thing)
        return type(thing), tuple(_content(getattr(thing, field.name)) for field in dataclasses.fields(thing))
    if isinstance(thing, Mapping):
        return frozenset((key, _content(value)) for key, value in thing.items())
    if isinstance(thing, np.ndarray):
        return _content(thing.tolist())
    return tuple(map(_content, thing)) if isinstance(thing, (list, tuple)) else thing
