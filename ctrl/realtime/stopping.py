"""Stops a loop on the signals that end a process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["stopped_by_signals"]


@contextmanager
def stopped_by_signals(stop: threading.Event, reasons: list[str]) -> Iterator[None]:
    """Context in which SIGINT and SIGTERM set ``stop`` and add their name to ``reasons`` instead of ending the process.

    A second signal raises KeyboardInterrupt, for a controller in the loop's thread that does not return.
    Outside the main thread, where Python allows no handlers, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: Any) -> None:
        reasons.append(signal.Signals(number).name)
        if len(reasons) > 1:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
