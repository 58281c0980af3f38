"""Rocket landings as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from systems.errors import InvalidValue
from systems.library.rocket import CLEARANCE, Rocket
from systems.lowering import lower
from systems.runs import RecordedRuns
from systems.style import STYLE
from systems.task import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["landings"]

ARRIVED, FAILED, SHADE = "#0072B2", "#D55E00", "0.9"
EVERY = 26.0  # m, from one drawn rocket to the next


def landings(task: Task, runs: RecordedRuns, run: int = 0) -> Figure:
    """All paths over the pad with one run's rocket drawn along its own, and beside it speed over height.

    Blue runs end within the task's tolerance, the others are vermilion and end in a cross. Grey is where a constraint
    of the task is violated, the states not shown being those of the reference.

    Raises:
        InvalidValue: the task is not one of a rocket, or there is no such run.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    plant = task.plant
    if not isinstance(plant, Rocket):
        raise InvalidValue(f"task '{task.name}' of {plant.name} cannot be drawn as landings; expected one of Rocket")
    if not -len(runs.states) <= run < len(runs.states):
        raise InvalidValue(f"run {run} of {len(runs.states)} runs; the first is 0")
    arrived = task.arrived(runs.states[:, -1], task.steps)
    with matplotlib.style.context(STYLE):
        page = Figure(figsize=(7.2, 4.6), layout="constrained")
        path, descent = page.subplots(1, 2, width_ratios=[1.15, 1.0])
        for axes, (across, up), sign in ((path, ("x", "z"), 1.0), (descent, ("z_rate", "z"), -1.0)):
            i, j = plant.state.where(across), plant.state.where(up)
            for one, good in zip(runs.states, arrived, strict=True):
                colour = ARRIVED if good else FAILED
                axes.plot(sign * one[:, i], one[:, j], color=colour, linewidth=0.5, alpha=0.45, zorder=2)
                if not good:
                    axes.plot(sign * one[-1, i], one[-1, j], "x", color=colour, markersize=4, zorder=3)
            axes.set_ylim(-6.0, 1.12 * runs.states[..., j].max())
            axes.margins(x=0.1)
        path.set(aspect="equal", xlabel=str(plant.state[0]), ylabel=str(plant.state[1]))
        descent.set(xlabel="descent [m/s]")
        page.suptitle(f"{task.name}: {arrived.sum()} of {len(runs.states)} runs arrive", fontsize=8, color="0.35")
        descent.axvline(0.0, color="0.4", linewidth=0.5, zorder=1)
        _unsafe(path, task, ("x", "z"), 1.0)
        _unsafe(descent, task, ("z_rate", "z"), -1.0)
        path.axhline(-CLEARANCE, color="0.2", linewidth=1.2)
        path.plot(runs.states[run, :, 0], runs.states[run, :, 1], color="0.1", linewidth=0.9, zorder=4)
        shown = runs.states[run, 0, :2] + np.inf
        for x, u in zip(runs.states[run], runs.inputs[run], strict=False):
            if not np.linalg.norm(x[:2] - shown) < EVERY:
                _rocket(path, plant, x, u)
                shown = x[:2]
    return page


def _unsafe(axes: Axes, task: Task, plane: tuple[str, str], sign: float) -> None:
    """Shades where the largest margin over a plane of two states is positive."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    first, second = np.meshgrid(np.linspace(left, right, 300), np.linspace(bottom, top, 300))
    goal, u_ref = task.reference.at(task.plant, 0)
    x = np.tile(goal, (*first.shape, 1))
    x[..., task.plant.state.where(plane[0])] = sign * first
    x[..., task.plant.state.where(plane[1])] = np.maximum(second, -CLEARANCE)
    worst = lower(task.margin_function(), to="numpy")(x, u_ref).max(axis=-1)
    axes.contourf(first, second, worst, levels=[0.0, np.inf], colors=[SHADE], zorder=0)
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _rocket(axes: Axes, plant: Rocket, x: np.ndarray, u: np.ndarray) -> None:
    """The stage and its flame, as long as the thrust is strong; drawn at half its size."""
    from matplotlib.patches import Polygon
    from matplotlib.transforms import Affine2D

    half = 0.5 * plant.half_length
    body = [(-0.9, -half), (-0.9, 0.8 * half), (0.0, half), (0.9, 0.8 * half), (0.9, -half)]
    length = 0.8 * half * u[0] / plant.weight
    flame = [(-0.6, 0.0), (0.6, 0.0), (0.0, -length)]
    stand = Affine2D().rotate(x[2]).translate(x[0], x[1] + half)
    nozzle = Affine2D().rotate(u[1]).translate(0.0, -half)
    style: dict[str, Any] = {"linewidth": 0.4, "zorder": 5}
    axes.add_patch(Polygon(flame, facecolor="#E69F00", edgecolor="none", transform=nozzle + stand + axes.transData))
    axes.add_patch(Polygon(body, facecolor="white", edgecolor="0.15", transform=stand + axes.transData, **style))
