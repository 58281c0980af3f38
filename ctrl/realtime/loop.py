"""The loop: in every sample it measures, calls the controller and writes an input, whatever happens."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, final

import numpy as np

from ctrl.comparison.spec import Factory
from ctrl.controller import Controller, NotApplicable
from ctrl.estimation import Estimator
from ctrl.realtime.asked import FIRST, UNUSED
from ctrl.realtime.clock import Clock, RealClock
from ctrl.realtime.connection import PlantConnection
from ctrl.realtime.estimate import Freshness, LoopEstimate, MeasuredState
from ctrl.realtime.fallback import FallbackChain
from ctrl.realtime.limits import CommandLimits
from ctrl.realtime.log import Applied, LoopLog, SampleTimes
from ctrl.realtime.outputs import EstimatedState
from ctrl.realtime.process import OwnProcess
from ctrl.realtime.run import LoopRun
from ctrl.realtime.runner import Answer, InProcess, Runner
from ctrl.realtime.settings import LoopSettings, Overrun
from ctrl.realtime.stopping import stopped_by_signals
from ctrl.regulator import LQR
from systems import InvalidValue, NotReady, Task
from systems.errors import expect, shown

__all__ = ["Loop"]

_SWITCH = 1e-4  # seconds after which Python lets the loop's thread interrupt another one
_START = 120.0  # seconds that the controller may take to be made, and then to make its first plan
_LOOK = 100_000_000  # ns between two looks at whether to stop
_FIRST = 1_000_000_000  # ns to wait for a first measurement before the samples begin
_APPLIED = {applied: i for i, applied in enumerate(Applied)}
_FRESHNESS = {freshness: i for i, freshness in enumerate(Freshness)}


class _Decided(NamedTuple):
    """An input and where it came from; positions in enumerations, -1 for none."""

    u: np.ndarray
    applied: Applied
    status: int = -1
    source: int = -1
    fallback: int = -1
    is_missed: bool = False
    took: int = 0
    iterations: int = 0


@final
class Loop:
    """Runs a controller on a plant at a fixed rate.

    Sample k begins at the instant start + k / rate, independent of the duration of earlier samples; if a sample is so
    late that the next one is due, those in between are skipped and the sample number advances.

    On a task with a measurement the plant reports its outputs. A controller of outputs, such as
    :class:`ctrl.OutputFeedback` or a policy of measured signals, is given these; any other one and the fallbacks are
    given the estimate of the loop's estimator.

    Args:
        task: with the model, the sample time and the input bounds.
        controller: makes the controller from the task: a class such as ``NonlinearMPC``, or a function. It is sent to
            the controller's process. With ``in_process`` it may also be a controller.
        plant: the connection to the plant; see :class:`PlantConnection`.
        settings: of the loop; default: those of :class:`LoopSettings`.
        fallbacks: controllers by name, called in this order if there is no answer in time; default: the task's
            regulator, if it has one.
        clock: default: the machine's.
        estimator: of a task with a measurement; runs in the loop's thread; default: that of comparisons,
            :func:`ctrl.estimation.standard_estimator`.

    Attributes:
        log: of the samples so far.

    Raises:
        InvalidValue: settings that do not fit the task, or an object of the wrong kind.
        NotApplicable: a task without inputs, or a controller that it does not fit.
        DimensionMismatch: limits with another number of inputs.
    """

    def __init__(
        self,
        task: Task,
        controller: Factory | Controller,
        plant: PlantConnection,
        settings: LoopSettings | None = None,
        fallbacks: Mapping[str, Controller] | None = None,
        clock: Clock | None = None,
        estimator: Estimator | None = None,
    ) -> None:
        expect(task, Task, "task", "such as systems.library.cartpole()")
        self.settings = settings or LoopSettings()
        expect(self.settings, LoopSettings, "settings", "such as LoopSettings(seconds=60.0)")
        if isinstance(plant, type) or not isinstance(plant, PlantConnection):
            raise InvalidValue(
                f"plant = {shown(plant)}; expected an object with read() and write(u), such as SimulatedPlant(task)"
            )
        if not len(task.plant.input):
            raise NotApplicable(f"task '{task.name}' has no input, so there is nothing to write")
        self.task, self._plant, self._clock = task, plant, RealClock() if clock is None else clock
        expect(self._clock, Clock, "clock", "such as SimulatedClock()")
        s = self.settings
        self._period = s.period(task)
        self._steps, self._budget = s.steps(self._period), int(s.budget * self._period)
        m = len(task.plant.input)
        self._limits = CommandLimits(task, s.rate_limit, s.safe_input)
        self._estimate = _estimate(task, s, self._period, estimator)
        self._fallbacks = FallbackChain(_regulator(task) if fallbacks is None else fallbacks, m)
        self._runner = self._made(controller)
        capacity = s.capacity if self._steps is None else min(s.capacity, self._steps)
        outputs = 0 if task.measurement is None else len(task.measurement.signals)
        self.log = LoopLog(capacity, len(task.plant.state), m, outputs)
        self._stop = threading.Event()
        self._reasons: list[str] = []
        self._u = self._limits.safe.copy()
        self._next = _Decided(self._u, Applied.SAFE)
        self._start, self._has_run, self._write_error = 0, False, ""

    def _made(self, controller: Factory | Controller) -> Runner:
        s = self.settings
        if isinstance(controller, Controller) and not isinstance(controller, type):
            if s.in_process:
                return self._in_thread(controller)
            raise InvalidValue(
                f"controller = {shown(controller)}; a separate process has to construct its own controller; give the "
                "class or a function of the task, or LoopSettings(in_process=True)"
            )
        factory: Factory = controller  # a class has reset and step, too
        if not callable(factory):
            raise InvalidValue(f"controller = {shown(controller)}; expected a controller's class, such as LQR")
        if s.in_process:
            return self._in_thread(factory(self.task))
        unresponsive = s.unresponsive(self._period)
        return OwnProcess(factory, self.task, self._clock, s.standby, s.restart_seconds, unresponsive)

    def _in_thread(self, controller: Controller) -> Runner:
        runner = InProcess(controller, self.task, self._clock)
        self._expect_no_delay(runner)
        return runner

    def _expect_no_delay(self, runner: Runner) -> None:
        """Raises NotApplicable where a delay is to be predicted and the controller takes outputs."""
        if self.settings.predict_delay and runner.takes_outputs:
            raise NotApplicable(
                "predict_delay = True with a controller that takes measured outputs, of which none is predicted; give "
                "the controller of the state inside it, and the loop its estimator: Loop(..., estimator=...)"
            )

    def stop(self) -> None:
        """Ends the run after the current sample; may be called from any thread."""
        self._reasons.append("stop()")
        self._stop.set()

    def run(self) -> LoopRun:
        """Runs until the duration is over, or until :meth:`stop`, SIGINT or SIGTERM; the safe input is written last.

        Raises:
            ControllerFailed: the controller cannot be made.
            NotApplicable: ``predict_delay`` with a controller that takes measured outputs.
            NotReady: it has run already; a loop runs once.
        """
        if self._has_run:
            raise NotReady("this loop has already run; construct a new one for another run")
        self._has_run = True
        self._fallbacks.reset()
        with stopped_by_signals(self._stop, self._reasons):
            try:
                self._runner.start(_START, self._stop)
                self._expect_no_delay(self._runner)
                self._plan_first()
                with _undisturbed():
                    self._run()
            finally:
                self._write(self._limits.safe)
                self._runner.close()
        return self._result()

    @property
    def state(self) -> np.ndarray:
        """The state that was acted on last, (n,)."""
        return self._estimate.x

    @property
    def input(self) -> np.ndarray:
        """The input that was written last, (m,)."""
        return self._u

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Names of the fallback controllers, in order."""
        return self._fallbacks.names

    def _plan_first(self) -> None:
        """Puts the first measurement to the controller before the time counts: a first plan takes longest."""
        is_read, end = self._estimate.first(self._plant), self._clock.time() + _FIRST
        while not is_read and self._clock.time() < end and not self._stop.is_set():
            self._clock.sleep_until(self._clock.time() + min(self._period, _LOOK), self._stop)
            is_read = self._estimate.first(self._plant)
        if not is_read:  # the samples will wait for one, with the safe input
            return
        self._runner.ask(FIRST, self._estimate.x, 0, self._estimate.report)
        answer, end = None, self._clock.time() + int(1e9 * _START)
        while answer is None and self._runner.is_available and not self._stop.is_set() and self._clock.time() < end:
            answer = self._runner.poll(self._clock.time() + _LOOK)
            if isinstance(self._runner, InProcess):
                break
        self._runner.prepare(int(self.settings.predict_delay))
        if answer is not None and np.isfinite(answer.input).all():
            u = self._limits(answer.input, self._u)
            self._next = _Decided(u, Applied.CONTROLLER, answer.status, answer.source, took=answer.took)

    def _run(self) -> None:
        self._start = self._clock.time() + self._period
        k = -1
        while self._steps is None or k < self._steps - 1:
            due = self._start + (k + 1) * self._period
            self._clock.sleep_until(due, self._stop)
            if self._stop.is_set():
                return
            woke = self._clock.time()
            # The number moves on even where the clock does not.
            number = max(k + 1, (woke - self._start) // self._period)
            self._sample(number, number - k, self._start + number * self._period, woke)
            k = number

    def _sample(self, k: int, samples: int, due: int, woke: int) -> None:
        """One sample.

        Args:
            k: its number. samples: since the last one, 1 if none was skipped. due, woke: instants.
        """
        estimate = self._estimate
        freshness = estimate.update(self._plant, self._u, k, samples)
        x = estimate.x
        asked = answered = woke
        if self.settings.predict_delay:
            decided = self._next
            if estimate.is_lost:
                decided = _Decided(self._limits.safe, Applied.SAFE)
            self._write(decided.u)
            written = self._clock.time()
            asked = self._clock.time()
            self._next = self._decide(estimate.predict(x, self._u, k), k + 1, due)
            answered = self._clock.time()
        else:
            if not estimate.is_lost:
                asked = self._clock.time()
            decided = self._decide(x, k, due)
            answered = self._clock.time() if not estimate.is_lost else woke
            self._write(decided.u)
            written = self._clock.time()
        if estimate.is_lost and self._runner.takes_outputs and estimate.report is not None:
            self._runner.ask(UNUSED, x, k, estimate.report)
        codes = (
            _FRESHNESS[freshness], _APPLIED[decided.applied], decided.status, decided.source, decided.fallback,
            int(decided.is_missed),
        )  # fmt: skip
        times = SampleTimes(due, woke, asked, answered, written)
        self.log.write(k, times, decided.took, codes, samples - 1, decided.iterations, x, decided.u, *self._outputs())
        if self._clock.time() < due + self._period:  # otherwise the next sample has begun
            self._runner.prepare(k + 1 + self.settings.predict_delay)

    def _decide(self, x: np.ndarray, k: int, due: int) -> _Decided:
        """The input for the state x (n,) at sample ``k``, in the sample that began at ``due``."""
        if self._estimate.is_lost or not np.isfinite(x).all():
            return _Decided(self._limits.safe, Applied.SAFE)
        before, overrun, until = self._u, self.settings.overrun, due + self._budget
        self._runner.ask(k, x, k, self._estimate.report)
        answer = self._answer(k, until, before)
        is_missed = self._clock.time() > until or answer is None
        if answer is None and overrun is Overrun.LATE:
            answer = self._answer(k, due + self._period - self._period // 20, before)
        if answer is not None and np.isfinite(answer.input).all() and (not is_missed or overrun is Overrun.LATE):
            u = self._limits(answer.input, before)
            applied = Applied.LATE if is_missed else Applied.CONTROLLER
            return _Decided(u, applied, answer.status, answer.source, -1, is_missed, answer.took, answer.iterations)
        is_overrun = is_missed and self._runner.is_available
        if is_overrun and overrun is not Overrun.FALLBACK:
            applied = Applied.HELD if self._u is before else Applied.LATE  # an earlier answer has come meanwhile
            return _Decided(self._u, applied, is_missed=True)
        backup = self._fallbacks.decide(x, k)
        if backup is not None:
            u = self._limits(backup.input, before)
            return _Decided(u, Applied.FALLBACK, fallback=backup.position, is_missed=is_missed)
        if is_overrun:
            return _Decided(before, Applied.HELD, is_missed=True)
        return _Decided(self._limits.safe, Applied.SAFE, is_missed=is_missed)

    def _answer(self, number: int, until: int, before: np.ndarray) -> Answer | None:
        """The answer to this request, if it comes in time; with ``LATE``, one to an earlier request is applied."""
        while (answer := self._runner.poll(until)) is not None:
            if answer.number == number:
                return answer
            is_applied = self.settings.overrun is Overrun.LATE and not self.settings.predict_delay
            if is_applied and answer.number >= 0 and np.isfinite(answer.input).all():
                self._write(self._limits(answer.input, before))
        return None

    def _write(self, u: np.ndarray) -> None:
        self._u = u
        try:
            self._plant.write(u.copy())
        except Exception as error:  # the user's own code, or a device
            self._write_error = self._write_error or f"write: {type(error).__name__}: {error}"

    def _outputs(self) -> tuple[np.ndarray, ...]:
        """What was measured in this sample, for the log."""
        return () if self._estimate.report is None else (self._estimate.report.y,)

    def _estimator(self) -> str:
        """The estimator and what its estimate is used for, in words."""
        if not isinstance(self._estimate, EstimatedState):
            return ""
        name = type(self._estimate.estimator).__name__
        used = "fallbacks and log, the controller takes outputs" if self._runner.takes_outputs else "controller"
        return f"{name}, for {used}"

    def _result(self) -> LoopRun:
        errors = (self._runner.error, self._fallbacks.error, self._estimate.error, self._write_error)
        return LoopRun(
            self.task,
            self.settings,
            self.log.columns(),
            self.log,
            self._fallbacks.names,
            self._runner.restarts,
            self._estimator(),
            self._reasons[0] if self._reasons else "",
            tuple(error for error in errors if error),
        )


def _estimate(task: Task, settings: LoopSettings, period: int, estimator: Estimator | None) -> LoopEstimate:
    """Where the loop takes the state from."""
    watchdog = settings.watchdog(period)
    if task.measurement is not None:
        return EstimatedState(task, watchdog, settings.silences(task, period), estimator)
    if estimator is not None:
        raise InvalidValue(f"estimator given for task '{task.name}', whose plant reports its state; leave it out")
    return MeasuredState(task, watchdog)


def _regulator(task: Task) -> dict[str, Controller]:
    try:
        return {"lqr": LQR(task)}
    except NotApplicable:
        return {}


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Objects that exist are left out of garbage collection, and other threads give way to the loop's quickly."""
    interval = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()
