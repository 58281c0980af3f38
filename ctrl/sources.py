"""Loads controllers named on the command line, together with their identity in another process."""

from __future__ import annotations

from pathlib import Path

from ctrl.cells.identity import Identified, file_digest, identity
from ctrl.discovery import load

__all__ = ["load_identified"]


def load_identified(text: str) -> Identified:
    """A controller's factory; see :func:`ctrl.discovery.load`.

    Args:
        text: name of an entry point, path/to/file.py:Thing, module:Thing, or the path of a saved policy.

    Raises:
        UnknownObject, BrokenEntryPoint: as there.
    """
    factory = load("trivium.controllers", text)
    source, _, attribute = text.rpartition(":") if ":" in text else (text, "", "")
    path = Path(source).expanduser()
    if path.is_file():
        return Identified(factory, f"{path.name}:{attribute} {file_digest(path)[:16]}")
    return Identified(factory, identity(factory) or text)
