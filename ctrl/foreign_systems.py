"""Dynamic compensators of python-control as controllers: transfer functions and state-space systems."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from ctrl.controller import Decision, NotApplicable, Source, Status, measured_state, sample_index
from systems import InvalidValue, Measurement, Signals, Task
from systems.errors import expect, shown

__all__ = ["CompensatorController", "ControlSystem", "from_control"]

_SAME = 1e-9  # relative difference of sample times that is attributed to rounding


@runtime_checkable
class ControlSystem(Protocol):
    """The part of python-control's input-output systems that is used here."""

    dt: Any
    nstates: Any
    ninputs: Any
    noutputs: Any
    input_labels: Any

    def dynamics(self, t: float, x: Any, u: Any) -> Any:
        """The next state of a discrete system."""

    def output(self, t: float, x: Any, u: Any) -> Any:
        """The output at a sample."""


@final
class CompensatorController:
    """u = clip(u_ref + y), z+ = f(z, e), y = h(z, e) with e = reference - signal, as in a unity feedback loop.

    The state z is zero at the start of every run and does not account for the clipping of inputs (no anti-windup). The
    error of a measured signal that is not reported at a sample keeps its last value. If numbers are not finite, the
    reference input is applied, as status and source report, and z does not change.

    Args:
        task: with the signals, their reference and the input bounds. The signals are those of the measurement if the
            task has one, otherwise the states.
        system: of python-control. Its inputs are the signals named by its input labels, or all signals in order if the
            labels are not such names; its outputs are the inputs of the plant. A continuous linear system is
            discretised by Tustin's method.

    Attributes:
        measurement: that of the task if the controller uses measured signals; None if it uses the states.

    Raises:
        NotApplicable: the number of signals or inputs, or the sample time, differs.
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
        """Starts a new run: sets the state to zero."""
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
    """A controller factory from a system of python-control: ``{"pi": from_control(control.tf([2, 1], [1, 0]))}``.

    The inputs of the system are errors, reference minus signal; see :class:`CompensatorController`.

    Args:
        system: a transfer function, a state-space system, or a discrete nonlinear one.

    Raises:
        InvalidValue: another kind of object.
    """
    return _Compensator(_with_state(system))


@final
class _Compensator:
    """Constructs the controller for a task."""

    def __init__(self, system: ControlSystem) -> None:
        self._system = system

    def __call__(self, task: Task) -> CompensatorController:
        return CompensatorController(task, self._system)


def _with_state(system: Any) -> ControlSystem:
    """A system in state-space form; transfer functions are realised."""
    if not isinstance(system, ControlSystem) and hasattr(system, "num") and hasattr(system, "den"):
        import control

        system = control.ss(system)
    if not isinstance(system, ControlSystem):
        raise InvalidValue(
            f"system = {shown(system)}; expected one of python-control, such as control.tf([2, 1], [0.1, 1]) or "
            "control.ss(A, B, C, D, dt)"
        )
    if _is_continuous(system) and not hasattr(system, "A"):
        raise InvalidValue("a continuous nonlinear system cannot run at samples; pass it in discrete time")
    return system


def _is_continuous(system: Any) -> bool:
    return system.dt is not None and system.dt is not True and system.dt == 0


def _sampled(system: Any, task: Task) -> Any:
    """The system discretised with the sample time of a task."""
    if _is_continuous(system):
        if not system.nstates:  # a static gain needs no discretisation, which python-control refuses
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
    """The signals that correspond to the inputs of the system."""
    labels = list(system.input_labels)
    if labels and all(label in signals.names for label in labels):
        return np.array([signals.where(label) for label in labels])
    if system.ninputs != len(signals):
        raise NotApplicable(
            f"the system has {system.ninputs} inputs, {', '.join(labels)}; task '{task.name}' has {len(signals)} "
            f"signals: {', '.join(signals.names)}; name the inputs after the signals that they are, "
            f"inputs=['{signals.names[0]}']"
        )
    return np.arange(len(signals))
