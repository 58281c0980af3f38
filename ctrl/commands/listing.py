"""`trivium list`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from ctrl.discovery import Group

__all__ = ["List"]


@dataclass(frozen=True)
class List:
    """List the tasks, controllers, comparisons and learners that are installed.

    Exit status: 0 everything can be loaded, or needs an extra that the list names; 1 something cannot.
    """

    def run(self) -> int:
        from ctrl.discovery import BrokenEntryPoint, Group, MissingExtra, entry_points

        is_any_broken = False
        for group in get_args(Group):
            print(group.removeprefix("trivium."))
            points = entry_points(group)
            if not points:
                print("  none is installed; pip install -e . registers them")
            for name, point in points.items():
                try:
                    described = _summary(group, name)
                except MissingExtra as error:
                    described = f"needs {error.command}"
                except BrokenEntryPoint as error:
                    described, is_any_broken = f"BROKEN: {error}", True
                print(f"  {name:<20} {point.value:<40} {described}")
        return 1 if is_any_broken else 0


def _summary(group: Group, name: str) -> str:
    """First line of a docstring, without the markup of references."""
    from ctrl.discovery import load

    line = (load(group, name).__doc__ or "").strip().split("\n")[0]
    return re.sub(r":\w+:`~?([^`]*)`|``([^`]*)``", lambda match: match[1] or match[2], line)
