"""Facts about the costs of a task: their size, whether they are quadratic, and their gradient along the reference."""

from __future__ import annotations

import casadi as ca
import numpy as np

from systems.abstract_task import AbstractTask
from systems.lowering import lower
from systems.nonsmooth import kinks
from systems.reading.reference import STILL, ReferencePath

__all__ = ["cost_kinks", "cost_size", "ends_quadratically", "gradient_vanishes", "stage_is_quadratic"]


def cost_size(path: ReferencePath, units: np.ndarray | None = None) -> float:
    """The largest first or second derivative of the stage cost at the reference and at the mean start, at most 1.
    Solvers work to absolute tolerances, so what is smaller is enlarged for them.

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
    slopes = lower(ca.Function("gradient", [x, u, xr, ur], [gradient]), "numpy")(states, inputs, states, inputs)
    return bool((np.abs(slopes) <= STILL * size).all())


def stage_is_quadratic(task: AbstractTask) -> bool:
    """Whether the stage cost, kinks aside, is quadratic in state and input."""
    stage = task.stage_cost
    x, u, xr, ur = stage.sx_in()
    z = ca.vertcat(x, u)
    return not ca.depends_on(ca.vec(ca.hessian(stage(x, u, xr, ur), z)[0]), z)


def ends_quadratically(task: AbstractTask) -> bool:
    """Whether the terminal cost is quadratic in the state."""
    x, xr = task.terminal_cost.sx_in()
    second = ca.hessian(task.terminal_cost(x, xr), x)[0]
    return not kinks(task.terminal_cost) and not ca.depends_on(ca.vec(second), x)


def cost_kinks(task: AbstractTask) -> tuple[str, ...]:
    """Operations that make the stage or the terminal cost, or their derivatives, jump."""
    return tuple(sorted({*kinks(task.stage_cost), *kinks(task.terminal_cost)}))
