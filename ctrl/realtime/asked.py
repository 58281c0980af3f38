"""A controller as a loop calls it: with the state, or with measured outputs and what was applied before them."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import numpy as np

from ctrl.controller import Controller, Decision, Informed, Preparing, expect_sample_time, expect_takes
from systems import Task
from systems.measurement import Sensors

__all__ = ["FIRST", "LONGEST", "UNUSED", "AskedController", "Report", "Reports", "takes_outputs"]

FIRST = -1
"""The number of the request before the first sample, after which the run begins."""

UNUSED = -2
"""The number of requests whose answers are not applied: a controller with a memory has to know all measurements."""

LONGEST = 100
"""Samples whose reports are kept for controllers that missed them, and that are predicted of a longer gap."""


class Report(NamedTuple):
    """What a controller of measured outputs is given beside the number of the sample.

    Args:
        y: (p,), NaN where a signal is not reported. u: (m,), the input applied since the sample before.
    """

    y: np.ndarray
    u: np.ndarray


@final
class Reports:
    """The last reports, oldest first, so that a controller that was not fast enough, or is new, can catch up.

    Args:
        outputs, inputs: their numbers.
        length: number of reports.

    Attributes:
        k: (length,), of the samples, -1 for none. y: (length, p). u: (length, m).
    """

    def __init__(self, outputs: int, inputs: int, length: int = LONGEST) -> None:
        self.k = np.full(length, -1, dtype=np.int64)
        self.y, self.u = np.zeros((length, outputs)), np.zeros((length, inputs))

    def empty(self) -> Reports:
        """Room for as many reports of the same size."""
        return Reports(self.y.shape[1], self.u.shape[1], len(self.k))

    def add(self, k: int, report: Report) -> None:
        """Takes the report of sample ``k``, or replaces it."""
        if self.k[-1] != k:
            for part in (self.k, self.y, self.u):
                part[:-1] = part[1:]
        self.k[-1], self.y[-1], self.u[-1] = k, report.y, report.u


def takes_outputs(controller: Any) -> bool:
    """Whether a controller takes measured outputs in place of the state, as its attribute ``measurement`` declares."""
    return getattr(controller, "measurement", None) is not None


@final
class AskedController:
    """Calls a controller with what it takes.

    Args:
        controller: of the state or of measured outputs.
        task: of the loop.

    Attributes:
        takes_outputs: which of the two.

    Raises:
        NotApplicable: it takes other outputs than the task measures, or was made for another sample time.
    """

    def __init__(self, controller: Controller, task: Task) -> None:
        self.takes_outputs = takes_outputs(controller)
        (expect_takes if self.takes_outputs else expect_sample_time)(task, controller)
        self._controller, self._task = controller, task
        self._informed = controller if self.takes_outputs and isinstance(controller, Informed) else None
        self._preparing = controller if isinstance(controller, Preparing) else None
        self._last: int | None = None
        self._decision: Decision | None = None

    @property
    def name(self) -> str:
        """That of its class."""
        return type(self._controller).__name__

    @property
    def prepares(self) -> bool:
        """Whether it can do a part of its work between samples."""
        return self._preparing is not None

    def reset(self) -> None:
        self._controller.reset()
        self._last = self._decision = None

    def warm(self) -> None:
        """Decides and prepares once at the reference, so that what is loaded lazily is there."""
        given, u = (part.copy() for part in self._task.reading.start)
        if self.takes_outputs and self._task.measurement is not None:
            given = Sensors(self._task.measurement, self._task.plant).expected(given, u)
        self._controller.step(given, 0)
        self.prepare(1)
        self.reset()

    def decide(self, number: int, x: np.ndarray, k: int, reports: Reports | None) -> Decision:
        """The decision at sample ``k``; one of outputs is made once, as a memory must not take a report twice.

        Args:
            number: of the request. x: (n,), the state. k: the sample.
            reports: of a task with a measurement, the last one of this sample.
        """
        if not self.takes_outputs or reports is None:
            return self._controller.step(x, k)
        if self._decision is None or k != self._last:  # they are equal for a stand-by that takes over
            self._catch_up(k, reports)
            y = reports.y[-1].copy()
            if number == UNUSED and self._informed is not None:
                self._informed.observe(y, k)
                self._decision = Decision(reports.u[-1].copy())
            else:
                self._decision = self._controller.step(y, k)
            self._last = k
        decision = self._decision
        if number == FIRST:
            self._last = self._decision = None
            if self._informed is not None:
                self._informed.rewind()
            else:
                self._controller.reset()
        return decision

    def _catch_up(self, k: int, reports: Reports) -> None:
        """Tells a controller with a memory of the samples since its last one, and of the input before this one."""
        if self._informed is None:
            return
        last = self._last
        for i in np.flatnonzero(reports.k >= 0):
            now = int(reports.k[i])
            if last is not None and now <= last:
                continue
            if last is not None:
                self._informed.inform(reports.u[i])
                for left_out in range(max(last + 1, now - LONGEST), now):  # nothing was read there
                    self._informed.observe(np.full_like(reports.y[i], np.nan), left_out)
            if now < k:
                self._informed.observe(reports.y[i], now)
            last = now

    def prepare(self, k: int) -> None:
        """Prepares sample ``k``, if the controller can."""
        if self._preparing is not None:
            self._preparing.prepare(k)
