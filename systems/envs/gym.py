"""Gymnasium environments of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import gymnasium
import numpy as np
from gymnasium import spaces

from systems.abstract_task import AbstractTask
from systems.arguments import expect_array, expect_seed
from systems.envs.model import SampleModel
from systems.errors import DimensionMismatch, InvalidValue, NotReady, expect, shown
from systems.measured_history import ObservedRun
from systems.measurement import Sensors
from systems.signals import expect_values

__all__ = ["GymEnv"]

_LARGEST = float(np.finfo(np.float32).max)


@final
class GymEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """A Gymnasium environment that simulates runs of a task with the nominal plant, in physical units.

    Actions (m,) are the inputs, clipped to ``task.input_bounds``; observations (o,) are ``task.observation_signals``.
    Both spaces are ``float32`` boxes; the internal state has 64 bits. One integer input gives a ``Discrete`` space that
    starts at its lower limit, several give a ``MultiDiscrete`` space. The reward is minus the stage cost; leaving
    ``task.domain`` terminates the run and is charged as in :class:`SampleModel`; ``task.steps`` samples truncate it.

    If the task has a measurement, the observations are the measured signals: each holds its last reported value, and
    before the first report that of the reference. They are followed by what the :class:`systems.MeasuredWindow` of the
    task adds, such as earlier values and inputs, and by the reference of the state if it moves.

    ``info`` contains ``state`` (n,), and after a step ``cost`` (the sum of ``costs``), ``costs`` (by name, 1.0 if the
    step violated the constraint, else 0.0; the excess if that is budgeted) and ``margins`` (largest g by name;
    positive means violated).

    Args:
        task: the task to simulate.
        seed: of the first ``reset()`` without a seed.

    Raises:
        InvalidValue: an input without bounds, so that there is no action space; both a measurement and an observation.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012, the type Gymnasium declares
    render_mode: str | None = None

    def __init__(self, task: AbstractTask, seed: int | None = None) -> None:
        expect(task, AbstractTask, "the task of GymEnv", "such as systems.library.cartpole()")
        if seed is not None:  # Gymnasium's word for a seed of the system's choice
            expect_seed(seed)
        self.task = task
        self._model = SampleModel(task, "numpy")
        low, high = task.input_bounds
        for name, bounds in zip(task.plant.input.names, zip(low, high, strict=True), strict=True):
            if not np.isfinite(bounds).all():
                raise InvalidValue(
                    f"task '{task.name}': input {name} is bounded by {bounds}, and learners act in finite boxes; "
                    f"give it limits() in {task.plant.name} or a hard Box constraint"
                )
        size = len(task.observation_signals)
        self._sensors: Sensors | None = None
        if task.measurement is not None:
            if not task.observes_measurement:
                raise InvalidValue(
                    f"task '{task.name}' has a measurement and an observation of the state; leave out one of them: "
                    "dataclasses.replace(task, observation=None)"
                )
            self._sensors, self._run = Sensors(task.measurement, task.plant), ObservedRun(task)
        self.action_space = _action_space(task, low, high)
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), dtype=np.float32)
        self._names = tuple(constraint.name for constraint in task.constraints)
        self._first_seed = seed
        self._x: np.ndarray | None = None
        self._p = task.parameters_of(task.plant)
        self._observed = np.zeros(size)
        self._k = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draws an initial state; ``options={"state": (n,)}`` sets it instead, to repeat a run."""
        if seed is not None:
            seed = expect_seed(seed, "reset: seed")
        if options is not None and not isinstance(options, Mapping):
            raise InvalidValue(f'reset: options = {shown(options)}; expected a mapping, such as {{"state": x}}')
        super().reset(seed=self._first_seed if seed is None else seed)
        self._first_seed = None  # later resets go on with the same stream
        state = self.task.plant.state
        given = (options or {}).get("state")
        if given is not None:
            expect_values(given, "reset: options['state']")
        self._x = self.task.initial.sample(state, self.np_random) if given is None else state.array(given, what="start")
        self._p = self.task.draw_parameters(self.np_random, 1)[0]
        self._k = 0
        self._begin()
        return self._observation(), {"state": self._x.copy()}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Applies the action for one sample.

        Raises:
            DimensionMismatch, InvalidValue: an action of another shape, or with NaN.
            NotReady: there was no ``reset()``.
        """
        if self._x is None:
            raise NotReady("step() before the first reset(); call reset() to draw an initial state")
        u = expect_array(action, "action", infinite=True, nan=True)
        if u.shape != self.action_space.shape:
            raise DimensionMismatch(f"action of shape {u.shape}; expected {self.action_space.shape}")
        u = u.reshape(len(self.task.plant.input))  # one discrete action is a number
        if not isinstance(self.action_space, spaces.Box):
            u = np.round(u)
        if np.isnan(u).any():
            raise InvalidValue(f"action {u} contains NaN; give numbers, which are clipped to {self.task.input_bounds}")
        w = self.task.disturbance.sample(self.task.plant.disturbance, self.np_random)
        outcome = self._model.step(self._x, self._model.clip(u), w, self._k, self._p)
        self._x, self._k = outcome.state, self._k + 1
        self._measure(self._model.clip(u))
        info = {
            "state": self._x.copy(),
            "cost": float(outcome.spent.sum()),
            "costs": dict(zip(self._names, outcome.spent.tolist(), strict=True)),
            "margins": dict(zip(self._names, outcome.margin.tolist(), strict=True)),
        }
        return self._observation(), float(outcome.reward), bool(outcome.terminated), self._k >= self.task.steps, info

    def _begin(self) -> None:
        """The first measurement of a run."""
        if self._sensors is not None:
            _, u_ref = self.task.reference.at(self.task.plant, 0)
            self._sensors.reset()
            self._run.reset()
            self._measure(u_ref)

    def _measure(self, u: np.ndarray) -> None:
        """Takes what is reported at this sample, after the input u."""
        if self._sensors is not None:
            assert self.task.measurement is not None
            assert self._x is not None
            noise = self.task.measurement.sample(self.np_random, self.np_random, ())
            y = self._sensors.read(self._x, u, self._k, noise)
            self._run.apply(u)
            self._observed = self._run.observe(y, self._k)

    def _observation(self) -> np.ndarray:
        observation = self._model.observe(self._x, self._k) if self._sensors is None else self._observed
        # A run that diverges exceeds the range of 32 bits before that of 64.
        return np.clip(observation, -_LARGEST, _LARGEST).astype(np.float32)


def _action_space(task: AbstractTask, low: np.ndarray, high: np.ndarray) -> spaces.Space[Any]:
    """The space of the inputs between these bounds (m,).

    Raises:
        InvalidValue: some inputs are integer and others are not.
    """
    integers = [signal.integer for signal in task.plant.input]
    if not any(integers):
        return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
    if not all(integers):
        names = [signal.name for signal in task.plant.input if not signal.integer]
        raise InvalidValue(
            f"task '{task.name}' has integer and continuous inputs ({', '.join(names)}), for which learners have no "
            "space of actions; declare all of them integer, or none"
        )
    first, last = np.ceil(low - 1e-9).astype(np.int64), np.floor(high + 1e-9).astype(np.int64)
    if len(first) == 1:
        return spaces.Discrete(int(last[0] - first[0] + 1), start=int(first[0]))
    return spaces.MultiDiscrete(last - first + 1, start=first)
