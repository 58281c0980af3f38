"""The cache folder for compiled libraries and trained policies."""

from __future__ import annotations

import os
import stat
import tempfile
import warnings
from functools import cache
from pathlib import Path

import platformdirs

from systems.errors import InvalidValue

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """An existing folder: ``$TRIVIUM_CACHE``, else ``trivium`` in the platform's folder for user caches. If that cannot
    be written to, a temporary folder, the same throughout the process, with a warning.

    Libraries in it are executed, so it must belong to the user alone: it is created with permissions 0700.

    Raises:
        OSError: ``$TRIVIUM_CACHE`` cannot be created.
        InvalidValue: anybody may write to it, or it belongs to another user.
    """
    if chosen := os.environ.get("TRIVIUM_CACHE"):
        folder = Path(chosen)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(folder):
            raise InvalidValue(
                f"TRIVIUM_CACHE is {folder}, which others may write to, and what lies there is executed; chmod 700 it, "
                "or choose a folder of your own"
            )
        return folder
    try:
        folder = platformdirs.user_cache_path("trivium", appauthor=False)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK) and _is_private(folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        pass
    return _temporary()


def _is_private(folder: Path) -> bool:
    """Whether it is the user's own, or root's, and not open to everybody's files."""
    if os.name == "nt":
        return True  # profiles are; what else a user chooses, permissions of POSIX do not tell
    status = folder.stat()
    return status.st_uid in (0, os.getuid()) and not status.st_mode & stat.S_IWOTH


@cache
def _temporary() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="trivium-"))
    warnings.warn(
        f"the user's cache folder cannot be written to, or others may write to it, and {folder} is for this process "
        "alone: set TRIVIUM_CACHE to a folder of your own in which compiled libraries and trained policies can be kept",
        stacklevel=3,
    )
    return folder
