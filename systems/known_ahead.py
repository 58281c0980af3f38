"""Signals known ahead, such as prices and weather, as states of a task's plant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.arguments import expect_array
from systems.constraints import Constraint
from systems.costs import Cost
from systems.discretise import Discretisation
from systems.distributions import AffineMap, Distribution, Fixed
from systems.errors import DimensionMismatch, InvalidValue, expect, shown
from systems.forecast import Forecast
from systems.inputs.augmented_plant import SampledPlant, expect_free
from systems.inputs.augmented_task import augmented_task
from systems.references import Reference
from systems.signals import Signals, Vector
from systems.task import Task

__all__ = ["KnownSignals", "Series", "know_ahead"]

Series = Sequence[float] | np.ndarray | Callable[[float], float]
"""A signal over time: its values at the samples 0, 1, ..., of which the last is held, or a function of the seconds
since the start of a run."""


@dataclass(frozen=True)
class KnownSignals(SampledPlant):
    """A plant with signals given by a series: they are states that only the series changes.

    A disturbance of the inner plant with the name of such a signal has its value, held over each sample.

    Args:
        sampling: the inner plant at samples.
        series: of the signals.
    """

    sampling: Discretisation
    series: Forecast

    @property
    def forecast(self) -> Forecast:
        return self.series

    @property
    def moves(self) -> bool:
        return True

    @property
    def added(self) -> Signals:
        return self.series.states

    @property
    def disturbance(self) -> Signals:  # type: ignore[override]
        left = (s for s in self.inner.disturbance if s.name not in self.series.signals.names)
        return Signals((*left, *self.series.disturbances))

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        inner, known = self.split(x)
        declared, names, factor = self.inner.disturbance, self.series.signals.names, self.series.persistence
        acting = [known[name] if name in names else w[name] for name in declared.names]
        acting_on = Vector(declared, ca.vertcat(*acting) if acting else ca.SX(0, 1), "disturbance")
        current, ahead = [], []
        for name in names:
            current.append(factor * known[name] + w[f"{name}_next"])
            for i in range(1, self.series.preview + 1):
                ahead.append(factor**i * current[-1] + w[f"{name}_{i}_ahead_next"])
        return ca.vertcat(self.advance(inner, u.column, acting_on), *current, *ahead)

    def added_reference(self, reference: Reference, k: np.ndarray) -> np.ndarray:
        return self.series.at(k)


@dataclass(frozen=True, eq=False)
class JoinedDisturbance(Distribution):
    """The disturbances of a plant that are not known ahead, and the errors of what is.

    Args:
        inner: of the plant, over ``declared``, of which the signals ``kept`` are left.
        errors: over ``signals``; what drives previewed values has none of its own.
    """

    inner: Distribution
    declared: Signals
    kept: tuple[int, ...]
    errors: Distribution
    signals: Signals

    def affine(self, declared: Signals) -> AffineMap:
        from scipy.linalg import block_diag  # scipy is slow to import and only needed here

        inner, errors = self.inner.affine(self.declared), self.errors.affine(self.signals)
        at = list(self.kept)
        base = errors.base if errors.factor.any() else inner.base
        none = np.zeros(len(declared) - len(at) - len(self.signals))
        factor = block_diag(inner.factor[np.ix_(at, at)], errors.factor, np.diag(none))
        return AffineMap(base, np.concatenate([inner.offset[at], errors.offset, none]), factor)

    def support(self, declared: Signals) -> tuple[np.ndarray, np.ndarray]:
        inner, errors, at = self.inner.support(self.declared), self.errors.support(self.signals), list(self.kept)
        none = np.zeros(len(declared) - len(at) - len(self.signals))
        low, high = (np.concatenate([i[at], e, none]) for i, e in zip(inner, errors, strict=True))
        return low, high


def know_ahead(
    task: Task,
    declared: Signals,
    predicted: Mapping[str, Series],
    actual: Mapping[str, Series] | None = None,
    *,
    cost: Cost | None = None,
    constraints: Sequence[Constraint] = (),
    errors: Distribution = Fixed(),  # noqa: B008  # frozen
    persistence: float = 0.0,
    preview: int = 0,
) -> Task:
    """The task with signals that are known ahead: prices, weather, occupancy, moving bounds, weights or obstacles.

    Each signal becomes a state of the task: cost and constraints use it by name, and so does the plant if it has a
    disturbance of that name. Predictive controllers measure the current value and predict later ones from the forecast;
    the plant is simulated with the actual values.

    Args:
        task: the original task.
        declared: names and units of the signals.
        predicted: the forecast, by name of the signal: values at samples, as many as the run has and one more, and more
            where predictions shall see beyond its end; or a function of the time in seconds.
        actual: the true series, of all or some of the signals; default: the forecast.
        cost: charged in place of the task's; default: the task's.
        constraints: added to those of the task.
        errors: distribution of the error that is added to a signal at every sample, by name of the signal; it decays
            by ``persistence`` per sample, and no controller knows it in advance; default: none.
        persistence: the factor, from 0 to 1, by which a forecast error decays from one sample to the next, in
            predictions and, if errors are drawn, in the actual values; default: 0.
        preview: number of future values that are also states, so that learners observe them; default: 0.

    Raises:
        InvalidValue: a task that already has signals known ahead; a disturbance of the plant that is both given and
            drawn; errors of another kind of distribution than that of the task's disturbance.
        DimensionMismatch: a series that is too short.
        UnknownName: a series of a signal that is not declared.
    """
    expect(task, Task, "the task of know_ahead", "such as systems.library.cartpole()")
    expect(declared, Signals, "the signals of know_ahead", 'such as signals("price [EUR/kWh]")')
    expect(errors, Distribution, "errors", 'such as Gaussian({"price": 0.01})')
    plant = task.plant
    if plant.forecast is not None:
        raise InvalidValue(f"task '{task.name}' knows signals ahead already; declare all of them in one call")
    expect_free([name for name in declared.names if name not in plant.disturbance.names], plant, "know_ahead")
    values = _values(predicted, declared, task, "predicted", None)
    truth = None if actual is None else _values(actual, declared, task, "actual", values)
    series = Forecast(declared, values, None, persistence, preview)
    actual_series = series if truth is None else dataclasses.replace(series, actual=truth)
    known = KnownSignals(task.dynamics, series)
    expect_free([s.name for s in (*series.states, *series.disturbances) if s not in declared], plant, "know_ahead")
    true_inner = task.dynamics if task.truth is None else task.true_dynamics
    return augmented_task(
        task,
        lambda inner: KnownSignals(task.dynamics.replace(inner), series),
        actual_series.first(),
        constraints,
        None if cost is None else lambda _: cost,
        truth=None if task.truth is None and truth is None else KnownSignals(true_inner, actual_series),
        disturbance=_disturbance(task, known, errors),
    )


def _values(given: Any, declared: Signals, task: Task, what: str, default: np.ndarray | None) -> np.ndarray:
    """The series as (samples, signals), of one length; a shorter one is extended by its last value."""
    if not isinstance(given, Mapping):
        raise InvalidValue(f'{what} = {shown(given)}; expected a series by signal, such as {{"price": prices}}')
    for name in given:
        declared.where(name)
    count, columns = task.steps + 1, []
    for i, name in enumerate(declared.names):
        if name not in given:
            if default is None:
                raise InvalidValue(f"{what}: no series of {name}; give one, such as {{'{name}': values}}")
            columns.append(default[:, i])
            continue
        series = given[name]
        if callable(series):
            # As far as a prediction at the end of a run may look, as for references.
            series = [float(series(k * task.dt)) for k in range(2 * task.steps + 2)]
        column = expect_array(series, f"{what}: {name}", ("samples",))
        if len(column) < count:
            raise DimensionMismatch(
                f"{what}: {name} has {len(column)} values; the {task.steps} samples of task '{task.name}' and their "
                f"last state need {count}"
            )
        columns.append(column)
    longest = max(map(len, columns))
    return np.stack([np.append(c, np.full(longest - len(c), c[-1])) for c in columns], axis=1)


def _disturbance(task: Task, plant: KnownSignals, errors: Distribution) -> Distribution:
    declared, signals = task.plant.disturbance, plant.series.signals
    remaining = [i for i, s in enumerate(declared) if s.name not in signals.names]
    affine, of_errors = task.disturbance.affine(declared), errors.affine(signals)
    taken = [i for i in range(len(declared)) if i not in remaining]
    if affine.factor[taken].any() or affine.offset[taken].any():
        names = ", ".join(declared.names[i] for i in taken)
        raise InvalidValue(
            f"task '{task.name}' draws the disturbance {names}, of which a series is given; leave it out of the task's "
            "disturbance, and give errors"
        )
    if affine.factor.any() and of_errors.factor.any() and affine.base != of_errors.base:
        raise InvalidValue(
            f"task '{task.name}': its disturbance is {type(task.disturbance).__name__} and the errors are "
            f"{type(errors).__name__}; give distributions of one kind"
        )
    return JoinedDisturbance(task.disturbance, declared, tuple(remaining), errors, signals)
