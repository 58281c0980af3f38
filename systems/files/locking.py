"""One writer at a time: an operating-system lock, which ends with the process that holds it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from systems.files.errors import InUse, OutputError
from systems.files.writing import names

__all__ = ["locked", "locked_new", "try_lock"]

_INTERVAL = 0.2  # seconds between two attempts


@contextmanager
def locked(path: str | Path, wait: bool = False) -> Iterator[Path]:
    """Context in which only this process writes a file or a folder, among the processes that use this lock.

    The lock is that of ``.NAME.lock`` beside it. A process that is killed leaves that file, but not the lock. On file
    systems without locks there is no protection.

    Args:
        wait: whether to wait until the other process has finished, instead of refusing immediately.

    Raises:
        InUse: another process holds it. OutputError: no file can be made there.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.lock")
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        file = _held(beside)
        while file is None:
            if not wait:
                raise InUse(f"{path}: another process is writing it; wait for its end, or choose another path")
            time.sleep(_INTERVAL)
            file = _held(beside)
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error.strerror or error}; choose another place") from error
    try:
        yield path
    finally:
        # Removed while it is held: whoever opened it meanwhile sees that it is gone. Windows removes no open file.
        if os.name != "nt":
            with suppress(OSError):
                beside.unlink()
        file.close()
        if os.name == "nt":
            with suppress(OSError):
                beside.unlink()


@contextmanager
def locked_new(path: str | Path) -> Iterator[Path]:
    """:func:`locked` of the first of :func:`systems.files.names` that is there for none yet, and that no other process
    is about to write."""
    for name in names(path):
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(name))
            except InUse:
                continue
            if os.path.lexists(name):
                continue
            yield name
            return


def _held(path: Path) -> BinaryIO | None:
    """The lock file, open and locked; None where another process has it."""
    while True:
        try:
            file = open(path, "ab")  # noqa: SIM115
        except PermissionError:
            if os.name == "nt":  # about to be removed by who held it
                return None
            raise
        if not try_lock(file):
            file.close()
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()  # it was removed between opening and locking


def try_lock(file: BinaryIO) -> bool:
    """Whether an open file is now locked for this process; True where the file system knows no locks."""
    if os.name == "nt":
        import msvcrt

        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # such as ENOLCK, EOPNOTSUPP
        return True
    return True
