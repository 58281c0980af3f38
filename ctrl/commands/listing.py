"""`trivium list`."""

from __future__ import annotations

import re
import shutil
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from ctrl.discovery import Group

__all__ = ["List"]

_NO_TERMINAL = 10_000  # columns: one line per entry, for grep and the like
_NAMES, _LEAST_TEXT = 26, 48


@dataclass(frozen=True)
class List:
    """List the tasks, controllers, comparisons and learners that are installed, each with its description and, in
    parentheses, the place of its definition. Lines are wrapped in a terminal; otherwise each entry is one line.

    Exit status: 0 everything can be loaded, or needs an extra that the list names; 1 something cannot.
    """

    def run(self) -> int:
        from ctrl.discovery import BrokenEntryPoint, Group, MissingExtra, entry_points, missing_extra

        is_any_broken, width = False, shutil.get_terminal_size((_NO_TERMINAL, 24)).columns
        for group in get_args(Group):
            print(group.removeprefix("trivium."))
            points = entry_points(group)
            if not points:
                print("  none is installed; pip install -e . registers them")
            for name, point in points.items():
                try:
                    command = missing_extra(point)
                    place = f"({point.module}:{point.attr})"
                    described = f"needs {command}" if command else f"{_summary(group, point)} {place}"
                except MissingExtra as error:
                    described = f"needs {error.command}"
                except BrokenEntryPoint as error:
                    described, is_any_broken = f"BROKEN: {error}", True
                print(_entry(name, described, width))
        return 1 if is_any_broken else 0


def _entry(name: str, described: str, width: int) -> str:
    """A name and its description in lines of at most ``width`` columns, except where one word has more."""
    head, indent = f"  {name:<{_NAMES - 2}}", " " * _NAMES
    if len(f"  {name} ") > _NAMES or width - _NAMES < _LEAST_TEXT:  # the description begins below the name
        head, indent = f"  {name}\n    ", " " * 4
    room = width - len(indent)
    words = (word if len(word) <= room else word.replace(":", ": ") for word in described.split())
    lines = textwrap.wrap(" ".join(words), room, break_long_words=False, break_on_hyphens=False)
    return head + f"\n{indent}".join(lines)


def _summary(group: Group, point: EntryPoint) -> str:
    """First sentence of a docstring, without the markup of references. That of this package is read from the source,
    since importing all of it takes seconds; others are imported, as only that says whether they can be."""
    from ctrl.discovery import load
    from ctrl.docstrings import summary, summary_of

    is_own = point.dist is not None and point.dist.name == "trivium-control"
    sentence = summary(point.module, point.attr) if is_own else None
    if sentence is None:
        sentence = summary_of(load(group, point.name).__doc__)
    return re.sub(r":\w+:`~?([^`]*)`|``([^`]*)``", lambda match: match[1] or match[2], sentence)
