"""The settings of finished work, which must not be mixed with work under other settings."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from systems.files import FileError, OutputError, read_json

__all__ = ["expect_same", "versions"]

_PACKAGES = ("trivium-control", "numpy", "scipy", "casadi", "daqp", "piqp", "torch")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    held = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            held[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return held


def expect_same(path: Path, settings: Mapping[str, Any], what: str) -> None:
    """Refuses to resume work that was begun with other settings.

    Args:
        path: of the settings in the folder of finished work; if it does not exist, nothing is checked.
        settings: of the work to be done, by their names in messages.
        what: kind of work, such as "comparison".

    Raises:
        OutputError: they differ, or the file cannot be read.
    """
    if not path.exists():
        return
    folder = path.parent.parent
    try:
        held = read_json(path)
    except FileError as error:
        raise OutputError(f"'{folder}' cannot be resumed: {error}; choose another folder (--out DIR)") from error
    if not isinstance(held, dict):
        held = {}
    differ = [
        f"{key} {_brief(held.get(key))}, now {_brief(new)}" for key, new in settings.items() if held.get(key) != new
    ]
    if differ:
        raise OutputError(
            f"'{folder}' holds a {what} with {'; '.join(differ)}; choose another folder (--out DIR), or the same "
            "settings to resume"
        )


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_brief(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(_brief, value)) or "none"
    text = "not stated" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:16]}..."
