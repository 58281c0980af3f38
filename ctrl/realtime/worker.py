"""The controller's process: waits for states and answers with inputs."""

from __future__ import annotations

import signal
import socket
import traceback
from time import monotonic_ns
from typing import Any

import cloudpickle
import numpy as np

from ctrl.controller import Controller, Decision, Preparing, Source, Status
from ctrl.realtime.clock import RealClock
from ctrl.realtime.slots import Slot, answer_type, request_type
from systems import Task

__all__ = ["ANSWERED", "FAILED", "READY", "index_of", "serve"]

_LONGEST = 10_000  # bytes of a traceback
READY, ANSWERED, FAILED = b"R", b"A", b"F"  # the only messages; what they are about lies in the shared memory
_STATUSES = {status: i for i, status in enumerate(Status)}
_SOURCES = {source: i for i, source in enumerate(Source)}


def index_of(decision: Decision) -> tuple[int, int]:
    """Positions of status and source in their enumerations."""
    return _STATUSES[decision.status], _SOURCES[decision.source]


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
        n, m = len(task.plant.state), len(task.plant.input)
        request, answer = Slot(request_memory, request_type(n)), Slot(answer_memory, answer_type(m))
        controller = factory(task)
        preparing = controller if isinstance(controller, Preparing) else None
        _warm(controller, preparing, task)
        clock = RealClock()
        connection.sendall(READY)
        while connection.recv(4096):  # several requests that have come together are one: the newest
            asked = request.read()
            if asked is not None:
                _answer(controller, asked, answer, m)
                connection.sendall(ANSWERED)
                if preparing is not None and not clock.wait(connection, clock.time()):
                    preparing.prepare(int(asked["k"]) + (asked["number"] >= 0))
    except (BrokenPipeError, ConnectionResetError):  # the loop has ended
        pass
    except Exception as error:  # of the controller or its constructor: code of somebody else
        text = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        connection.sendall(FAILED + text.encode(errors="replace")[:_LONGEST])
    finally:
        connection.close()  # at once: the loop reads to the end, and an interpreter ends slowly


def _warm(controller: Controller, preparing: Preparing | None, task: Task) -> None:
    controller.step(task.reading.start[0].copy(), 0)
    if preparing is not None:
        preparing.prepare(1)
    controller.reset()


def _answer(controller: Controller, asked: np.void, answer: Slot, m: int) -> None:
    began = monotonic_ns()
    decision = controller.step(asked["x"], int(asked["k"]))
    u = np.asarray(decision.input, dtype=float)
    if u.shape != (m,):
        raise ValueError(f"{type(controller).__name__}.step returned an input of shape {u.shape}; expected ({m},)")
    answer.write(asked["number"], u, *index_of(decision), decision.iterations, monotonic_ns() - began)
