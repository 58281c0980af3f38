"""The task's true plant as a connection, with the rules of the closed loop."""

from __future__ import annotations

from typing import final

import numpy as np

from ctrl.loop import SingleStep
from ctrl.realtime.clock import Clock
from ctrl.realtime.connection import Measurement
from systems import DimensionMismatch, Task
from systems.arguments import expect_array
from systems.envs.model import SampleRules
from systems.errors import expect

__all__ = ["SimulatedPlant"]


@final
class SimulatedPlant:
    """Simulates the task's truth by the rules of :func:`ctrl.loop.simulate`, as fast as the loop's clock goes.

    It rests at its initial state until the first input is written. An input acts from the beginning of the sample in
    which it is written. Samples that the loop skips are simulated with the input held.

    Args:
        task: whose truth is simulated.
        clock: of the loop.
        start: (n,), initial state.
        disturbances: (steps, q), one per sample, repeated from the beginning when they end; default: none.
        parameters: (v,), of the true plant, those that the task's ``variation`` names; default: the plant's own.

    Raises:
        DimensionMismatch: arrays that do not fit the task.
        InvalidValue: numbers that are not finite.
    """

    def __init__(
        self,
        task: Task,
        clock: Clock,
        start: np.ndarray,
        disturbances: np.ndarray | None = None,
        parameters: np.ndarray | None = None,
    ) -> None:
        expect(task, Task, "task", "such as systems.library.cartpole()")
        plant = task.plant
        self.task, self._clock, self._period = task, clock, round(1e9 * task.dt)
        self._x = expect_array(start, "start", (len(plant.state),))[None].astype(float)
        self._w = np.zeros((1, len(plant.disturbance)))
        if disturbances is not None:
            self._w = expect_array(disturbances, "disturbances")
            if self._w.ndim != 2 or not len(self._w) or self._w.shape[1] != len(plant.disturbance):
                raise DimensionMismatch(
                    f"disturbances of shape {self._w.shape}; expected (steps, {len(plant.disturbance)})"
                )
        self._low, self._high = task.true_dynamics.plant.bounds
        self._successor, self._rules = SingleStep(task.true_dynamics, task.varied.names), SampleRules(task, task.steps)
        if parameters is not None:
            self._successor.parameters[:] = expect_array(parameters, "parameters", (len(task.varied),))
        self._u = self._rules.input_reference[:1].copy()
        self._k, self._began, self._is_driven = 0, 0, False
        self._left = -1 if self._rules.inside(self._x)[0] else 0

    def read(self) -> Measurement:
        now = self._clock.time()
        if not self._is_driven:
            self._began = now
        else:
            # As the loop counts: a clock that stands still does not stop the plant. Latency is not a sample.
            passed = (now - self._began + self._period // 4) // self._period
            for _ in range(min(max(passed - self._k, 1), 10 * self.task.steps)):
                self._advance()
        return Measurement(self._x[0].copy(), self._k)

    def write(self, u: np.ndarray) -> None:
        self._is_driven = True
        if self._left < 0:
            self._u[0] = np.clip(u, self._low, self._high)

    @property
    def left(self) -> int:
        """The sample at which the state had left the domain and simulation stopped; -1 for never."""
        return self._left

    def _advance(self) -> None:
        if self._left < 0:
            with np.errstate(all="ignore"):  # a plant may diverge, which ends the run
                after = self._successor(self._x[0], self._u[0], self._w[self._k % len(self._w)])[None]
            at = min(self._k, self._rules.steps - 1)
            self._x, ended, _, self._u = self._rules.arrive(at, np.array([True]), self._x, self._u, after.copy())
            if ended[0]:
                self._left = self._k + 1
        self._k += 1
