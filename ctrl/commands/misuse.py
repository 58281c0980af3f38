"""What commands share: how they refuse, and how they name things."""

from __future__ import annotations

from pathlib import Path

from systems.errors import TriviumError

__all__ = ["Misuse", "short_name"]


class Misuse(TriviumError, ValueError):
    """The command line asks for something that cannot be."""


def short_name(name: str) -> str:
    """``my_law.py:Relay`` goes by ``Relay`` in tables, ``runs/x/my.policy`` by ``my``."""
    return name.rpartition(":")[2] if ":" in name else Path(name).stem if "/" in name else name
