"""Dynamic compensators of python-control as controllers: transfer functions and state-space systems with a state."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from ctrl.controller import Decision, NotApplicable, Source, Status, measured_state, sample_index
from systems import InvalidValue, Measurement, Signals, Task
from systems.errors import expect, shown

__all__ = ["CompensatorController", "ControlSystem", "from_control"]

_SAME = 1e-9  # relative difference of sample times that is rounding


@runtime_checkable
class ControlSystem(Protocol):
    """What python-control calls an input-output system, as far as it is read here."""

    dt: Any
    nstates: Any
    ninputs: Any
    noutputs: Any
    input_labels: Any

    def dynamics(self, t: float, x: Any, u: Any) -> Any:
        """The state after a sample, of a discrete system."""

    def output(self, t: float, x: Any, u: Any) -> Any:
        """The output at a sample."""


@final
class CompensatorController:
    """u = clip(u_ref + y), z+ = f(z, e), y = h(z, e) with the error e = reference - signal, as in a unit feedback loop.

    The state z is zero at the start of every run. It does not know that inputs are clipped. A measured signal that is
    not reported at a sample keeps its last error; without finite numbers the input is that of the reference, with
    status and source, and z stays as it is.

    Args:
        task: gives the signals with their reference, and the input bounds. On a task with a measurement, signals are
            those that it reports, otherwise states.
        system: of python-control. Its inputs are signals, by name where its input labels are such names, otherwise all
            of them in order; its outputs are the inputs of the plant. A continuous linear one is sampled by Tustin's
            rule.

    Attributes:
        measurement: of the task, which the controller then takes; None for its states.

    Raises:
        NotApplicable: the numbers of signals or inputs differ, or the sample time does.
    """

    def __init__(self, task: Task, system: ControlSystem) -> None:
        expect(task, Task, "the task of CompensatorController", "such as systems.library.cartpole()")
        self._task, self._system = task, _sampled(system, task)
        self.measurement: Measurement | None = task.measurement
        self._signals: Signals = task.plant.state if self.measurement is None else self.measurement.signals
        self._reads = _reads(system, self._signals, task)
        if system.noutputs != len(task.plant.input):
            raise NotApplicable(
                f"the system has {system.noutputs} outputs; task '{task.name}' has {len(task.plant.input)} inputs: "
                f"{', '.join(task.plant.input.names)}"
            )
        self._h = None if self.measurement is None else self.measurement.function(task.plant)
        self._lower, self._upper = task.input_bounds
        self.reset()

    def reset(self) -> None:
        """The state is zero."""
        self._z = np.zeros(self._system.nstates or 0)
        self._error = np.zeros(len(self._reads))

    def step(self, x: np.ndarray, k: int) -> Decision:
        """The output of the system; see :class:`ctrl.Controller`."""
        began, x, k = perf_counter(), measured_state(x, self._signals), sample_index(k)
        x_ref, u_ref = self._task.reference.at(self._task.plant, max(k, 0))
        goal = x_ref if self._h is None else np.array(self._h(x_ref, u_ref)).ravel()
        error = -self._signals.deviation(x, goal)[self._reads]
        if self.measurement is not None:
            error = np.where(np.isfinite(error), error, self._error)
        time = k * self._task.dt
        with np.errstate(all="ignore"):
            u = u_ref + np.asarray(self._system.output(time, self._z, error), dtype=float).ravel()
            z = np.asarray(self._system.dynamics(time, self._z, error), dtype=float).ravel()
        if np.isfinite(u).all() and np.isfinite(z).all():
            self._z, self._error = z, error
            return Decision(np.clip(u, self._lower, self._upper), seconds=perf_counter() - began)
        backup = np.clip(u_ref, self._lower, self._upper)
        return Decision(backup, Status.NUMERICAL, Source.BACKUP, seconds=perf_counter() - began)


def from_control(system: ControlSystem) -> _Compensator:
    """A factory for comparisons, of a system of python-control: ``{"pi": from_control(control.tf([2, 1], [1, 0]))}``.

    It is given errors, reference minus signal; see :class:`CompensatorController`.

    Args:
        system: a transfer function, a state-space system, or a discrete nonlinear one.

    Raises:
        InvalidValue: it is none of these.
    """
    return _Compensator(_with_state(system))


@final
class _Compensator:
    """Makes the controller for a task."""

    def __init__(self, system: ControlSystem) -> None:
        self._system = system

    def __call__(self, task: Task) -> CompensatorController:
        return CompensatorController(task, self._system)


def _with_state(system: Any) -> ControlSystem:
    """A system with a state: a transfer function in a realisation."""
    if not isinstance(system, ControlSystem) and hasattr(system, "num") and hasattr(system, "den"):
        import control

        system = control.ss(system)
    if not isinstance(system, ControlSystem):
        raise InvalidValue(
            f"system = {shown(system)}; expected one of python-control, such as control.tf([2, 1], [0.1, 1]) or "
            "control.ss(A, B, C, D, dt)"
        )
    if _is_continuous(system) and not hasattr(system, "A"):
        raise InvalidValue("a continuous nonlinear system cannot be a controller at samples; give it in discrete time")
    return system


def _is_continuous(system: Any) -> bool:
    return system.dt is not None and system.dt is not True and system.dt == 0


def _sampled(system: Any, task: Task) -> Any:
    """The system at the samples of a task."""
    if _is_continuous(system):
        if not system.nstates:  # a gain is the same at samples, which python-control refuses to say
            import control

            return control.ss(system.A, system.B, system.C, system.D, task.dt)
        return system.sample(task.dt, method="bilinear")
    if system.dt is not None and system.dt is not True and abs(system.dt - task.dt) > _SAME * task.dt:
        raise NotApplicable(
            f"the system has samples of {system.dt:g} s, task '{task.name}' of {task.dt:g} s; give it in continuous "
            "time, or with the sample time of the task"
        )
    return system


def _reads(system: ControlSystem, signals: Signals, task: Task) -> np.ndarray:
    """Which signals the inputs of the system are."""
    labels = list(system.input_labels)
    if labels and all(label in signals.names for label in labels):
        return np.array([signals.where(label) for label in labels])
    if system.ninputs != len(signals):
        raise NotApplicable(
            f"the system has {system.ninputs} inputs, {', '.join(labels)}; task '{task.name}' gives {len(signals)} "
            f"signals: {', '.join(signals.names)}; name the inputs after those that it takes, "
            f"inputs=['{signals.names[0]}']"
        )
    return np.arange(len(signals))
