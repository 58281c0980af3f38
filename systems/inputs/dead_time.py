"""Dead time: inputs that reach the plant some time after they are set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import casadi as ca
import numpy as np

from systems.arguments import expect_number
from systems.constraints import PREVIOUS
from systems.discretise import Discretisation
from systems.errors import InvalidValue, expect, shown
from systems.inputs.augmented_plant import SampledPlant, expect_free, inputs_before
from systems.inputs.augmented_task import augmented_task
from systems.plant import Plant
from systems.references import Reference
from systems.signals import Signal, Signals, Values, Vector, expect_values, left_out
from systems.task import Task

__all__ = ["DelayedInputs", "delay_inputs"]

WHOLE = 1e-9  # of a sample, by which a delay may miss a whole number of samples


@dataclass(frozen=True)
class DelayedInputs(SampledPlant):
    """A plant whose inputs act some time after they are set: a shift register of past inputs.

    Input ``valve`` at sample k - i is the state ``valve_i_ago``. Where a delay is not a whole number of samples, two
    inputs act within a sample, one after the other, which is exact since inputs are constant from sample to sample.

    Args:
        sampling: the inner plant at samples.
        delays: (name, seconds) of each delayed input.
    """

    sampling: Discretisation
    delays: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        for name, delay in self.delays:
            _, rest = self._samples(delay)
            if rest and self.inner.is_discrete:
                raise InvalidValue(
                    f"{self.inner.name} is discrete with dt = {self.dt} s, so a dead time of {delay} s of {name} falls "
                    "between its samples; give a multiple of dt, or delay the inputs of the continuous plant"
                )
        super().__post_init__()

    def _samples(self, delay: float) -> tuple[int, float]:
        """Whole samples of a delay, and the rest as a share of one."""
        count = delay / self.dt
        if abs(count - round(count)) <= WHOLE * max(1.0, count):
            return round(count), 0.0
        return int(count), count - int(count)

    def _kept(self) -> list[tuple[str, int]]:
        """How many past values of each input are states."""
        split = ((name, *self._samples(delay)) for name, delay in self.delays)
        return [(name, whole + (rest > 0.0)) for name, whole, rest in split]

    @property
    def added(self) -> Signals:
        declared = self.inner.input
        return Signals(
            Signal(f"{name}_{i}_ago", declared[declared.where(name)].unit)
            for name, count in self._kept()
            for i in range(1, count + 1)
        )

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        inner, _ = self.split(x)
        shares = sorted({0.0, 1.0, *(self._samples(delay)[1] for _, delay in self.delays)})
        after = inner
        for begin, end in pairwise(shares):
            held = ca.vertcat(*[self._acting(name, x, u, begin) for name in self.inner.input.names])
            after = Vector(self.inner.state, self.advance(after, held, w, end - begin), "state")
        past_inputs = [
            x[f"{name}_{i - 1}_ago"] if i > 1 else u[name] for name, count in self._kept() for i in range(1, count + 1)
        ]
        return ca.vertcat(after.column, *past_inputs)

    def _acting(self, name: str, x: Vector, u: Vector, share: float) -> Any:
        """What acts from ``share`` of a sample on."""
        whole, rest = self._samples(dict(self.delays).get(name, 0.0))
        ago = whole + (share < rest)
        return x[f"{name}_{ago}_ago"] if ago else u[name]

    def added_reference(self, reference: Reference, k: np.ndarray) -> np.ndarray:
        parts = [
            inputs_before(reference, self.inner, k, i)[..., self.inner.input.where(name)]
            for name, count in self._kept()
            for i in range(1, count + 1)
        ]
        return np.stack(parts, axis=-1)


def delay_inputs(task: Task, delays: Mapping[str, float], previous: Values = ()) -> Task:
    """The task with dead time between what a controller sets and what acts on the plant.

    Past inputs become states of the task, so that predictions include inputs that have not acted yet. Cost,
    constraints and limits apply to the input that the controller sets.

    Args:
        task: the task whose inputs are delayed.
        delays: seconds by name of an input. A delay that is not a whole number of samples is exact for a continuous
            plant, and refused for a discrete one.
        previous: the inputs before the start of a run, by name (others zero) or in order; default: the reference of the
            input.

    Raises:
        UnknownName: an input that the plant does not have.
        InvalidValue: no delay, one that is not positive, or one between the samples of a discrete plant; a measurement
            that reads a delayed input; limits or weights on the changes of a delayed input, which come afterwards.
    """
    expect(task, Task, "the task of delay_inputs", "such as systems.library.cartpole()")
    plant = task.plant
    if not isinstance(delays, Mapping) or not delays:
        raise InvalidValue(f'delays = {shown(delays)}; expected seconds by input, such as {{"valve": 0.5}}')
    for name, delay in delays.items():
        plant.input.where(name)
        expect_number(delay, f"delays: {name}", above=0.0, hint="in seconds")
        if PREVIOUS + name in plant.state.names:
            raise InvalidValue(
                f"task '{task.name}': the state {PREVIOUS}{name} would be what acted a sample ago, not what was set, "
                f"so limits and weights on changes of {name} would compare inputs of different times; delay first: "
                "limit_changes(delay_inputs(task, ...), ...)"
            )
    given = tuple((name, float(delays[name])) for name in plant.input.names if name in delays)
    expect_values(previous, "previous")
    before = task.reference.at(plant, 0)[1] if left_out(previous) else plant.input.array(previous, what="previous")

    def augment(inner: Plant) -> DelayedInputs:
        return DelayedInputs(task.dynamics.replace(inner), given)

    delayed = augment(plant)
    expect_free(delayed.added.names, plant, "delay_inputs")
    _expect_not_measured(task, given)
    start = [before[plant.input.where(signal.name.rsplit("_", 2)[0])] for signal in delayed.added]
    return augmented_task(task, augment, np.array(start))


def _expect_not_measured(task: Task, delays: Sequence[tuple[str, float]]) -> None:
    """Raises InvalidValue where a sensor reads a delayed input: no state holds what acted before a sample."""
    if task.measurement is None:
        return
    h = task.measurement.function(task.plant)
    x, u = h.sx_in()
    outputs = h(x, u)
    for name, _ in delays:
        if ca.depends_on(outputs, u[task.plant.input.where(name)]):
            raise InvalidValue(
                f"task '{task.name}': its measurement reads the input {name}, which is to be delayed; a sensor of the "
                "plant reads what acts, not what is set. Give the measurement to the delayed task, of whose states "
                f"{name}_1_ago and so on it may read"
            )
