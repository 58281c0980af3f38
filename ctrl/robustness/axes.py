"""The axes of a robustness test: one quantity is varied at a time, over given values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np

from ctrl.controller import NotApplicable
from ctrl.sweep.perturbation import NOMINAL, Perturbation, spread
from systems import InvalidValue, Task, TriviumError
from systems.arguments import expect_names, expect_number, expect_whole

__all__ = [
    "DELAYS",
    "DISTURBANCES",
    "FACTORS",
    "NOISES",
    "STATE_NOISES",
    "RobustnessAxis",
    "delay_axis",
    "disturbance_axis",
    "noise_axis",
    "parameter_axis",
    "standard_axes",
]

FACTORS = (0.6, 0.8, 1.2, 1.4)
"""Factors of the parameters of the true plant."""

DISTURBANCES = (2.0, 4.0, 8.0)
"""Factors of the drawn disturbances."""

NOISES = (2.0, 4.0, 8.0)
"""Factors of the measurement noise."""

STATE_NOISES = (0.01, 0.03, 0.1)
"""Standard deviations of noise on the state, without a measurement, as shares of the distance of starts to the goal."""

DELAYS = (1, 2, 4)
"""Samples."""


@final
@dataclass(frozen=True)
class RobustnessAxis:
    """A quantity that is varied.

    Args:
        title: name of the quantity.
        label: of its values, with the unit.
        nominal: the value without perturbation.
        values: in increasing order, including the nominal one.
        perturbations: of the values, in the same order.
        words: format of a value in a sentence, such as ``pole_mass x {:g}``.
        note: further information for readers; default: none.
    """

    title: str
    label: str
    nominal: float
    values: tuple[float, ...]
    perturbations: tuple[Perturbation, ...]
    words: str
    note: str = ""


def parameter_axis(task: Task, names: Sequence[str], factors: Sequence[float] = FACTORS) -> RobustnessAxis:
    """Parameters of the true plant, all multiplied by the same factor; controllers still use the nominal plant.

    Factors outside the range that the plant declares for a parameter are omitted, which the note reports.

    Args:
        task: of the runs.
        names: of the parameters.
        factors: in addition to 1; default: 0.6, 0.8, 1.2 and 1.4.

    Raises:
        UnknownName: the true plant has no such parameter.
        NotApplicable: the parameters are 0, or no factor lies within their range.
    """
    expect_names(names, "the parameters of an axis")
    known = (task.truth or task.plant).parameters
    values, refused = [], []
    for factor in factors:
        changed = Perturbation(parameters=dict.fromkeys(names, expect_number(factor, "a factor")))
        try:
            changed.task(task)
        except InvalidValue as error:
            refused.append((factor, str(error)))
        else:
            values.append((factor, changed))
    if all(float(known[name]) == 0.0 for name in names):
        raise NotApplicable("0 times any factor is 0")
    if not values:
        raise NotApplicable("; ".join(dict.fromkeys(why for _, why in refused)))
    title = names[0] if len(names) == 1 else f"{len(names)} parameters together"
    notes = [f"the same factor for {', '.join(names)}"] if len(names) > 1 else []
    notes += [f"left out: {', '.join(f'{factor:g}' for factor, _ in refused)}, {refused[0][1]}"] if refused else []
    label = f"factor of {names[0] if len(names) == 1 else 'all of them'} [-]"
    return _axis(title, label, 1.0, values, f"{title} x {{:g}}", "; ".join(notes))


def disturbance_axis(task: Task, factors: Sequence[float] = DISTURBANCES) -> RobustnessAxis:
    """The drawn disturbances, all multiplied by a factor; controllers still use the distribution of the task.

    Args:
        task: of the runs.
        factors: in addition to 1; default: 2, 4 and 8.

    Raises:
        NotApplicable: the task has no disturbance.
    """
    plant = task.plant
    if not np.any(task.disturbance.mean(plant.disturbance)) and not np.any(
        task.disturbance.covariance(plant.disturbance)
    ):
        raise NotApplicable("the task has no disturbance")
    changed = [(float(factor), Perturbation(disturbance=factor)) for factor in factors]
    return _axis("disturbance", "factor of the disturbance [-]", 1.0, changed, "disturbance x {:g}")


def noise_axis(task: Task, levels: Sequence[float] | None = None) -> RobustnessAxis:
    """Noise: that of the task's measurement times a factor or, on a task without one, normal noise on the state that
    controllers receive.

    Args:
        task: of the runs.
        levels: factors, or standard deviations as shares of the distance of starts from the goal
            (:func:`ctrl.sweep.perturbation.spread`); default: 2, 4 and 8, or 0.01, 0.03 and 0.1.

    Raises:
        NotApplicable: the measurement has no noise, or the runs start at their goal.
    """
    measured = task.measurement
    if measured is not None:
        if not np.any(measured.noise.covariance(measured.signals)):
            raise NotApplicable("the measurement has no noise")
        changed = [(float(level), Perturbation(noise=level)) for level in levels or NOISES]
        title, label = "noise of the measurement", "factor of the noise [-]"
        return _axis(title, label, 1.0, changed, f"{title} x {{:g}}")
    far = spread(task)
    if not far.any():
        raise NotApplicable("every run starts at its goal, so there is no scale for the noise")
    changed = [(100.0 * level, Perturbation(state_noise=float(level))) for level in levels or STATE_NOISES]
    state = task.plant.state
    at = [
        f"{0.01 * size:.2g} {unit} of {name}"
        for name, unit, size in zip(state.names, state.units, far, strict=True)
        if size
    ]
    note = f"1 % is a standard deviation of {', '.join(at)}: of the distance of starts from the goal"
    label = "standard deviation of the noise [%]"
    return _axis("noise on the state", label, 0.0, changed, "noise of {:g} % on the state", note)


def delay_axis(task: Task, samples: Sequence[int] = DELAYS) -> RobustnessAxis:
    """Inputs that act some samples after the decision; controllers do not know of this delay.

    Args:
        task: of the runs.
        samples: in addition to 0; default: 1, 2 and 4.

    Raises:
        NotApplicable: the plant has no input.
    """
    if not len(task.plant.input):
        raise NotApplicable("the plant has no input")
    delays = [expect_whole(count, "a delay", least=1, unit="samples") for count in samples]
    changed = [(float(count), Perturbation(delay=count)) for count in delays]
    label = f"samples of {task.dt:g} s"
    return _axis("delay of the inputs", label, 0.0, changed, "a delay of {:g} dt")


def standard_axes(task: Task) -> tuple[tuple[RobustnessAxis, ...], dict[str, str]]:
    """Every parameter of the true plant separately, all of them together, the disturbance, noise and delay.

    Args:
        task: of the runs.

    Returns:
        The axes that apply to the task, and the reasons why others do not, by their names.
    """
    names = list((task.truth or task.plant).parameters)
    makers = {name: partial(parameter_axis, task, [name]) for name in names}
    if len(names) > 1:
        makers["all parameters together"] = partial(parameter_axis, task, names)
    for name, make in (("disturbance", disturbance_axis), ("noise", noise_axis), ("delay", delay_axis)):
        makers[name] = partial(make, task)
    made, left_out = [], {}
    for name, maker in makers.items():
        try:
            made.append(maker())
        except TriviumError as reason:
            left_out[name] = str(reason)
    return tuple(made), left_out


def _axis(
    title: str,
    label: str,
    nominal: float,
    changed: Sequence[tuple[float, Perturbation]],
    words: str,
    note: str = "",
) -> RobustnessAxis:
    points = [*((value, p) for value, p in changed if value != nominal), (nominal, NOMINAL)]
    points.sort(key=lambda point: point[0])
    values, perturbations = zip(*points, strict=True)
    return RobustnessAxis(title, label, nominal, values, perturbations, words, note)
