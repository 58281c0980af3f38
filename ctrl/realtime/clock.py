"""The clock of a loop: the machine's clock, or a simulated one for tests."""

from __future__ import annotations

import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from typing import final

from systems.arguments import expect_number

__all__ = ["Clock", "RealClock", "SimulatedClock"]

_SLICE = 50_000_000  # ns before the end of a sleep from which on it cannot be cut short
_SELECTABLE = 1024  # file descriptors below this one can be given to select()
_PATIENCE = 10.0  # seconds of real time that a simulated clock waits for a process


class Clock(ABC):
    """A monotonic clock in nanoseconds, which the loop uses for everything related to time."""

    @abstractmethod
    def time(self) -> int:
        """The current time, in nanoseconds since an arbitrary instant."""

    @abstractmethod
    def sleep_until(self, instant: int, stop: threading.Event) -> None:
        """Returns at ``instant``, or earlier once ``stop`` is set."""

    @abstractmethod
    def wait(self, connection: socket.socket, until: int) -> bool:
        """Waits until ``connection`` can be read, at most until ``until``; returns whether it can."""


@final
class RealClock(Clock):
    """CLOCK_MONOTONIC. Sleeps end by spinning, because the scheduler wakes a process late, by about 60 us on Linux.

    Args:
        spin: seconds before an instant at which to stop sleeping and to poll the time; default: 100 us.
    """

    def __init__(self, spin: float = 1e-4) -> None:
        self._spin = int(1e9 * expect_number(spin, "spin", least=0.0, most=1.0, hint="in seconds"))

    def time(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, instant: int, stop: threading.Event) -> None:
        left = instant - time.monotonic_ns()
        if left > 2 * _SLICE and stop.wait(1e-9 * (left - _SLICE)):
            return
        left = instant - time.monotonic_ns()
        if left > self._spin:
            time.sleep(1e-9 * (left - self._spin))  # clock_nanosleep with an absolute time, where there is one
        while time.monotonic_ns() < instant:
            pass

    def wait(self, connection: socket.socket, until: int) -> bool:
        left = max(until - time.monotonic_ns(), 0)
        if connection.fileno() >= _SELECTABLE and hasattr(select, "poll"):
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            return bool(poll.poll(1e-6 * left))  # which rounds up to milliseconds
        return bool(select.select([connection], (), (), 1e-9 * left)[0])


@final
class SimulatedClock(Clock):
    """A clock that stands still except for sleeps, which end at once, and :meth:`advance`."""

    def __init__(self) -> None:
        self._time = 0

    def time(self) -> int:
        return self._time

    def advance(self, seconds: float) -> None:
        """Moves the time forward, as a computation of that length does."""
        self._time += int(1e9 * seconds)

    def sleep_until(self, instant: int, stop: threading.Event) -> None:
        self._time = max(self._time, instant)

    def wait(self, connection: socket.socket, until: int) -> bool:
        """Other processes run in real time, so this waits as long as they plausibly need."""
        ready = bool(select.select([connection], (), (), _PATIENCE if until > self._time else 0.0)[0])
        if not ready:
            self._time = max(self._time, until)
        return ready
