"""The controller's process: waits for states and answers with inputs."""

from __future__ import annotations

import signal
import socket
import traceback
from time import monotonic_ns
from typing import Any

import cloudpickle
import numpy as np

from ctrl.controller import Decision, Source, Status
from ctrl.realtime.asked import FIRST, LONGEST, AskedController, Reports
from ctrl.realtime.clock import RealClock
from ctrl.realtime.slots import Slot, answer_type, request_type
from systems import Task

__all__ = ["ANSWERED", "FAILED", "OUTPUTS", "READY", "index_of", "request_of", "serve"]

_LONGEST = 10_000  # bytes of a traceback
READY, ANSWERED, FAILED = b"R", b"A", b"F"  # the only messages; what they are about lies in the shared memory
OUTPUTS = b"Y"  # before READY: the controller takes measured outputs
_STATUSES = {status: i for i, status in enumerate(Status)}
_SOURCES = {source: i for i, source in enumerate(Source)}


def index_of(decision: Decision) -> tuple[int, int]:
    """Positions of status and source in their enumerations."""
    return _STATUSES[decision.status], _SOURCES[decision.source]


def request_of(task: Task) -> np.dtype:
    """The record of a request about a task."""
    n, m = len(task.plant.state), len(task.plant.input)
    return request_type(n) if task.measurement is None else request_type(n, len(task.measurement.signals), m, LONGEST)


def serve(connection: socket.socket, request_memory: Any, answer_memory: Any, work: bytes) -> None:
    """Makes the controller, computes one decision to load what is loaded lazily, and answers until the loop ends.

    After each answer the controller prepares the next sample, if it can, unless it has been asked already.

    Args:
        connection: a byte arrives for every request and is sent for every answer; closed by the loop at its end.
        request_memory, answer_memory: see :mod:`ctrl.realtime.slots`.
        work: the controller's factory and the task, as the loop that started this process packed them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the loop decides when this process ends
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        factory, task = cloudpickle.loads(work)
        m = len(task.plant.input)
        request, answer = Slot(request_memory, request_of(task)), Slot(answer_memory, answer_type(m))
        controller = AskedController(factory(task), task)
        reports = None if task.measurement is None else Reports(len(task.measurement.signals), m)
        controller.warm()
        clock = RealClock()
        connection.sendall((OUTPUTS if controller.takes_outputs else b"") + READY)
        while connection.recv(4096):  # several requests that have come together are one: the newest
            asked = request.read()
            if asked is not None:
                _answer(controller, asked, answer, m, reports)
                connection.sendall(ANSWERED)
                if controller.prepares and not clock.wait(connection, clock.time()):
                    controller.prepare(int(asked["k"]) + (asked["number"] != FIRST))
    except (BrokenPipeError, ConnectionResetError):  # the loop has ended
        pass
    except Exception as error:  # of the controller or its constructor: code of somebody else
        text = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        connection.sendall(FAILED + text.encode(errors="replace")[:_LONGEST])
    finally:
        connection.close()  # at once: the loop reads to the end, and an interpreter ends slowly


def _answer(controller: AskedController, asked: np.void, answer: Slot, m: int, reports: Reports | None) -> None:
    began = monotonic_ns()
    if reports is not None:
        reports.k, reports.y, reports.u = asked["ks"], asked["ys"], asked["us"]
    decision = controller.decide(int(asked["number"]), asked["x"], int(asked["k"]), reports)
    u = np.asarray(decision.input, dtype=float)
    if u.shape != (m,):
        raise ValueError(f"{controller.name}.step returned an input of shape {u.shape}; expected ({m},)")
    answer.write(asked["number"], u, *index_of(decision), decision.iterations, monotonic_ns() - began)
