"""A task at another sample time."""

from __future__ import annotations

import dataclasses

from ctrl.controller import NotApplicable
from systems import Task
from systems.arguments import expect_number
from systems.errors import expect

__all__ = ["resampled"]


def resampled(task: Task, rate: float) -> Task:
    """The same task at another sample rate, with as many samples as its run then has.

    Stage costs are charged per sample, so the cost of a run grows with the rate; disturbances and the noise of a
    measurement are drawn per sample.

    Args:
        task: with a continuous plant and a constant reference.
        rate: samples per second, in Hz.

    Raises:
        NotApplicable: the plant is discrete, or the reference, signals known ahead, delays or sample times of a
            measurement are given per sample.
        InvalidValue: the rate is not positive.
    """
    expect(task, Task, "task", "such as systems.library.cartpole()")
    expect_number(rate, "rate", above=0.0, hint="in Hz")
    if abs(rate * task.dt - 1.0) < 1e-9:
        return task
    why = ""
    measurement = task.measurement
    if task.plant.forecast is not None:
        why = f"{', '.join(task.plant.forecast.signals.names)} are known ahead at its samples"
    elif task.plant.is_discrete or (task.truth is not None and task.truth.is_discrete):
        why = "its plant is discrete"
    elif not task.reference.is_constant:
        why = "its reference is given per sample"
    elif measurement is not None and (measurement.delays.any() or (measurement.periods > 1).any()):
        why = "delays and sample times of its measurement are counted in samples"
    if why:
        raise NotApplicable(
            f"task '{task.name}' runs at {1.0 / task.dt:g} Hz and cannot be sampled at {rate:g} Hz: {why}"
        )
    return dataclasses.replace(task, dt=1.0 / rate, steps=max(round(task.steps * task.dt * rate), 1))
