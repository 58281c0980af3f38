"""Numbers of a learner's settings, refused where they can mean nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from systems.errors import InvalidValue

__all__ = ["expect_counts", "expect_numbers", "expect_widths"]


def expect_counts(settings: Any, names: Iterable[str], least: int = 1) -> None:
    """Refuses settings of these names that are not whole numbers of at least so many.

    Raises:
        InvalidValue: says which, and what it is.
    """
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, (int, np.integer)) or value < least:
            raise _refused(settings, name, f"a whole number of at least {least}")


def expect_numbers(settings: Any, names: Iterable[str], above: float = -math.inf, most: float = math.inf) -> None:
    """Refuses settings of these names that are not finite numbers above one and at most the other.

    Raises:
        InvalidValue: says which, and what it is.
    """
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, (int, float, np.number)) or not (math.isfinite(value) and above < value <= most):
            within = (f" above {above:g}" if above > -math.inf else "") + (
                f", at most {most:g}" if most < math.inf else ""
            )
            raise _refused(settings, name, f"a finite number{within}")


def expect_widths(settings: Any, names: Iterable[str]) -> None:
    """Refuses settings of these names that are no widths of layers, such as (64, 64).

    Raises:
        InvalidValue: says which, and what it is.
    """
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, Sequence) or not all(isinstance(w, (int, np.integer)) and w >= 1 for w in value):
            raise _refused(settings, name, "whole numbers of at least 1, such as (64, 64)")


def _refused(settings: Any, name: str, expected: str) -> InvalidValue:
    return InvalidValue(f"{type(settings).__name__}: {name} = {getattr(settings, name)!r}; expected {expected}")
