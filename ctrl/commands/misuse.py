"""Shared by the commands: errors about misuse, short names, and messages about written results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from systems.errors import TriviumError

if TYPE_CHECKING:
    from systems.files import Kept

__all__ = ["Misuse", "short_name", "tell"]


class Misuse(TriviumError, ValueError):
    """The arguments of the command line contradict each other or cannot be used."""


def short_name(name: str) -> str:
    """``my_controller.py:Relay`` goes by ``Relay`` in tables, ``runs/x/my.policy`` by ``my``."""
    return name.rpartition(":")[2] if ":" in name else Path(name).stem if "/" in name else name


def tell(saved: Kept, reservation: str = "") -> None:
    """States where a result was written, with a reservation, and, if that is not the requested path, why."""
    if saved.trouble:
        print(f"trivium: {saved.trouble}", file=sys.stderr)
    print(f"saved{reservation}: {saved.path}")
