"""Derivatives of a task's plant and costs: whether they exist, whether they are constant, and their sizes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import casadi as ca
import numpy as np

from systems.abstract_task import AbstractTask
from systems.forecast import known_states
from systems.nonsmooth import kinks
from systems.reading.reference import STILL, ReferencePath, values_at

__all__ = [
    "cost_kinks",
    "cost_size",
    "derivatives_are_missing",
    "ends_quadratically",
    "expansion",
    "gradient_vanishes",
    "is_affine",
    "linearisation_change",
    "not_differentiable",
    "singular",
    "stage_is_quadratic",
]

_SAMPLED = 64  # samples of a moving reference at which the linearisation is evaluated


def not_differentiable(f: ca.Function) -> str:
    """The part of a plant's equations f(x, u, w, p) that CasADi cannot differentiate, such as a callback without
    derivatives; empty if it can differentiate all of them."""
    x, u, w, p = f.sx_in()
    try:
        ca.jacobian(f(x, u, w, p), ca.vertcat(x, u, w))
    except RuntimeError as error:
        called = [m for m in re.findall(r"for '(\w+)' \[(\w+)\]", str(error)) if m[1] != "SXFunction"]
        return f"'{called[0][0]}' ({called[0][1]})" if called else "a function"
    return ""


def is_affine(task: AbstractTask) -> bool:
    """Whether the sampled plant is affine in state and input, given the signals that are known ahead."""
    f = task.dynamics.function()
    x, u, w, p = f.sx_in()
    slopes = ca.jacobian(f(x, u, ca.DM.zeros(w.shape), p), ca.vertcat(x, u))
    if task.plant.forecast is None:
        return not ca.symvar(slopes)
    z = _undetermined(task, x, u)
    return not ca.depends_on(ca.vec(ca.jacobian(f(x, u, ca.DM.zeros(w.shape), p), z)), z)


def _undetermined(task: AbstractTask, x: ca.SX, u: ca.SX) -> ca.SX:
    """The states and inputs that no forecast determines."""
    known = set(known_states(task.plant).tolist())
    return ca.vertcat(*(x[i] for i in range(x.shape[0]) if i not in known), u)


def singular(path: ReferencePath) -> tuple[str, ...]:
    """Names of the states whose next value is not finite, or not differentiable, at the start of the reference."""
    f = path.task.dynamics.function()
    x, u, w, p = f.sx_in()
    after = f(x, u, ca.DM.zeros(w.shape), p)
    slopes = ca.Function("slopes", [x, u], [ca.densify(after), ca.densify(ca.jacobian(after, ca.vertcat(x, u)))])
    value, slope = (np.array(part) for part in slopes(*path.start))
    wrong = ~(np.isfinite(value[:, 0]) & np.isfinite(slope).all(axis=1))
    return tuple(name for name, bad in zip(path.task.plant.state.names, wrong, strict=True) if bad)


def derivatives_are_missing(path: ReferencePath) -> bool:
    """Whether derivatives of plant or cost are not finite at the reference or at starts although the values are,
    like those of a square root at 0."""
    task = path.task
    f, stage = task.dynamics.function(), task.stage_cost
    x, u, w, p = f.sx_in()
    _, _, xr, ur = stage.sx_in()
    value = ca.vertcat(f(x, u, ca.DM.zeros(w.shape), p), stage(x, u, xr, ur))
    outputs = [ca.densify(value), ca.densify(ca.vec(ca.jacobian(value, ca.vertcat(x, u))))]
    x_ref, u_ref = path.start
    starts = task.initial.sample(task.plant.state, np.random.default_rng(0), (8,))
    points = np.vstack([x_ref, task.initial.mean(task.plant.state), starts])
    fixed = (np.broadcast_to(r, (len(points), len(r))) for r in (u_ref, x_ref, u_ref))
    values, slopes = values_at(ca.Function("slopes", [x, u, xr, ur], outputs), points, *fixed)
    return bool((np.isfinite(values).all(axis=1) & ~np.isfinite(slopes).all(axis=1)).any())


def linearisation_change(path: ReferencePath) -> float:
    """Largest change of the derivatives of the sampled plant along the reference, relative to those of one sample's
    step at its start, F(x, u) - x, in the Frobenius norm."""
    if path.task.reference.is_constant or is_affine(path.task):
        return 0.0
    f = path.task.dynamics.function()
    x, u, w, p = f.sx_in()
    slope = ca.densify(ca.vec(ca.jacobian(f(x, u, ca.DM.zeros(w.shape), p), ca.vertcat(x, u))))
    k = np.unique(np.linspace(0, path.task.steps, _SAMPLED).astype(int))
    states, inputs = (part[k] for part in path.window(0, path.task.steps + 1))
    (slopes,) = values_at(ca.Function("slope", [x, u], [slope]), states, inputs)
    still = np.eye(len(path.task.plant.state), len(path.task.plant.state) + len(path.task.plant.input))
    size = np.linalg.norm(slopes[0] - still.T.ravel())
    change = np.linalg.norm(slopes - slopes[0], axis=1).max()
    return float(change / size) if size > 0 else (np.inf if change > 0 else 0.0)


def expansion(task: AbstractTask, stage: ca.Function, parameters: Sequence[str] = ()) -> ca.Function:
    """``(x, u, xr, ur, multipliers) -> x+, A, B, gradient, Hessian``, the last two of l + multipliers'(x+ - x).

    Args:
        task: whose plant this is.
        stage: l(x, u, xr, ur).
        parameters: names of parameters of the plant, whose values are a further argument; default: none.
    """
    f = task.dynamics.function(parameters)
    x, u, w, p = f.sx_in()
    _, _, xr, ur = stage.sx_in()
    z, costate = ca.vertcat(x, u), ca.SX.sym("multipliers", x.shape[0])
    after = f(x, u, ca.DM.zeros(w.shape), p)
    second, gradient = ca.hessian(stage(x, u, xr, ur) + ca.dot(costate, after - x), z)
    parts = [after, ca.jacobian(after, x), ca.jacobian(after, u), gradient, second]
    arguments = [x, u, xr, ur, costate, *([p] if parameters else [])]
    return ca.Function("expansion", arguments, [ca.densify(part) for part in parts])


def cost_size(path: ReferencePath, units: np.ndarray | None = None) -> float:
    """The largest first or second derivative of the stage cost at the reference and at the mean start, at most 1.
    Solvers use absolute tolerances, so smaller costs are scaled up for them.

    Args:
        path: the reference.
        units: (n + m,), of states and inputs, by which the derivatives are multiplied; default: 1.
    """
    task = path.task
    stage = task.stage_cost
    x, u, xr, ur = stage.sx_in()
    second, first = ca.hessian(stage(x, u, xr, ur), ca.vertcat(x, u))
    slopes = ca.Function("slopes", [x, u, xr, ur], [ca.densify(ca.vertcat(first, ca.vec(second)))])
    x_ref, u_ref = path.start
    points = x_ref, task.initial.mean(task.plant.state)
    sizes = np.abs([np.array(slopes(point, u_ref, x_ref, u_ref))[:, 0] for point in points])
    if units is not None:
        sizes = sizes * np.concatenate([units, np.outer(units, units).ravel()])
    size = float(sizes[np.isfinite(sizes)].max(initial=0.0))
    return min(size, 1.0) if size > 0.0 else 1.0


def gradient_vanishes(path: ReferencePath, size: float) -> bool:
    """Whether the gradient of the stage cost is zero at the reference, at every sample of the run."""
    stage = path.task.stage_cost
    x, u, xr, ur = stage.sx_in()
    gradient = ca.gradient(stage(x, u, xr, ur), ca.vertcat(x, u))
    states, inputs = path.window(0, 1 if path.task.reference.is_constant else path.task.steps + 1)
    (slopes,) = values_at(ca.Function("gradient", [x, u, xr, ur], [gradient]), states, inputs, states, inputs)
    return bool((np.abs(slopes) <= STILL * size).all())


def stage_is_quadratic(task: AbstractTask) -> bool:
    """Whether the stage cost, kinks aside, is quadratic in state and input, given the signals that are known ahead."""
    stage = task.stage_cost
    x, u, xr, ur = stage.sx_in()
    z = _undetermined(task, x, u)
    return not ca.depends_on(ca.vec(ca.hessian(stage(x, u, xr, ur), z)[0]), z)


def ends_quadratically(task: AbstractTask) -> bool:
    """Whether the terminal cost is quadratic in the state."""
    x, xr = task.terminal_cost.sx_in()
    z = _undetermined(task, x, ca.SX(0, 1))
    second = ca.hessian(task.terminal_cost(x, xr), z)[0]
    return not kinks(task.terminal_cost) and not ca.depends_on(ca.vec(second), z)


def cost_kinks(task: AbstractTask) -> tuple[str, ...]:
    """Operations that make the stage or the terminal cost, or their derivatives, jump."""
    return tuple(sorted({*kinks(task.stage_cost), *kinks(task.terminal_cost)}))
