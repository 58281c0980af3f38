"""`trivium list`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

__all__ = ["List"]


@dataclass(frozen=True)
class List:
    """List the tasks, controllers, comparisons and learners that are installed.

    Exit status: 0 all can be loaded; 1 one cannot.
    """

    def run(self) -> int:
        from ctrl.discovery import BrokenEntryPoint, Group, entry_points, load

        wrong = 0
        for group in get_args(Group):
            print(group.removeprefix("trivium."))
            found = entry_points(group)
            if not found:
                print("  none is installed; pip install -e . registers them")
            for name, point in found.items():
                try:
                    described = (load(group, name).__doc__ or "").strip().split("\n")[0]
                except BrokenEntryPoint as error:
                    described, wrong = f"BROKEN: {error}", 1
                print(f"  {name:<20} {point.value:<40} {described}")
        return wrong
