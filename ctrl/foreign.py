"""Adapters for policies, networks and functions of other libraries as controllers."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from ctrl.controller import Decision, NotApplicable, Source, Status, measured_state, sample_index
from ctrl.estimation.estimator import measured_outputs
from systems import InvalidValue, Task
from systems.arguments import expect_arguments
from systems.errors import expect, shown
from systems.lowering import lower
from systems.measured_history import ObservedRun

__all__ = ["FunctionController", "Predicting", "from_function", "from_predict"]


@runtime_checkable
class Predicting(Protocol):
    """The interface of algorithms and policies of Stable-Baselines3."""

    def predict(self, observation: Any, deterministic: bool = True) -> tuple[Any, Any]:
        """The action of an observation, and a recurrent state."""


@final
class FunctionController:
    """u = clip(f(o)), where o is the task's observation at each sample. If f returns numbers that are not finite, the
    reference input is applied, with status and source.

    If learners of the task observe its measured signals, as ``task.env()`` does, it is a controller of measurements.

    Args:
        task: defines observation, reference and input bounds.
        function: maps an observation (o,) in single precision to an input (m,) in the units of the plant.

    Attributes:
        approximations: None, since those of a function are unknown.
        measurement: of the task, if its signals are passed to ``step``; None if the state is.
    """

    def __init__(self, task: Task, function: Callable[[np.ndarray], Any]) -> None:
        expect(task, Task, "the task of FunctionController", "such as systems.library.cartpole()")
        expect_arguments(function, "observation", "function")
        self._task, self._function, self._state = task, function, task.plant.state
        self.measurement = task.measurement if task.observes_measurement else None
        self._run = None if self.measurement is None else ObservedRun(task)
        self._observe: Any = None if self._run is not None else lower(task.observe_function(), to="numpy")
        self._lower, self._upper = task.input_bounds

    def reset(self) -> None:
        """Forgets the measurements of the last run, which are all that is remembered."""
        if self._run is not None:
            self._run.reset()

    def step(self, x: np.ndarray, k: int) -> Decision:
        """The input of the function; see :class:`ctrl.Controller`."""
        began, k = perf_counter(), sample_index(k)
        x_ref, u_ref = self._task.reference.at(self._task.plant, np.array([max(k, 0)]))
        with np.errstate(all="ignore"):
            observation = self._observed(x, x_ref, k).astype(np.float32)
        u = np.asarray(self._function(observation), dtype=np.float64).reshape(-1)
        if u.shape != self._lower.shape:
            raise InvalidValue(
                f"the function gave {shown(u)}; expected {len(self._lower)} numbers: "
                f"{', '.join(self._task.plant.input.names)}"
            )
        is_finite = bool(np.isfinite(u).all())
        applied = np.clip(u if is_finite else u_ref[0], self._lower, self._upper)
        if self._run is not None:
            self._run.apply(applied)
        if is_finite:
            return Decision(applied, seconds=perf_counter() - began)
        return Decision(applied, Status.NUMERICAL, Source.BACKUP, seconds=perf_counter() - began)

    def _observed(self, given: np.ndarray, x_ref: np.ndarray, k: int) -> np.ndarray:
        """The observation (o,) of the state or the measurement that is given."""
        if self._run is not None and self.measurement is not None:
            return self._run.observe(measured_outputs(given, self.measurement.signals), k)
        state = measured_state(given, self._state)
        return np.asarray(self._observe(state[None], x_ref[:1]))[0]


def from_function(function: Callable[[np.ndarray], Any]) -> Callable[[Task], FunctionController]:
    """A controller factory for comparisons from a function of the observation: ``{"mine": from_function(f)}``.

    Args:
        function: maps an observation (o,) in single precision to an input (m,) in the units of the plant.
    """
    expect_arguments(function, "observation", "function")
    return _Foreign(function)


def from_predict(model: Predicting, unscaled: bool = True) -> Callable[[Task], FunctionController]:
    """A controller factory for comparisons from a policy with ``predict(observation, deterministic)``, as in
    Stable-Baselines3: ``{"ppo": from_predict(PPO.load("ppo.zip"))}``.

    Args:
        model: trained on the task's environment, ``task.env()``.
        unscaled: whether its actions are in the units of the plant, as of that environment; False for actions in
            [-1, 1], as behind ``gymnasium.wrappers.RescaleAction``. Default: True.

    Raises:
        InvalidValue: it has no `predict`.
    """
    if not isinstance(model, Predicting):
        raise InvalidValue(f"model = {shown(model)}; expected something with predict(observation, deterministic)")
    return _Foreign(_Predicted(model), not unscaled)


@final
class _Predicted:
    """A policy's deterministic action, as a function."""

    def __init__(self, model: Predicting) -> None:
        self._model = model

    def __call__(self, observation: np.ndarray) -> Any:
        return self._model.predict(observation, deterministic=True)[0]


@final
class _Foreign:
    """Makes the controller for a task."""

    def __init__(self, function: Callable[[np.ndarray], Any], is_scaled: bool = False) -> None:
        self._function, self._is_scaled = function, is_scaled

    def __call__(self, task: Task) -> FunctionController:
        if not self._is_scaled:
            return FunctionController(task, self._function)
        low, high = task.input_bounds
        if not np.isfinite([low, high]).all():
            raise NotApplicable(f"task '{task.name}': actions in [-1, 1] need inputs with finite bounds")
        return FunctionController(task, _Rescaled(self._function, low, high))


@final
class _Rescaled:
    """Actions in [-1, 1], in the units of the plant."""

    def __init__(self, function: Callable[[np.ndarray], Any], low: np.ndarray, high: np.ndarray) -> None:
        self._function, self._low, self._high = function, low, high

    def __call__(self, observation: np.ndarray) -> Any:
        action = np.asarray(self._function(observation), dtype=np.float64).reshape(-1)
        return self._low + 0.5 * (action + 1.0) * (self._high - self._low)
