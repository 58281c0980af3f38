"""What a learner remembers of the measured signals of a run, and observes."""

from __future__ import annotations

import importlib
from typing import Any, Literal, NamedTuple, final

import numpy as np

from systems.abstract_task import AbstractTask
from systems.errors import InvalidValue
from systems.measurement import Sensors
from systems.references import TabulatedReference

__all__ = ["MeasuredHistory", "Memory", "ObservedRun", "observed_in_words"]


class Memory(NamedTuple):
    """The measurements and inputs that an observation consists of; the batch (...) is that of the runs."""

    values: Any  # (..., (past + 1) p), the last reported values at each sample, newest first
    ages: Any  # (..., p), samples since the last report of each signal
    inputs: Any  # (..., past m), newest first


@final
class MeasuredHistory:
    """The observation of the measured signals of a task, for one run or many, in numpy or torch.

    Before its first report, a signal has the value that it would have at the reference, and its age is counted from the
    sample before the run. At the first sample of a run, its values also stand for the samples before the run, whose
    inputs were those of the reference.

    All methods are pure functions of arrays.

    Args:
        task: with a measurement.
        to: the arithmetic; default: numpy.
        dtype, device: of the numbers in torch; default: those of torch.

    Attributes:
        before: (p,), values before the first report. first_input: (m,), before the first sample.
        aged: indices of the signals whose age is observed.

    Raises:
        InvalidValue: learners observe the state of this task.
    """

    def __init__(
        self, task: AbstractTask, to: Literal["numpy", "torch"] = "numpy", dtype: Any = None, device: Any = None
    ) -> None:
        if task.measurement is None or not task.observes_measurement:
            raise InvalidValue(f"learners observe the state of task '{task.name}', not its measured signals")
        self._xp: Any = importlib.import_module(to)
        placed = {} if to == "numpy" else {"dtype": dtype, "device": device}
        x_ref, u_ref = task.reference.at(task.plant, 0)
        before = Sensors(task.measurement, task.plant).expected(x_ref, u_ref)
        self.before, self.first_input = (self._xp.asarray(np.array(v), **placed) for v in (before, u_ref))
        self._past, self.aged = task.past, np.flatnonzero(task.measurement.is_sporadic)
        self.moves = not task.reference.is_constant
        self._none = self._xp.zeros_like(self.before)

    def first(self, y: Any) -> Memory:
        """The memory (..., ) after the first report y (..., p) of a run, NaN or infinite where there was none."""
        xp, reported = self._xp, self._xp.isfinite(y)
        held = xp.where(reported, y, self.before)
        inputs = xp.broadcast_to(self.first_input, (*y.shape[:-1], len(self.first_input)))
        return Memory(
            xp.concatenate([held] * (self._past + 1), -1),
            xp.where(reported, self._none, self._none + 1),
            xp.concatenate([inputs] * self._past, -1) if self._past else inputs[..., :0],
        )

    def after(self, memory: Memory, y: Any, u: Any) -> Memory:
        """The memory after the report y (..., p) of the next sample, to which the input u (..., m) was applied."""
        xp, reported, p = self._xp, self._xp.isfinite(y), y.shape[-1]
        held, m = xp.where(reported, y, memory.values[..., :p]), u.shape[-1]
        inputs = xp.concatenate([u, memory.inputs[..., : (self._past - 1) * m]], -1) if self._past else memory.inputs
        return Memory(
            xp.concatenate([held, memory.values[..., : self._past * p]], -1),
            xp.where(reported, self._none, memory.ages + 1),
            inputs,
        )

    def observe(self, memory: Memory, x_ref: Any) -> Any:
        """The observation (..., o).

        Args:
            memory: of the runs.
            x_ref: (..., n), the reference of the state at this sample; not read if it is constant.
        """
        p = self.before.shape[-1]
        current, past = memory.values[..., :p], memory.values[..., p:]
        parts = [current, memory.ages[..., self.aged], past, memory.inputs, *([x_ref] if self.moves else [])]
        return self._xp.concatenate(parts, -1)


@final
class ObservedRun:
    """The observations of one run, sample by sample.

    Args:
        task: with a measurement, which learners observe.
    """

    def __init__(self, task: AbstractTask) -> None:
        self._history = MeasuredHistory(task)
        self._reference = TabulatedReference(task.reference, task.plant, task.steps + 1)
        self._memory: Memory | None = None
        self._input = self._reference(0)[1]

    def reset(self) -> None:
        """Forgets the past: a new run begins."""
        self._memory = None

    def observe(self, y: np.ndarray, k: int) -> np.ndarray:
        """The observation (o,) at sample k, of which y (p,) is reported, NaN for signals without a report."""
        before = self._memory
        self._memory = self._history.first(y) if before is None else self._history.after(before, y, self._input)
        return np.asarray(self._history.observe(self._memory, self._reference(k)[0]))

    def apply(self, u: np.ndarray) -> None:
        """Notes the input (m,) that is applied until the next sample."""
        self._input = u


def observed_in_words(task: AbstractTask) -> str:
    """What learners observe of a task with a measurement, such as ``the last reported values of angle``."""
    if task.measurement is None or not task.observes_measurement:
        return "the state"
    names = task.measurement.signals.names
    sporadic = [names[i] for i in np.flatnonzero(task.measurement.is_sporadic)]
    text = f"the last reported values of {', '.join(names)}"
    if sporadic:
        text += f", the ages of {', '.join(sporadic)}"
    if task.past:
        text += f", and measurements and inputs of the {task.past} samples before"
    return text
