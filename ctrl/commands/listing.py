"""`trivium list`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from ctrl.discovery import Group

__all__ = ["List"]


@dataclass(frozen=True)
class List:
    """List the tasks, controllers, comparisons and learners that are installed.

    Exit status: 0 everything can be loaded, or needs an extra that the list names; 1 something cannot.
    """

    def run(self) -> int:
        from ctrl.discovery import BrokenEntryPoint, Group, MissingExtra, entry_points, missing_extra

        is_any_broken = False
        for group in get_args(Group):
            print(group.removeprefix("trivium."))
            points = entry_points(group)
            if not points:
                print("  none is installed; pip install -e . registers them")
            for name, point in points.items():
                try:
                    command = missing_extra(point)
                    described = f"needs {command}" if command else _summary(group, point)
                except MissingExtra as error:
                    described = f"needs {error.command}"
                except BrokenEntryPoint as error:
                    described, is_any_broken = f"BROKEN: {error}", True
                print(f"  {name:<20} {f'{point.module}:{point.attr}':<40} {described}")
        return 1 if is_any_broken else 0


def _summary(group: Group, point: EntryPoint) -> str:
    """First line of a docstring, without the markup of references. Of this package it is read from the source, since
    importing all of it takes seconds; other packages are imported, as only that says whether they can be."""
    from ctrl.discovery import load
    from ctrl.docstrings import first_line

    is_own = point.dist is not None and point.dist.name == "trivium-control"
    line = first_line(point.module, point.attr) if is_own else None
    if line is None:
        line = (load(group, point.name).__doc__ or "").strip().split("\n")[0]
    return re.sub(r":\w+:`~?([^`]*)`|``([^`]*)``", lambda match: match[1] or match[2], line)
