"""The controller protocol: one decision per sample."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np

from systems.arguments import is_whole
from systems.errors import DimensionMismatch, InvalidValue, TriviumError, shown
from systems.signals import Signals
from systems.task import Task

__all__ = [
    "BatchController",
    "Controller",
    "Decision",
    "Informed",
    "NotApplicable",
    "Preparing",
    "Source",
    "Status",
    "expect_sample_time",
    "expect_takes",
    "measured_state",
    "measured_states",
    "sample_index",
]

_ROUNDING = 1e-6  # relative difference of equal sample times
_LAST = 2**62  # whole numbers around this one still fit into numpy's


class Status(StrEnum):
    """How the computation of one sample ended.

    ``INFEASIBLE``: no plan satisfies the constraints. ``TERMINAL_SET_UNREACHABLE``: some plans do, but none of them
    ends in the set that guarantees recursive feasibility; the input is that of a plan without the terminal condition.
    """

    SOLVED = "solved"
    MAX_ITERATIONS = "max_iterations"
    TIMEOUT = "timeout"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    NUMERICAL = "numerical"
    TERMINAL_SET_UNREACHABLE = "terminal_set_unreachable"


class Source(StrEnum):
    """Where the input of a decision came from."""

    OPTIMAL = "optimal"
    SUBOPTIMAL = "suboptimal"
    SHIFTED_PLAN = "shifted_plan"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of one control step.

    Args:
        input: (m,), always finite and within the task's input bounds.
        status: how the computation ended. source: where the input came from.
        iterations: of the solver, 0 for a law in closed form.
        residual: largest violation of the optimality conditions of the accepted point, 0 for a law in closed form.
        seconds: wall time of the step.
    """

    input: np.ndarray
    status: Status = Status.SOLVED
    source: Source = Source.OPTIMAL
    iterations: int = 0
    residual: float = 0.0
    seconds: float = 0.0


@runtime_checkable
class Controller(Protocol):
    """Computes an input from the state. ``step`` never raises because of numbers and never returns NaN.

    Anything other than a state and a sample number is misuse: the library's controllers refuse it by
    :func:`measured_state` and :func:`sample_index` before anything changes, and other controllers should, too.
    """

    def reset(self) -> None:
        """Starts a new run: discards the past."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides at sample ``k`` in state ``x`` (n,); ``k`` increases whether or not a solve succeeded."""


@runtime_checkable
class Preparing(Controller, Protocol):
    """A controller that can do a part of its work before the measurement arrives; a loop calls it between samples."""

    def prepare(self, k: int) -> None:
        """Prepares sample ``k``; it does not affect the controller's guarantees, even if ``k`` is not the next
        sample."""


@runtime_checkable
class Informed(Controller, Protocol):
    """A controller of measured outputs with a memory, which a loop keeps true to what has happened on the plant."""

    def inform(self, u: np.ndarray) -> None:
        """The input u (m,) was applied since the last sample, in place of the decided one."""

    def observe(self, y: np.ndarray, k: int) -> None:
        """Takes the measurement y (p,) of sample ``k`` in place of ``step``, where no decision is needed."""

    def rewind(self) -> None:
        """Forgets what was measured and applied, but keeps a plan: the next sample is again the first of a run."""


@runtime_checkable
class BatchController(Controller, Protocol):
    """A controller without memory that can also process many states at once."""

    def batch(self, x: np.ndarray, k: int) -> np.ndarray:
        """Inputs (b, m) for the states (b, n), equal to ``step`` row by row."""


class NotApplicable(TriviumError, ValueError):
    """A controller cannot control this task, for the reason given; a comparison skips it and says so."""


def expect_takes(task: Task, controller: Any) -> None:
    """Checks that the task provides the input of a controller: the state, or measured outputs.

    A controller of measurements declares them by an attribute ``measurement``, whose signals are those of the task. The
    rest of it, such as the noise, is the controller's model.

    Raises:
        NotApplicable: it needs the state instead of a measurement, or the reverse, or another measurement; it was made
            for another sample time.
    """
    expect_sample_time(task, controller)
    taken, given, name = getattr(controller, "measurement", None), task.measurement, type(controller).__name__
    if taken is None and given is None:
        return
    if given is None:
        assert taken is not None
        raise NotApplicable(
            f"{name} takes measurements of {', '.join(taken.signals.names)}, and task '{task.name}' gives its state; "
            "use the controller inside it, or a task with that measurement"
        )
    outputs = ", ".join(given.signals.names)
    if taken is None:
        raise NotApplicable(
            f"task '{task.name}' measures {outputs}, and {name} takes a state; combine it with an estimator: "
            f"OutputFeedback({name}(task), ExtendedKalmanFilter(task)), see docs/measurement.md"
        )
    if taken.signals != given.signals:
        raise NotApplicable(
            f"{name} takes measurements of {', '.join(taken.signals.names)}, and task '{task.name}' measures "
            f"{outputs}; make its estimator for a task with these signals"
        )


def expect_sample_time(task: Task, controller: Any) -> None:
    """Raises NotApplicable where a controller was made for a task of another sample time, as far as it tells its task.

    All other differences are permitted: a controller of a nominal, linearised or reduced plant controls another one.
    """
    own = getattr(controller, "task", None)
    if isinstance(own, Task) and abs(own.dt - task.dt) > _ROUNDING * task.dt:
        raise NotApplicable(
            f"{type(controller).__name__} was made for task '{own.name}' with samples of {own.dt:g} s, and is called "
            f"every {task.dt:g} s, the sample time of task '{task.name}'; make both for the same sample time"
        )


def sample_index(k: Any) -> int:
    """The number of a sample, 0 for the first of a run; it continues beyond the end of a run.

    Negative whole numbers are accepted, too, as a clock may jump. Floats are refused even where they are whole: t / dt
    is exact at some samples and off by a rounding at others, and would fail in the middle of a run.

    Raises:
        InvalidValue: no whole number, of Python or numpy.
    """
    if type(k) is int or is_whole(k):
        if -_LAST <= k <= _LAST:
            return int(k)
    elif isinstance(k, np.ndarray) and k.shape == () and k.dtype.kind in "iu":
        return sample_index(int(k))
    hint = "; count samples instead of rounding a time" if isinstance(k, (float, np.floating)) else ""
    raise InvalidValue(f"sample k = {shown(k)}; expected a whole number, 0 for the first of a run{hint}")


def measured_state(x: Any, state: Signals) -> np.ndarray:
    """One measured state as floats (n,), which may contain NaN or infinity: a status reports those.

    Raises:
        InvalidValue: it does not consist of real numbers: text, None, truth values, complex numbers, objects.
        DimensionMismatch: another shape.
    """
    array = _real(x, state)
    if array.shape != (len(state),):
        raise DimensionMismatch(
            f"state of shape {array.shape}; expected ({len(state)},): {', '.join(state.names)}; one state per call"
        )
    return array


def measured_states(x: Any, state: Signals) -> np.ndarray:
    """Measured states as floats (..., n); see :func:`measured_state`."""
    array = _real(x, state)
    if array.shape[-1:] != (len(state),):
        raise DimensionMismatch(
            f"states of shape {array.shape}; expected (..., {len(state)}): {', '.join(state.names)}"
        )
    return array


def _real(x: Any, state: Signals) -> np.ndarray:
    try:
        array = np.asarray(x)
    except Exception as error:  # whatever a foreign object does when it is asked for an array
        raise InvalidValue(f"state x = {shown(x)} is not an array of numbers: {error}") from error
    if array.dtype.kind not in "fiu":
        raise InvalidValue(
            f"state x = {shown(x)}; expected real numbers of shape ({len(state)},): {', '.join(state.names)}"
        )
    return array.astype(np.float64, copy=False)
