"""Runs the controller in the loop's own thread; the interface for running it elsewhere."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import NamedTuple, final

import numpy as np

from ctrl.controller import Controller
from ctrl.realtime.asked import AskedController, Report, Reports
from ctrl.realtime.clock import Clock
from ctrl.realtime.worker import index_of
from systems import Task, TriviumError

__all__ = ["Answer", "ControllerFailed", "InProcess", "Runner"]


class ControllerFailed(TriviumError, RuntimeError):
    """A controller raised an error while it was constructed or called for the first time."""


class Answer(NamedTuple):
    """A controller's answer to one request.

    Args:
        number: of the request, which is the sample's, or a negative one; see :mod:`ctrl.realtime.asked`.
        input: (m,), not checked. status, source: positions in their enumerations.
        iterations: of the solver. took: nanoseconds that the controller computed.
    """

    number: int
    input: np.ndarray
    status: int
    source: int
    iterations: int
    took: int


class Runner(ABC):
    """Passes states to a controller and returns its answers; it never raises during the loop.

    Attributes:
        restarts: number of controller processes that had to be replaced.
        error: of the controller, the first one; empty for none.
        takes_outputs: whether the controller takes measured outputs in place of the state; known once it has started.
    """

    restarts: int = 0
    error: str = ""
    takes_outputs: bool = False

    @abstractmethod
    def start(self, patience: float, stop: threading.Event) -> None:
        """Returns when the controller is ready, or ``stop`` is set.

        Args:
            patience: seconds of real time after which starting has failed.
            stop: to give up.

        Raises:
            ControllerFailed: it cannot be made.
        """

    @abstractmethod
    def ask(self, number: int, x: np.ndarray, k: int, report: Report | None = None) -> None:
        """Asks for the input in state ``x`` (n,) at sample ``k``; a request that waits is replaced.

        Args:
            number: of the request. x, k: as above.
            report: of a task with a measurement, for controllers of its outputs.
        """

    @abstractmethod
    def poll(self, until: int) -> Answer | None:
        """The next answer, or None if none has arrived at ``until``; at once if no controller is available."""

    def prepare(self, k: int) -> None:  # noqa: B027  # a process of its own does it by itself
        """Called when an input has been written, with the sample that is asked next."""

    @property
    @abstractmethod
    def is_available(self) -> bool:
        """Whether there is a controller to answer."""

    @abstractmethod
    def close(self) -> None:
        """Stops the controller and its processes."""


@final
class InProcess(Runner):
    """The controller in the loop's own thread, where nothing can interrupt it.

    Args:
        controller: to be asked.
        task: of the loop.
        clock: of the loop.

    Raises:
        NotApplicable: a controller of other outputs, or of another sample time.
    """

    def __init__(self, controller: Controller, task: Task, clock: Clock) -> None:
        self._controller, self._clock = AskedController(controller, task), clock
        self._shape, self.takes_outputs = (len(task.plant.input),), self._controller.takes_outputs
        self._answer: Answer | None = None
        self._reports = None if task.measurement is None else Reports(len(task.measurement.signals), *self._shape, 1)

    def start(self, patience: float, stop: threading.Event) -> None:
        self._controller.reset()

    def ask(self, number: int, x: np.ndarray, k: int, report: Report | None = None) -> None:
        began = self._clock.time()
        try:
            if report is not None and self._reports is not None:
                self._reports.add(k, report)
            decision = self._controller.decide(number, x.copy(), k, self._reports)
            u = np.asarray(decision.input, dtype=float)
            if u.shape != self._shape:
                raise ValueError(f"an input of shape {u.shape}; expected {self._shape}")
            status, source = index_of(decision)
            self._answer = Answer(number, u, status, source, decision.iterations, self._clock.time() - began)
        except Exception as error:  # somebody else's code must not end the loop
            self._answer = None
            self.error = self.error or f"{type(error).__name__}: {error}"

    def poll(self, until: int) -> Answer | None:
        answer, self._answer = self._answer, None
        return answer

    def prepare(self, k: int) -> None:
        try:
            self._controller.prepare(k)
        except Exception as error:
            self.error = self.error or f"{type(error).__name__}: {error}"

    @property
    def is_available(self) -> bool:
        return True

    def close(self) -> None:
        pass
