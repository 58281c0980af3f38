"""Plants, clocks and controllers that go wrong on purpose."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ctrl import LQR, Decision
from ctrl.realtime import Clock, Measurement, SimulatedClock, SimulatedPlant
from ctrl.realtime.asked import Report
from ctrl.realtime.runner import Answer, Runner
from systems import Task
from systems.library import cartpole

TASK = cartpole()
START = np.array([0.5, 0.1, 0.0, 0.0])


def plant(clock: Clock, disturbances: np.ndarray | None = None) -> SimulatedPlant:
    return SimulatedPlant(TASK, clock, START, disturbances)


class Wrapped:
    """A plant whose measurements are changed on the way, and whose inputs are recorded.

    Args:
        inner: the plant. change: measurement and number of the reading to what is read instead.
    """

    def __init__(self, inner: Any, change: Callable[[Measurement, int], Any] = lambda measured, k: measured) -> None:
        self.inner, self.change, self.count = inner, change, -2  # the first reading is before the first sample
        self.written: list[np.ndarray] = []

    def read(self) -> Any:
        self.count += 1
        return self.change(self.inner.read(), self.count)

    def write(self, u: np.ndarray) -> None:
        self.written.append(u.copy())
        self.inner.write(u)


class Slow:
    """LQR that takes a given time at each sample, on a simulated clock.

    Args:
        clock: to be moved. seconds: by sample number, else 0.
    """

    def __init__(self, clock: SimulatedClock, seconds: dict[int, float], task: Task = TASK) -> None:
        self.lqr, self.clock, self.seconds = LQR(task), clock, seconds
        self.asked: list[int] = []
        self.first = True

    def reset(self) -> None:
        pass

    def step(self, x: np.ndarray, k: int) -> Decision:
        if not self.first:  # which is before the time counts
            self.asked.append(k)
            self.clock.advance(self.seconds.get(k, 0.0))
        self.first = False
        return self.lqr.step(x, k)


class Prepared(Slow):
    """The same with a part that may be done before a sample; without it, a step takes that much longer.

    Args:
        ahead: seconds of that part. broken: sample whose preparation raises an error.
    """

    def __init__(self, clock: SimulatedClock, seconds: dict[int, float], ahead: float, broken: int = -1) -> None:
        super().__init__(clock, seconds)
        self.ahead, self.broken = ahead, broken
        self.prepared: list[tuple[int, int]] = []

    def prepare(self, k: int) -> None:
        self.prepared.append((k, self.clock.time()))
        if k == self.broken:
            raise ValueError("cannot be prepared")
        self.clock.advance(self.ahead)

    def step(self, x: np.ndarray, k: int) -> Decision:
        if not self.prepared or self.prepared[-1][0] != k or k == self.broken:
            self.clock.advance(self.ahead)
        return super().step(x, k)


class Remembers(LQR):
    """Answers with what it has prepared since the last sample: how many samples, and ten times the last of them."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.prepared: list[int] = []

    def reset(self) -> None:
        self.prepared.clear()

    def prepare(self, k: int) -> None:
        self.prepared.append(k)

    def step(self, x: np.ndarray, k: int) -> Decision:
        told = len(self.prepared) + 10.0 * max(self.prepared, default=0)
        self.prepared.clear()
        return Decision(np.array([told]))


class Stalling(Clock):
    """A simulated clock that stands still during some sleeps.

    Args:
        stalled: numbers of the sleeps that do not move it.
    """

    def __init__(self, stalled: set[int]) -> None:
        self.inner, self.stalled, self.sleeps = SimulatedClock(), stalled, 0

    def time(self) -> int:
        return self.inner.time()

    def sleep_until(self, instant: int, stop: threading.Event) -> None:
        if self.sleeps not in self.stalled:
            self.inner.sleep_until(instant, stop)
        self.sleeps += 1

    def wait(self, connection: Any, until: int) -> bool:
        return self.inner.wait(connection, until)


class Constant:
    """Answers with one input, whatever it is."""

    def __init__(self, u: Any) -> None:
        self.u = u

    def reset(self) -> None:
        pass

    def step(self, x: np.ndarray, k: int) -> Decision:
        if isinstance(self.u, Exception):
            raise self.u
        return Decision(np.array([self.u]) if np.isscalar(self.u) else self.u)


class Deadly(LQR):
    """LQR that ends its process, or hangs, at a sample: in the first process that gets there."""

    marker = ""
    seconds = 0.0
    at = 10

    def step(self, x: np.ndarray, k: int) -> Decision:
        if k == self.at:
            try:
                os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                time.sleep(self.seconds)
                if not self.seconds:
                    os._exit(1)
        return super().step(x, k)


def refuses(task: Task) -> LQR:
    raise ValueError("no such gain")


class Sleepy(LQR):
    """LQR that takes 1.5 samples of real time at some samples."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        if k in (5, 15):
            time.sleep(1.5 * TASK.dt)
        return super().step(x, k)


class Scripted(Runner):
    """A controller whose answers come when the script says so; LQR otherwise.

    Args:
        clock: is moved to when an answer comes.
        script: by sample, what comes: seconds after the sample is due, and to which request it is the answer.
    """

    def __init__(self, clock: SimulatedClock, script: dict[int, list[tuple[float, int]]]) -> None:
        self.clock, self.script, self.asked = clock, script, {-1: (np.zeros(4), 0)}
        self.lqr, self.left = LQR(TASK), list[tuple[float, int]]()
        self.due = 0

    def start(self, patience: float, stop: threading.Event) -> None:
        pass

    def ask(self, number: int, x: np.ndarray, k: int, report: Report | None = None) -> None:
        self.asked[number] = (x.copy(), k)
        self.due = self.clock.time()
        self.left = list(self.script.get(number, [(0.0, number)]))

    def input(self, number: int) -> np.ndarray:
        """The answer to a request."""
        return self.lqr.step(*self.asked[number]).input

    def poll(self, until: int) -> Answer | None:
        if not self.left or self.due + 1e9 * self.left[0][0] > until:
            self.clock.sleep_until(until, threading.Event())
            return None
        seconds, number = self.left.pop(0)
        self.clock.sleep_until(self.due + int(1e9 * seconds), threading.Event())
        return Answer(number, self.input(number), 0, 0, 0, 1)

    @property
    def is_available(self) -> bool:
        return True

    def close(self) -> None:
        pass
