"""Worker processes that end with the process that started them, however that process ends.

A process that is killed cannot notify its workers, but the operating system releases its locks: if a worker can acquire
the lock of its parent, the parent has ended. This also works on Windows, where the parent's process number is of no
use.
"""

from __future__ import annotations

import atexit
import os
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from typing import BinaryIO

from systems.files import try_lock

__all__ = ["end_with", "lifeline"]

_INTERVAL = 1.0  # seconds between two attempts


@cache
def lifeline() -> str:
    """The path of a file that this process keeps locked as long as it lives; empty if there are no locks."""
    handle, path = tempfile.mkstemp(prefix="trivium-alive-")
    held, other = os.fdopen(handle, "ab"), open(path, "ab")  # noqa: SIM115
    works = try_lock(held) and not try_lock(other)
    other.close()
    atexit.register(_forget, held, path)
    return path if works else ""


def end_with(path: str) -> None:
    """This process ends within about a second after the one whose :func:`lifeline` it is given."""
    if path:
        with suppress(OSError):
            file = open(path, "ab")  # noqa: SIM115
            threading.Thread(target=_watch, args=(file,), daemon=True).start()


def _watch(file: BinaryIO) -> None:
    while not try_lock(file):
        time.sleep(_INTERVAL)
    with suppress(OSError):
        os.unlink(file.name)
    os._exit(1)


def _forget(held: BinaryIO, path: str) -> None:
    held.close()
    with suppress(OSError):
        os.unlink(path)
