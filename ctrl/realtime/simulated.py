"""The task's true plant as a connection, with the rules of the closed loop."""

from __future__ import annotations

from typing import final

import numpy as np

from ctrl.loop import SingleStep
from ctrl.realtime.clock import Clock
from ctrl.realtime.connection import Measurement
from systems import DimensionMismatch, InvalidValue, Task
from systems.arguments import expect_array
from systems.envs.model import SampleRules
from systems.errors import expect
from systems.forecast import with_known
from systems.measurement import Sensors

__all__ = ["SimulatedPlant"]


@final
class SimulatedPlant:
    """Simulates the task's truth by the rules of :func:`ctrl.loop.simulate`, as fast as the loop's clock goes.

    It reports the state, or the outputs of a task with a measurement. Signals known ahead have their actual values.
    It rests at its initial state until the first input is written. An input acts from the beginning of the sample in
    which it is written. Samples that the loop skips are simulated with the input held.

    Args:
        task: whose truth is simulated.
        clock: of the loop.
        start: (n,), initial state.
        disturbances: (steps, q), one per sample, repeated from the beginning when they end; default: none.
        parameters: (v,), of the true plant, those that the task's ``variation`` names; default: the plant's own.
        noise: (steps, p), of a task with a measurement, NaN where a value is lost; repeated likewise; default: none.

    Raises:
        DimensionMismatch: arrays that do not fit the task.
        InvalidValue: numbers that are not finite, or noise for a task without a measurement.
    """

    def __init__(
        self,
        task: Task,
        clock: Clock,
        start: np.ndarray,
        disturbances: np.ndarray | None = None,
        parameters: np.ndarray | None = None,
        noise: np.ndarray | None = None,
    ) -> None:
        expect(task, Task, "task", "such as systems.library.cartpole()")
        plant = task.plant
        self.task, self._clock, self._period = task, clock, round(1e9 * task.dt)
        self._x = expect_array(start, "start", (len(plant.state),))[None].astype(float)
        self._w = _draws(disturbances, "disturbances", len(plant.disturbance))
        self._low, self._high = task.true_dynamics.plant.bounds
        self._successor, self._rules = SingleStep(task.true_dynamics, task.varied.names), SampleRules(task, task.steps)
        if parameters is not None:
            self._successor.parameters[:] = expect_array(parameters, "parameters", (len(task.varied),))
        self._u = self._rules.input_reference[:1].copy()
        self._k, self._began, self._is_driven = 0, 0, False
        self._left = -1 if self._rules.inside(self._x)[0] else 0
        self._sensors: Sensors | None = None
        if task.measurement is not None:
            self._sensors = Sensors(task.measurement, plant)
            self._noise = _draws(noise, "noise", len(task.measurement.signals), nan=True)
        elif noise is not None:
            raise InvalidValue(f"noise given for task '{task.name}', which has no measurement; leave it out")
        self._reported = self._report()

    def read(self) -> Measurement:
        now = self._clock.time()
        if not self._is_driven:
            self._began = now
        else:
            # As the loop counts: a clock that stands still does not stop the plant. Latency is not a sample.
            passed = (now - self._began + self._period // 4) // self._period
            for _ in range(min(max(passed - self._k, 1), 10 * self.task.steps)):
                self._advance()
        return Measurement(self._reported.copy(), self._k)

    def write(self, u: np.ndarray) -> None:
        self._is_driven = True
        if self._left < 0:
            self._u[0] = np.clip(u, self._low, self._high)

    @property
    def state(self) -> np.ndarray:
        """The true state, (n,)."""
        return self._x[0].copy()

    @property
    def left(self) -> int:
        """The sample at which the state had left the domain and simulation stopped; -1 for never."""
        return self._left

    def _advance(self) -> None:
        if self._left < 0:
            with np.errstate(all="ignore"):  # a plant may diverge, which ends the run
                w = self._w[[self._k % len(self._w)]]
                known = with_known(self.task.true_dynamics.plant, w, self._k)
                after = self._successor(self._x[0], self._u[0], known[0])[None]
            at = min(self._k, self._rules.steps - 1)
            self._x, ended, _, self._u = self._rules.arrive(at, np.array([True]), self._x, self._u, after.copy())
            if ended[0]:
                self._left = self._k + 1
        self._k += 1
        self._reported = self._report()

    def _report(self) -> np.ndarray:
        """What is measured at the present sample: called once for each."""
        if self._sensors is None:
            return self._x[0]
        return self._sensors.read(self._x[0], self._u[0], self._k, self._noise[self._k % len(self._noise)])


def _draws(given: np.ndarray | None, name: str, columns: int, nan: bool = False) -> np.ndarray:
    """Draws (steps, columns), of which none is zero."""
    if given is None:
        return np.zeros((1, columns))
    draws = expect_array(given, name, infinite=nan, nan=nan)
    if draws.ndim != 2 or not len(draws) or draws.shape[1] != columns:
        raise DimensionMismatch(f"{name} of shape {draws.shape}; expected (steps, {columns})")
    return draws
