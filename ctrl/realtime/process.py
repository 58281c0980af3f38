"""The controller in a separate process, undisturbed by the loop's interpreter, with replacement of failed processes."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from multiprocessing import get_context
from typing import final

import cloudpickle
import numpy as np

from ctrl.comparison.spec import Factory
from ctrl.realtime.asked import FIRST, Report, Reports
from ctrl.realtime.clock import Clock
from ctrl.realtime.runner import Answer, ControllerFailed, Runner
from ctrl.realtime.slots import Slot, answer_type, shared
from ctrl.realtime.worker import ANSWERED, FAILED, OUTPUTS, READY, request_of, serve
from systems import Task

__all__ = ["ControllerProcess", "OwnProcess"]

STANDBY_EVERY = 10  # samples between two states given to the stand-by, which keep its plan usable
_JOIN = 1.0  # seconds
_PAUSE = 0.002  # seconds between two looks at processes that start


@final
class ControllerProcess:
    """One process with one controller; it ends by itself when the process that started it does.

    Args:
        work: factory and task, packed. task: whose signals are exchanged.

    Attributes:
        is_ready: whether the controller has been made. is_alive: whether the process has not ended.
        takes_outputs: whether the controller takes measured outputs; known once it is ready.
        failure: the traceback of what it failed with; empty for none.
        waiting_since: when the oldest request without an answer was made; None where there is none.
    """

    def __init__(self, work: bytes, task: Task) -> None:
        context = get_context("spawn")
        kinds = request_of(task), answer_type(len(task.plant.input))
        memories = [shared(context, kind) for kind in kinds]
        self._request, self._answer = (Slot(memory, kind) for memory, kind in zip(memories, kinds, strict=True))
        self._connection, other = socket.socketpair()
        self._process = context.Process(target=serve, args=(other, *memories, work), daemon=True)
        self._process.start()
        other.close()
        self._connection.setblocking(False)
        self.is_ready, self.is_alive, self.failure, self.takes_outputs = False, True, "", False
        self.waiting_since: int | None = None
        self.started = time.monotonic()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def ask(self, number: int, x: np.ndarray, k: int, reports: Reports, instant: int) -> None:
        self._request.write(number, k, x, *((reports.k, reports.y, reports.u) if len(reports.k) else ()))
        try:
            self._connection.send(b"?")
        except BlockingIOError:  # it has not read for thousands of samples, and will read the newest
            pass
        except OSError:
            self.is_alive = False
        if self.waiting_since is None:
            self.waiting_since = instant

    def poll(self, clock: Clock, until: int) -> Answer | None:
        """The next answer; None if there is none at ``until``, or if the process has ended."""
        while self.is_alive and clock.wait(self._connection, until):
            try:
                received = self._connection.recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                received = b""
            if not received:
                self.is_alive = False
            elif FAILED in received:
                self.failure = self._rest(received.partition(FAILED)[2])
                self.is_alive = False
            else:
                self.takes_outputs = self.takes_outputs or OUTPUTS in received
                self.is_ready = self.is_ready or READY in received
                if ANSWERED in received:
                    self.waiting_since = None
                    record = self._answer.read()
                    if record is not None:
                        return Answer(**{name: record[name] for name in Answer._fields})
                elif until <= clock.time():
                    return None
        return None

    def _rest(self, text: bytes) -> str:
        """The rest of the message of a process that is about to end."""
        self._connection.settimeout(_JOIN)
        try:
            while more := self._connection.recv(65536):
                text += more
        except OSError:
            pass
        return text.decode(errors="replace")

    def close(self) -> None:
        """Kills the process: it holds nothing that must be saved."""
        self.is_alive = False
        self._connection.close()
        self._process.kill()
        self._process.join(_JOIN)


@final
class OwnProcess(Runner):
    """Keeps one controller process answering, and with ``standby`` a second one ready to take over.

    A process that dies, or that does not answer for ``unresponsive`` seconds, is replaced: at once by the stand-by,
    otherwise by a new one, which is started in the background.

    Args:
        factory: makes the controller from the task; packed once for all processes.
        task: of the controller.
        clock: of the loop.
        standby: whether to keep a second process.
        restart: seconds after which a process that is not ready is started anew.
        unresponsive: seconds without an answer after which a process is replaced.
    """

    def __init__(
        self, factory: Factory, task: Task, clock: Clock, standby: bool, restart: float, unresponsive: float
    ) -> None:
        self._work = cloudpickle.dumps((factory, task))
        self._task, self._clock, self._count = task, clock, 1 + standby
        self._restart, self._unresponsive = restart, int(1e9 * unresponsive)
        self._processes: list[ControllerProcess] = []  # the first is the one that is asked
        self._started: deque[ControllerProcess | None] = deque()  # by threads in the background; None where it failed
        self._threads: list[threading.Thread] = []
        self._starting = 0
        self._pending: tuple[int, np.ndarray, int, Reports] | None = None
        self._reports = Reports(0, 0, 0)  # of a task without a measurement
        if task.measurement is not None:
            self._reports = Reports(len(task.measurement.signals), len(task.plant.input))

    @property
    def pids(self) -> list[int | None]:
        """Process numbers: of the controller that answers, then of the stand-by."""
        return [process.pid for process in self._processes]

    def start(self, patience: float, stop: threading.Event) -> None:
        self._processes = [ControllerProcess(self._work, self._task) for _ in range(self._count)]
        end = time.monotonic() + patience
        for process in self._processes:
            while not process.is_ready and not stop.is_set():
                process.poll(self._clock, self._clock.time())
                if not process.is_alive or time.monotonic() > end:
                    why = process.failure or ("it ended" if not process.is_alive else f"not ready after {patience:g} s")
                    self.close()
                    raise ControllerFailed(f"the controller cannot be constructed in a separate process: {why}")
                time.sleep(_PAUSE)
            self.takes_outputs = process.takes_outputs

    @property
    def is_available(self) -> bool:
        return bool(self._processes) and self._processes[0].is_alive and self._processes[0].is_ready

    def ask(self, number: int, x: np.ndarray, k: int, report: Report | None = None) -> None:
        self._replace()
        reports = self._reports.empty() if number == FIRST else self._reports
        if report is not None:
            reports.add(k, report)
        self._pending = number, x, k, reports
        now = self._clock.time()
        for i, process in enumerate(self._processes):
            # An estimator needs every measurement, that of a stand-by, too.
            if process.is_ready and (i == 0 or self.takes_outputs or number % STANDBY_EVERY == 0):
                process.ask(number, x, k, reports, now)

    def poll(self, until: int) -> Answer | None:
        while self.is_available:
            process = self._processes[0]
            answer = process.poll(self._clock, until)
            if answer is not None or process.is_alive:
                return answer
            self._replace()
            if self.is_available and self._pending is not None:  # the stand-by is asked in the same sample
                self._processes[0].ask(*self._pending, self._clock.time())
        return None

    def close(self) -> None:
        for thread in self._threads:
            thread.join(_JOIN)
        for process in (*self._processes, *self._started):
            if process is not None:
                process.close()
        self._processes = []

    def _replace(self) -> None:
        """Removes processes that are dead, unresponsive or not ready in time, and starts new ones in the background."""
        while self._started:
            process = self._started.popleft()
            self._starting -= 1
            if process is not None:
                self._processes.append(process)
        now, alive = self._clock.time(), []
        for i, process in enumerate(self._processes):
            if i or not process.is_ready:
                process.poll(self._clock, now)  # answers of a stand-by are discarded; a new process reports ready
            if self._is_overdue(process, now):
                process.poll(self._clock, now)  # it may have answered when nobody was waiting any more
            overdue = self._is_overdue(process, now)
            late = not process.is_ready and time.monotonic() - process.started > self._restart
            if process.is_alive and not overdue and not late:
                alive.append(process)
                continue
            self.restarts += 1
            self.error = self.error or process.failure
            self._background(process.close)
        self._processes = sorted(alive, key=lambda process: not process.is_ready)  # stable: what is ready comes first
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for _ in range(self._count - len(self._processes) - self._starting):
            self._starting += 1
            self._background(self._start_another)

    def _start_another(self) -> None:
        try:
            self._started.append(ControllerProcess(self._work, self._task))
        except Exception as error:  # such as no memory, or too many processes; it is tried again
            self.error = self.error or f"{type(error).__name__}: {error}"
            time.sleep(_JOIN)
            self._started.append(None)

    def _is_overdue(self, process: ControllerProcess, instant: int) -> bool:
        return process.waiting_since is not None and instant - process.waiting_since > self._unresponsive

    def _background(self, work: Callable[[], None]) -> None:
        """Starting and ending a process takes milliseconds, which the loop does not have."""
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()
