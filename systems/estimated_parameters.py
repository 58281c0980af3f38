"""Parameters of a plant as states that change slowly, so that estimators estimate them along with the state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np

from systems.arguments import expect_number
from systems.constraints import Box
from systems.costs import Nonlinear
from systems.discretise import Discretisation
from systems.distributions import Distribution, Gaussian
from systems.errors import InvalidValue, TriviumError, UnknownName, expect, located, shown
from systems.inputs.augmented_plant import expect_free
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Signal, Signals, Vector
from systems.task import Task
from systems.uncertain_parameters import expect_varied

__all__ = ["ParameterPlant", "estimate_parameters"]

_DRIFT = 1e-3  # standard deviation per sample of a parameter's change, as a share of its interval
_SPREAD = 0.25  # standard deviation of a parameter at first, likewise: the interval holds two on both sides


@final
@dataclass(frozen=True)
class ParameterPlant(Plant):
    """(x, p)+ = (F(x, u, w; p), p + d): a sampled plant with some of its parameters p as further states.

    Args:
        sampling: the plant and its integrator.
        names: of the parameters.
    """

    sampling: Discretisation
    names: tuple[str, ...]

    @property
    def inner(self) -> Plant:
        """The plant itself."""
        return self.sampling.plant

    @property
    def dt(self) -> float:  # type: ignore[override]
        """Seconds between samples."""
        return self.sampling.dt

    @property
    def state(self) -> Signals:  # type: ignore[override]
        return Signals((*self.inner.state, *map(Signal, self.names)))

    @property
    def input(self) -> Signals:  # type: ignore[override]
        return self.inner.input

    @property
    def disturbance(self) -> Signals:  # type: ignore[override]
        return Signals((*self.inner.disturbance, *(Signal(f"{name}_change") for name in self.names)))

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        n, q = len(self.inner.state), len(self.inner.disturbance)
        state, p = x.column[:n], x.column[n:]
        after = self.sampling.function(self.names)(state, u.column, w.column[:q], p)
        return ca.vertcat(after, p + w.column[q:])

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return self.inner.limits()


def estimate_parameters(
    task: Task, intervals: Mapping[str, tuple[float, float]], drift: Mapping[str, float] | None = None
) -> Task:
    """The task of an estimator that estimates parameters of the plant along with its state.

    ``ExtendedKalmanFilter(estimate_parameters(task, {"mass": (0.1, 0.3)}))`` estimates the state of the task, followed
    by the mass. The task returned is made for estimators and charges nothing; a controller of the original task uses
    the estimates, such as :class:`mpc.ParameterAdaptiveMPC`.

    At first, a parameter has the value of the nominal plant, with a quarter of its interval as standard deviation. Then
    it changes by a random step at every sample. Gaussian estimators may leave the interval; a moving horizon estimator
    does not, since the intervals belong to the domain of the task returned.

    Args:
        task: with a measurement.
        intervals: lowest and highest value of each parameter, by name, around its nominal value.
        drift: standard deviation of a parameter's change per sample, by name; 0 for a constant; default: 0.1 % of the
            width of its interval.

    Raises:
        UnknownName: not a parameter of the plant, or a drift of a parameter that is not estimated.
        InvalidValue: no measurement, no parameter, an interval that does not contain the nominal value, a parameter on
            which the equations depend in another way than by arithmetic, a negative drift, or signals known ahead.
    """
    expect(task, Task, "the task of estimate_parameters", "with a measurement")
    plant, subject = task.plant, f"task '{task.name}': estimated parameters"
    if task.measurement is None:
        raise InvalidValue(f"{subject}: the task has no measurement; give it measurement=Measurement(...)")
    if plant.forecast is not None:
        raise InvalidValue(f"{subject}: it has signals that are known ahead, which estimators do not take")
    if not isinstance(intervals, Mapping) or not intervals:
        raise InvalidValue(
            f'{subject} = {shown(intervals)}; expected intervals by name, such as {{"mass": (0.1, 0.3)}}'
        )
    if drift is not None and not isinstance(drift, Mapping):
        raise InvalidValue(f'drift = {shown(drift)}; expected deviations by name, such as {{"mass": 1e-4}}')
    names, steps = tuple(intervals), dict(drift or {})
    with located(f"{subject}: intervals", TriviumError):
        bounds = {name: _interval(name, interval) for name, interval in intervals.items()}
        expect_varied(plant, bounds)
        expect_free(names, plant, "estimate_parameters")
    for name in steps:
        if name not in bounds:
            raise UnknownName.among(name, names, "estimated parameter of the drift")
    nominal = np.array([float(plant.parameters[name]) for name in names])
    widths = np.array([high - low for low, high in bounds.values()])
    drifts = [
        expect_number(steps.get(name, _DRIFT * width), f"drift of {name}", least=0.0)
        for name, width in zip(names, widths, strict=True)
    ]
    measurement, n = task.measurement, len(plant.state)
    outputs = measurement.function(plant)
    x_ref, u_ref = task.reading.start
    known = {} if task.domain is None else task.domain.bounds
    return Task(
        f"{task.name}-parameters",
        ParameterPlant(task.dynamics, names),
        task.dt,
        task.steps,
        Nonlinear(lambda x, u, xr, ur: ca.SX(0)),
        _joined(task.initial, plant.state, nominal, _SPREAD * widths),
        reference=SetPoint(np.concatenate([x_ref, nominal]), u_ref),
        disturbance=_joined(task.disturbance, plant.disturbance, np.zeros(len(names)), np.array(drifts)),
        domain=Box("domain", {**known, **bounds}),
        measurement=dataclasses.replace(
            measurement, expression=lambda x, u: ca.vertsplit(outputs(x.column[:n], u.column))
        ),
    )


def _interval(name: str, given: Any) -> tuple[float, float]:
    """Two numbers, the first below the second."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise InvalidValue(f"{name} in {shown(given)}; expected (lowest, highest)")
    low, high = (float(expect_number(value, f"{name}: interval")) for value in given)
    if not low < high:
        raise InvalidValue(f"{name} in {shown(given)}; expected the lowest value before the highest")
    return low, high


def _joined(distribution: Distribution, declared: Signals, mean: np.ndarray, deviations: np.ndarray) -> Gaussian:
    """The Gaussian distribution of the same mean and covariance, and independent entries after it."""
    n = len(declared)
    covariance = np.diag(np.concatenate([np.zeros(n), deviations**2]))
    covariance[:n, :n] = distribution.covariance(declared)
    return Gaussian(average=np.concatenate([distribution.mean(declared), mean]), covariance_matrix=covariance)
