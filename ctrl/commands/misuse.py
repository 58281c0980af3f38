"""What commands share: how they refuse, how they name things, and how they say where a result lies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from systems.errors import TriviumError

if TYPE_CHECKING:
    from systems.files import Kept

__all__ = ["Misuse", "short_name", "tell"]


class Misuse(TriviumError, ValueError):
    """The command line asks for something that cannot be."""


def short_name(name: str) -> str:
    """``my_law.py:Relay`` goes by ``Relay`` in tables, ``runs/x/my.policy`` by ``my``."""
    return name.rpartition(":")[2] if ":" in name else Path(name).stem if "/" in name else name


def tell(saved: Kept) -> None:
    """Where a result was written, and why that is another place than was asked for."""
    if saved.trouble:
        print(f"trivium: {saved.trouble}", file=sys.stderr)
    print(f"saved: {saved.path}")
