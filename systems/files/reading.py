"""Reads regular files up to a maximum size."""

from __future__ import annotations

import os
from pathlib import Path

from systems.files.errors import FileError

__all__ = ["read_bytes"]


def read_bytes(path: str | Path, most: int) -> bytes:
    """All bytes of a file.

    Args:
        most: bytes that it may have.

    Raises:
        FileError: it does not exist, is not a regular file (a folder, a device, a pipe), cannot be read, or is larger.
    """
    path = Path(path)
    try:
        other = path.exists() and not path.is_file()
        data = b"" if other else _read(path, most + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise FileError(
            f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}; check the path"
        ) from error
    if other:
        what = "a folder" if path.is_dir() else "no regular file"
        raise FileError(f"{path}: cannot be read: it is {what}; give the path of a file")
    if len(data) > most:
        raise FileError(f"{path}: larger than {most >> 20} MiB, more than any file of this kind")
    return data


def _read(path: Path, most: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(min(os.fstat(file.fileno()).st_size, most))
