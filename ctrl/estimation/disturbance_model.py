"""Integrating disturbances: a plant with constant unknown inputs and offsets of sensors as further states."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from ctrl.estimation.model import EstimationModel
from systems import Gaussian, InvalidValue, Nonlinear, Plant, SetPoint, Signal, Signals, Task, Vector
from systems.arguments import expect_number

__all__ = ["DisturbanceModel", "disturbance_model"]

SHARE = 0.01  # of the range of an input, or of ten times a sensor's noise: the drift per sample by default
SPREAD = 100.0  # standard deviation of the first disturbance, in drifts


@final
@dataclass(frozen=True, eq=False)
class DisturbanceModel:
    """x+ = F(x, u + B d, w), y = h(x, u) + C d, d+ = d + drift: the effect of a model mismatch in steady state.

    Args:
        task: the augmented one, from which an estimator is made; its states are those of the plant, and then d.
        names: of the inputs and measured signals that are disturbed.
        B: (m, len(names)), C: (p, len(names)), each column one unit vector or zero.
    """

    task: Task
    names: tuple[str, ...]
    B: np.ndarray
    C: np.ndarray


def disturbance_model(task: Task, drift: Mapping[str, float] | None = None) -> DisturbanceModel:
    """The integrating disturbance model of a task (Pannocchia & Rawlings, 2003), one disturbance for each signal of the
    measurement as far as they are observable: on the inputs first, then on the signals themselves.

    Args:
        task: with a measurement and a constant reference.
        drift: standard deviations per sample of the disturbances, by name of the input or the measured signal that each
            is added to; default: as above, 1 % of the range of an input, or a tenth of the noise of a signal.

    Raises:
        NotApplicable: no measurement, a reference that moves, disturbances that cannot be told apart from the
            measurements, or an input without a range, for which a drift must be given.
        InvalidValue: a drift that is not a positive number of an input or measured signal.
    """
    model, plant = EstimationModel(task), task.plant
    if not task.reference.is_constant:
        raise NotApplicable(f"task '{task.name}': offset-free control needs a constant reference")
    inputs, outputs = plant.input.names, model.signals.names
    x, u = task.reading.start
    expand, h = task.dynamics.function(), model.measurement.function(plant)
    dx, du = (ca.Function("d", expand.sx_in(), [ca.jacobian(expand(*expand.sx_in()), s)]) for s in expand.sx_in()[:2])
    cx = ca.Function("c", h.sx_in(), [ca.jacobian(h(*h.sx_in()), h.sx_in()[0])])
    A, G = (np.array(f(x, u, model.w, []).full()) for f in (dx, du))
    C = np.array(cx(x, u).full())
    n, m, p = len(x), len(inputs), len(outputs)
    columns = {name: np.concatenate([G[:, i], np.zeros(p)]) for i, name in enumerate(inputs)}
    for i, name in enumerate(outputs):
        columns.setdefault(name, np.concatenate([np.zeros(n), np.eye(p)[i]]))
    known = np.vstack([A - np.eye(n), C])
    asked = tuple(columns) if drift is None else tuple(drift)
    chosen: list[str] = []
    for name in asked:
        if name not in columns:
            raise InvalidValue(f"drift of '{name}'; expected inputs or measured signals: {', '.join(columns)}")
        wider = np.column_stack([known, columns[name]])
        if len(chosen) < p and np.linalg.matrix_rank(wider, tol=1e-9) == wider.shape[1]:
            known = wider
            chosen.append(name)
        elif drift is not None:
            raise NotApplicable(
                f"task '{task.name}': a constant disturbance of '{name}' cannot be told apart from the rest by what is "
                "measured; leave it out"
            )
    B, D = np.zeros((m, len(chosen))), np.zeros((p, len(chosen)))
    for i, name in enumerate(chosen):
        if name in inputs:
            B[inputs.index(name), i] = 1.0
        else:
            D[outputs.index(name), i] = 1.0
    drifts = np.array([_drift(task, name, drift) for name in chosen])
    augmented = _augmented(task, chosen, B, D, drifts)
    return DisturbanceModel(augmented, tuple(chosen), B, D)


def _drift(task: Task, name: str, given: Mapping[str, float] | None) -> float:
    """Standard deviation per sample of one disturbance."""
    if given is not None:
        return float(expect_number(given[name], f"drift of '{name}'", above=0.0))
    if name in task.plant.input.names:
        lower, upper = (bound[task.plant.input.where(name)] for bound in task.input_bounds)
        default = SHARE * (upper - lower)
    else:
        assert task.measurement is not None
        i = task.measurement.signals.where(name)
        default = 10 * SHARE * np.sqrt(task.measurement.covariance[i, i])
    if not (np.isfinite(default) and default > 0):
        raise NotApplicable(
            f"task '{task.name}': '{name}' has no range or no noise to take the drift of its disturbance from; give "
            f'it: drift={{"{name}": ...}}, a standard deviation per sample'
        )
    return float(default)


def _augmented(task: Task, names: list[str], B: np.ndarray, D: np.ndarray, drifts: np.ndarray) -> Task:
    """The task with the disturbances as states; it is made for estimators, and charges nothing."""
    plant, measurement, n, q = task.plant, task.measurement, len(task.plant.state), len(task.plant.disturbance)
    assert measurement is not None
    known = {signal.name: signal for signal in (*measurement.signals, *plant.input)}
    offsets = [Signal(f"{name}_offset", known[name].unit) for name in names]
    steps = [Signal(f"{name}_drift", known[name].unit) for name in names]
    advance, outputs = task.dynamics.function(), measurement.function(plant)

    def step(self: Plant, x: Vector, u: Vector, w: Vector) -> Any:
        after = advance(x.column[:n], u.column + ca.DM(B) @ x.column[n:], w.column[:q], ca.SX(0, 1))
        return ca.vertcat(after, x.column[n:] + w.column[q:])

    def measured(x: Vector, u: Vector) -> Any:
        return ca.vertsplit(outputs(x.column[:n], u.column) + ca.DM(D) @ x.column[n:])

    limits = dict(zip(plant.input.names, zip(*(bound.tolist() for bound in plant.bounds), strict=True), strict=True))
    namespace = {
        "state": Signals([*plant.state, *offsets]), "input": plant.input,
        "disturbance": Signals([*plant.disturbance, *steps]), "step": step, "limits": lambda self: limits,
    }  # fmt: skip
    made = dataclasses.make_dataclass(
        f"Offset{plant.name}", [("dt", float)], bases=(Plant,), namespace=namespace, frozen=True
    )
    x_ref, u_ref = task.reading.start
    zeros = np.zeros(len(names))
    return Task(
        f"{task.name}-offset",
        made(task.dt),
        task.dt,
        task.steps,
        Nonlinear(lambda x, u, xr, ur: ca.SX(0)),
        _joined(task.initial.mean(plant.state), task.initial.covariance(plant.state), SPREAD * drifts),
        reference=SetPoint(np.concatenate([x_ref, zeros]), u_ref),
        disturbance=_joined(
            task.disturbance.mean(plant.disturbance), task.disturbance.covariance(plant.disturbance), drifts
        ),
        measurement=dataclasses.replace(measurement, expression=measured),
    )


def _joined(mean: np.ndarray, covariance: np.ndarray, deviations: np.ndarray) -> Gaussian:
    """Mean and covariance, and independent entries of mean zero after them."""
    n, size = len(mean), len(mean) + len(deviations)
    joined = np.diag(np.concatenate([np.zeros(n), deviations**2]))
    joined[:n, :n] = covariance
    return Gaussian(average=np.concatenate([mean, np.zeros(size - n)]), covariance_matrix=joined)
