"""Checks of a learner's numeric settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from systems.arguments import expect_number, expect_whole, is_whole
from systems.errors import InvalidValue, shown

__all__ = ["expect_counts", "expect_numbers", "expect_widths"]


def expect_counts(settings: Any, names: Iterable[str], least: int = 1) -> None:
    """Rejects settings of these names that are not whole numbers of at least ``least``.

    Raises:
        InvalidValue: names the setting and its value.
    """
    for name in names:
        value = getattr(settings, name)
        expect_whole(value, f"{type(settings).__name__}: {name}", least=least)


def expect_numbers(
    settings: Any,
    names: Iterable[str],
    above: float | None = None,
    most: float | None = None,
    least: float | None = None,
) -> None:
    """Rejects settings of these names that are not finite numbers in this range.

    Raises:
        InvalidValue: names the setting and its value.
    """
    for name in names:
        expect_number(
            getattr(settings, name), f"{type(settings).__name__}: {name}", above=above, least=least, most=most
        )


def expect_widths(settings: Any, names: Iterable[str]) -> None:
    """Rejects settings of these names that are not widths of layers, such as (64, 64).

    Raises:
        InvalidValue: names the setting and its value.
    """
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, (list, tuple)) or not all(is_whole(width) and width >= 1 for width in value):
            raise InvalidValue(
                f"{type(settings).__name__}: {name} = {shown(value)}; expected whole numbers of at least 1, such as "
                "(64, 64)"
            )
