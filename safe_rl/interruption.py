"""Defers Ctrl-C to the end of an update, so that a run can be saved in a consistent state."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["deferred_interrupt"]


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Context that yields a function which returns whether Ctrl-C was pressed. A second Ctrl-C interrupts immediately.

    Python lets only the main thread handle signals; in any other thread, and if the program has its own handler,
    nothing is changed and the function always returns False.
    """
    is_pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal is_pressed
        is_pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: is_pressed
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
