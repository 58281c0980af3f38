"""Where things are kept that are made once: compiled libraries, trained policies."""

from __future__ import annotations

import os
import tempfile
import warnings
from functools import cache
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """A folder that exists: ``$TRIVIUM_CACHE``, else ``trivium`` in the user's cache folder, ``$XDG_CACHE_HOME`` or
    ``~/.cache``. Where that cannot be written to, a temporary one, the same throughout the process, with a warning.

    Raises:
        OSError: ``$TRIVIUM_CACHE`` cannot be made.
    """
    if chosen := os.environ.get("TRIVIUM_CACHE"):
        folder = Path(chosen)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    try:
        base = os.environ.get("XDG_CACHE_HOME")
        folder = (Path(base) if base else Path.home() / ".cache") / "trivium"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        pass
    return _temporary()


@cache
def _temporary() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="trivium-"))
    warnings.warn(
        f"the user's cache folder cannot be written to, and {folder} is for this process alone: set TRIVIUM_CACHE to a "
        "folder in which compiled libraries and trained policies can be kept",
        stacklevel=3,
    )
    return folder
