"""Settings of a loop."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

import numpy as np

from ctrl.realtime.outputs import longest_silences
from systems import InvalidValue, Task
from systems.arguments import expect_array, expect_choice, expect_flag, expect_number, expect_whole

__all__ = ["LoopSettings", "Overrun"]

_FASTEST = 1e5  # Hz
_WATCHDOG = 10  # samples
_UNRESPONSIVE = 10  # samples


class Overrun(StrEnum):
    """The input to apply if the controller's answer has not arrived when its time budget ends."""

    LATE = "late"  # the previous input, until the answer arrives
    HOLD = "hold"  # the previous input for the whole sample; the answer is discarded
    FALLBACK = "fallback"  # the input of the fallback controllers; the answer is discarded


@final
@dataclass(frozen=True)
class LoopSettings:
    """Settings of a loop.

    Args:
        rate: samples per second, in Hz; default: that of the task, 1 / dt.
        seconds: length of the run; default: until it is stopped.
        overrun: the input to apply if the controller's answer is late; default: the fallback controllers' input.
        budget: share of a sample within which the answer must arrive, above 0 and at most 1.
        in_process: whether the controller is called in the loop's own thread instead of a process of its own.
        standby: whether a second controller process is kept ready, which takes over if the first one dies.
        restart_seconds: time limit for starting a controller process; one that takes longer is started anew.
        unresponsive_seconds: time without an answer after which the controller process is replaced; default: 1 s, and
            at least 10 samples.
        predict_delay: whether an input is computed one sample ahead, from the state predicted for the instant at which
            it is applied; a controller then has a whole sample to compute.
        watchdog_seconds: time without a fresh measurement, or without a value of one of the measured outputs, after
            which the safe input is applied; default: 10 samples, and the time of 10 values of each output, of more
            values if drop-outs are frequent.
        rate_limit: largest change of each input per second, in the input's unit; default: none.
        safe_input: (m,), applied when the watchdog expires and when the loop ends; default: the task's reference input.
        capacity: of the log, in samples; the oldest are overwritten.

    Raises:
        InvalidValue: a value out of range.
    """

    rate: float | None = None
    seconds: float | None = None
    overrun: Overrun = Overrun.FALLBACK
    budget: float = 0.9
    in_process: bool = False
    standby: bool = False
    restart_seconds: float = 30.0
    unresponsive_seconds: float | None = None
    predict_delay: bool = False
    watchdog_seconds: float | None = None
    rate_limit: tuple[float, ...] | None = None
    safe_input: tuple[float, ...] | None = None
    capacity: int = 100_000

    def __post_init__(self) -> None:
        if self.rate is not None:
            expect_number(self.rate, "rate", above=0.0, most=_FASTEST, hint="in Hz")
        for name in ("seconds", "watchdog_seconds", "unresponsive_seconds"):
            if getattr(self, name) is not None:
                expect_number(getattr(self, name), name, above=0.0)
        expect_number(self.restart_seconds, "restart_seconds", above=0.0)
        object.__setattr__(self, "overrun", Overrun(expect_choice(self.overrun, "overrun", tuple(Overrun))))
        expect_number(self.budget, "budget", above=0.0, most=1.0, hint="a share of the sample time")
        for name in ("in_process", "standby", "predict_delay"):
            expect_flag(getattr(self, name), name)
        if self.standby and self.in_process:
            raise InvalidValue(
                "standby = True with in_process = True; a stand-by controller needs its own process, so set only one "
                "of them"
            )
        if self.rate_limit is not None and not (expect_array(self.rate_limit, "rate_limit", infinite=True) > 0).all():
            raise InvalidValue(f"rate_limit = {self.rate_limit}; expected numbers above 0, per second")
        if self.safe_input is not None:
            expect_array(self.safe_input, "safe_input")
        expect_whole(self.capacity, "capacity", least=1, unit="samples")

    def period(self, task: Task) -> int:
        """Nanoseconds of a sample.

        Raises:
            InvalidValue: the rate is not that of the task.
        """
        rate = 1.0 / task.dt if self.rate is None else self.rate
        if abs(rate * task.dt - 1.0) > 1e-6:
            raise InvalidValue(
                f"rate = {rate:g} Hz, but dt = {task.dt:g} s of task '{task.name}' is {1 / task.dt:g} Hz; give that "
                f"rate, or resample the task: ctrl.realtime.resampled(task, {rate:g})"
            )
        return max(round(1e9 / rate), 1)

    def steps(self, period: int) -> int | None:
        """Number of samples of the run; None where it has no end."""
        return None if self.seconds is None else max(round(1e9 * self.seconds / period), 1)

    def unresponsive(self, period: int) -> float:
        """Seconds without an answer after which the controller process is replaced."""
        if self.unresponsive_seconds is not None:
            return self.unresponsive_seconds
        return max(1.0, 1e-9 * _UNRESPONSIVE * period)

    def silences(self, task: Task, period: int) -> np.ndarray:
        """Samples (p,) without a value of each measured output at which the safe input is applied.

        Raises:
            InvalidValue: the watchdog is shorter than the time between two values.
        """
        assert task.measurement is not None
        given = None if self.watchdog_seconds is None else self.watchdog(period)
        return longest_silences(task.measurement, given, _WATCHDOG)

    def watchdog(self, period: int) -> int:
        """Samples without a fresh measurement at which the safe input is applied, at least 1."""
        if self.watchdog_seconds is None:
            return _WATCHDOG
        return max(int(np.ceil(1e9 * self.watchdog_seconds / period - 1e-6)), 1)
