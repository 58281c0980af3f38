"""Ends the program soon after an interrupt from the terminal, whatever it is doing."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["ends_promptly"]

_PATIENCE = 1.5  # seconds


@contextmanager
def ends_promptly(message: str, patience: float = _PATIENCE) -> Iterator[None]:
    """Context in which an interrupt raises KeyboardInterrupt, and ends the process if code catches that exception.
    Results have been written to files by then.

    Args:
        message: printed before the process is ended.
        patience: seconds between the two; default: 1.5.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = threading.Event()

    def end() -> None:
        if not ended.wait(patience):
            print(f"interrupted: {message}", file=sys.stderr, flush=True)
            os._exit(130)

    def interrupted(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=end, daemon=True).start()
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # such as a background job's, which ignores interrupts
        yield
        return
    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        ended.set()
        signal.signal(signal.SIGINT, before)
