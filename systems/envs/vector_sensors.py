"""The sensors of many runs at once, in torch, and what learners observe of them."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from systems.abstract_task import AbstractTask
from systems.distributions import Uniform
from systems.envs.model import SampleModel
from systems.envs.sampler import Sampler
from systems.lowering import lower
from systems.measured_history import MeasuredHistory, Memory

__all__ = ["VectorSensors"]


@final
class VectorSensors:
    """The measured signals of n runs, each at a sample of its own, and a learner's observation of them.

    The rules are those of :class:`systems.measurement.Sensors` and :class:`systems.measured_history.MeasuredHistory`,
    which describe a single run.

    Args:
        task: with a measurement, which learners observe.
        n: number of runs.
        model: of the environment, with type and device of all numbers.
    """

    def __init__(self, task: AbstractTask, n: int, model: SampleModel) -> None:
        measurement = task.measurement
        assert measurement is not None
        self._model, self._n, p = model, n, len(measurement.signals)
        like = model.array(np.zeros(0))
        self._history = MeasuredHistory(task, "torch", like.dtype, like.device)
        self._outputs = lower(measurement.function(task.plant), "torch")
        self._noise = Sampler(measurement.noise, measurement.signals, model)
        self._losses = Sampler(Uniform(np.zeros(p), np.ones(p)), measurement.signals, model)
        whole = {"dtype": torch.long, "device": like.device}
        self._delays = torch.tensor(measurement.delays, **whole)
        self._periods = torch.tensor(measurement.periods, **whole)
        self._signals = torch.arange(p, **whole)
        self._dropouts, self._quanta = model.array(measurement.dropouts), model.array(measurement.quanta)
        self._drops, self._rounds = bool(measurement.dropouts.any()), bool(measurement.quanta.any())
        self._is_timed = bool(measurement.delays.any() or (measurement.periods > 1).any())
        self._input = model.array(task.reference.at(task.plant, 0)[1]).expand(n, -1)
        self._nan = torch.full_like(self._dropouts, torch.nan)
        self._steps = model.array(np.where(measurement.quanta > 0, measurement.quanta, 1.0))
        # What was measured at the last samples, newest first: (largest delay + 1, n, p).
        self._taken = torch.zeros(int(measurement.delays.max()) + 1, n, p, dtype=like.dtype, device=like.device)
        self._memory = self._history.first(self._nan.expand(n, p))

    def reset(self, x: Tensor, k: Tensor, generator: torch.Generator) -> Tensor:
        """The observations (n, o) of runs that begin in the states x (n, states), at the samples k (n,).

        A run that begins at a later sample than 0 counts as having been in its first state until then.
        """
        self._taken = self._outputs(x, self._input).expand(len(self._taken), -1, -1).clone()
        self._memory = self._history.first(self._reported(k, generator))
        return self._observe(self._memory, k)

    def step(self, x: Tensor, u: Tensor, k: Tensor, generator: torch.Generator) -> Tensor:
        """The observations (n, o) in the states x (n, states) at the samples k, after the inputs u (n, m)."""
        self._taken = torch.cat([self._outputs(x, u)[None], self._taken[:-1]])
        self._memory = self._history.after(self._memory, self._reported(k, generator), u)
        return self._observe(self._memory, k)

    def restart(self, x: Tensor, k: Tensor, over: Tensor, generator: torch.Generator) -> Tensor:
        """The observations (n, o) after the runs in ``over`` (n,) were started anew, in their states of x, at sample 0.

        Earlier measurements of these runs are never reported, since they would be of samples before 0.
        """
        begun = over[:, None]
        self._taken[0] = torch.where(begun, self._outputs(x, self._input), self._taken[0])
        first = self._history.first(self._reported(k, generator))
        pairs = zip(first, self._memory, strict=True)
        self._memory = Memory(*(torch.where(begun, new, old) for new, old in pairs))
        return self._observe(self._memory, k)

    def _observe(self, memory: Memory, k: Tensor) -> Tensor:
        return self._history.observe(memory, self._model.state_reference(k))

    def _reported(self, k: Tensor, generator: torch.Generator) -> Tensor:
        """The reports (n, p) at the samples k, NaN for signals without one."""
        values = self._taken[0]
        if self._is_timed:
            since = k[:, None] - self._delays
            due = (since >= 0) & (since % self._periods == 0)
            values = torch.where(due, self._taken[self._delays, :, self._signals].mT, self._nan)
        values = values + self._noise.draw(self._n, generator)
        if self._drops:
            values = torch.where(self._losses.draw(self._n, generator) < self._dropouts, self._nan, values)
        if self._rounds:
            rounded = torch.round(values / self._steps) * self._steps
            values = torch.where(self._quanta > 0, rounded, values)
        return values

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next observations depend on."""
        return {"taken": self._taken.clone(), **{f: v.clone() for f, v in self._memory._asdict().items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state saved by :meth:`state_dict`.

        Raises:
            ValueError: arrays of another shape.
        """
        saved = [state[name] for name in ("taken", *Memory._fields)]
        for array, current in zip(saved, (self._taken, *self._memory), strict=True):
            if array.shape != current.shape:
                raise ValueError(f"saved measurements of shape {tuple(array.shape)}; expected {tuple(current.shape)}")
        self._taken, *memory = (array.to(self._taken).clone() for array in saved)
        self._memory = Memory(*memory)
