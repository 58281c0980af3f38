"""Atomic writes: at every instant a path contains either the complete old file or the complete new one."""

from __future__ import annotations

import itertools
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from errno import EINVAL, EISDIR
from pathlib import Path
from typing import Any, NamedTuple

from systems.files.errors import OutputError

__all__ = ["Kept", "free", "kept", "names", "probe", "write"]

_PART = ".trivium-{token}.part"
_ABANDONED = 3600.0  # seconds without a write after which a part belongs to a process that was killed
_PROBE = 1 << 16  # bytes


def write(path: str | Path, content: bytes | Iterable[bytes | memoryview]) -> None:
    """Writes a file so that a reader of ``path`` finds either the old or the new content.

    Every writer uses a temporary file beside the target, flushes it to disk and moves it into place. Of several
    concurrent writers, each writes a complete file and the last one remains. Missing folders are created.

    Raises:
        OSError: it cannot be written, or exists and is not a regular file; an existing file is left unchanged.
    """
    path = _target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path.parent)
    part = path.with_name(_PART.format(token=secrets.token_hex(8)))
    try:
        with open(part, "xb") as file:
            for piece in [content] if isinstance(content, bytes) else content:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):  # it names the part, or nothing
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
    if os.name == "posix":  # the move itself must survive a power cut
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def probe(path: str | Path) -> None:
    """Checks before the work, by writing a small file beside it, whether a file can be written.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        folder = _target(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error.strerror or error}; choose another place") from error


def names(path: str | Path) -> Iterator[Path]:
    """The path, NAME-2.END, NAME-3.END, ...: names for a file that must not replace an existing one."""
    path = Path(path)
    end = "".join(path.suffixes)
    stem = path.name.removesuffix(end)
    yield path
    for k in itertools.count(2):
        yield path.with_name(f"{stem}-{k}{end}")


def free(path: str | Path) -> Path:
    """The first of :func:`names` that is not taken."""
    return next(name for name in names(path) if not os.path.lexists(name))


class Kept(NamedTuple):
    """The path of a saved result, and the reason if it is not the requested path."""

    path: Path
    trouble: str


def kept(path: str | Path, save: Callable[[Path], Any]) -> Kept:
    """Saves a result that must not be lost: to ``path``, else under an unused name in the current folder, else in the
    folder for temporary files.

    Args:
        save: writes to a path, or raises OSError.

    Raises:
        OutputError: none of these locations can be written; the message names all of them.
    """
    path, failed = Path(path), []
    for place in (path, *_elsewhere(path.name)):
        try:
            save(place)
        except OSError as error:
            failed.append(f"'{place}' cannot be written: {error.strerror or error}")
        else:
            return Kept(place, "; ".join(failed))
    raise OutputError("; ".join(failed))


def _elsewhere(name: str) -> Iterator[Path]:
    """Free places for a file that its own place does not take."""
    for folder in (os.getcwd, tempfile.gettempdir):
        with suppress(OSError):  # there may be neither
            yield free(Path(folder()) / name)


def _target(path: str | Path) -> Path:
    """Where a path leads; devices and folders are not replaced by files."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        number, what = (EISDIR, "a folder") if target.is_dir() else (EINVAL, "no regular file")
        raise OSError(number, f"it is {what}; give the path of a file", str(path))
    return target


def _remove_abandoned(folder: Path) -> None:
    """Parts of processes that were killed."""
    with suppress(OSError):
        for part in folder.glob(_PART.format(token="*")):
            if time.time() - part.stat().st_mtime > _ABANDONED:
                part.unlink()
