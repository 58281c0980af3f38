"""The comparison on one page: traces and phase portraits side by side, then cost and solve time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np

from ctrl.comparison.data import ComparisonData
from ctrl.comparison.metrics import settling_times
from ctrl.comparison.problem import problem
from ctrl.trajectories import Trajectories
from systems import Box, Task
from systems.style import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


__all__ = ["STYLE", "figure", "held_inputs", "phase_plane", "shown_signals", "signal_limits", "signal_range"]

NEAR = 0.6  # of the range of a signal: limits further away are not shown
ROWS = 6  # signals shown at most, so that the page stays a page
THIN: dict[str, Any] = {"linewidth": 0.4, "alpha": 0.25, "rasterized": True}
UNSAFE: dict[str, Any] = {"facecolor": "0.88", "edgecolor": "0.5", "linewidth": 0.6}
FAILED: dict[str, Any] = {"color": "black", "markersize": 3.0, "markeredgewidth": 0.6}
DASHED: dict[str, Any] = {"color": "0.2", "linestyle": (0, (4, 3)), "linewidth": 0.8}


def figure(comparison: ComparisonData) -> Figure:
    """Draws all of it; one column and one colour per controller.

    Rows: states and inputs over time (every run thin up to where it left the domain, median thick, reference dashed,
    the unsafe side of box constraints and actuator limits shaded), the phase plane (dots: starts that settle; crosses:
    those that do not). Below: cost against solve time, the distribution of cost, that of solve time with the deadline.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(STYLE):
        colours = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
        colour = {name: colours[i % len(colours)] for i, name in enumerate(comparison.runs)}
        task, names = comparison.task, list(comparison.runs)
        shown, plane = shown_signals(task), phase_plane(task)
        rows = len(shown) + (plane is not None)
        width = max(7.0, 1.9 * len(names) + 0.8)
        page = Figure(figsize=(width, 1.05 * len(shown) + 1.7 * (plane is not None) + 2.3), layout="constrained")
        upper, lower = page.subfigures(  # type: ignore[misc]  # two rows make an array of two
            2, 1, height_ratios=[1.05 * len(shown) + 1.7 * (plane is not None), 2.3]
        )
        heights = [1.0] * len(shown) + [1.6] * (plane is not None)
        grid = upper.subplots(rows, len(names), squeeze=False, sharey="row", height_ratios=heights)
        for column, name in zip(grid.T, names, strict=True):
            runs = comparison.runs[name]
            column[0].set_title(name, color=colour[name])
            for axes, signal in zip(column, shown, strict=False):
                _trace(axes, task, runs, signal, colour[name])
                axes.label_outer()
                axes.sharex(column[0])
                axes.tick_params(labelbottom=signal == shown[-1])
            column[len(shown) - 1].set_xlabel("time [s]")
            if plane is not None:
                column[-1].sharex(grid[-1, 0])
                _phase(column[-1], task, runs, plane, colour[name])
        for row, signal in zip(grid, shown, strict=False):
            _scale(row, task, comparison, signal)
            row[0].set_ylabel(_label(task, signal))
        if plane is not None:
            grid[-1, 0].set_ylabel(str(task.plant.state[plane[1]]))
        _summary(lower.subplots(1, 3), comparison, colour)
        page.suptitle(problem(comparison), fontsize=7, color="0.35")
    return page


def shown_signals(task: Task) -> list[tuple[str, int]]:
    """The signals that get a row: all, or first the states that occur in a constraint or in the target."""
    n, m = len(task.plant.state), len(task.plant.input)
    inputs = [("u", j) for j in range(min(m, 2))]
    spoken = {name for c in task.constraints if isinstance(c, Box) for name in c.bounds}
    order = sorted(range(n), key=lambda i: (task.plant.state[i].name not in spoken) + np.isinf(task.arrival[i]))
    return [("x", i) for i in sorted(order[: ROWS - len(inputs)])] + inputs


def _label(task: Task, signal: tuple[str, int]) -> str:
    declared = (task.plant.state if signal[0] == "x" else task.plant.input)[signal[1]]
    return f"{declared.name.replace('_', ' ')}\n[{declared.unit}]"


def _trace(axes: Axes, task: Task, runs: Trajectories, signal: tuple[str, int], colour: str) -> None:
    """One signal of all runs over time."""
    kind, i = signal
    x_ref, u_ref = task.reference.at(task.plant, np.arange(runs.states.shape[1]))
    values, reference = (
        (runs.states if kind == "x" else held_inputs(runs))[..., i],
        (x_ref if kind == "x" else u_ref)[:, i],
    )
    time = task.dt * np.arange(values.shape[1])
    style: dict[str, Any] = {} if kind == "x" else {"drawstyle": "steps-post"}
    held = (np.arange(len(time)) > runs.left[:, None]) & ~runs.stayed[:, None]
    axes.plot(time, np.where(held, np.nan, values).T, color=colour, **THIN, **style)
    if kind == "x":
        gone = np.flatnonzero(~runs.stayed)
        axes.plot(time[runs.left[gone]], values[gone, runs.left[gone]], "x", **FAILED)
    axes.plot(time, np.median(values, axis=0), color=_darker(colour), linewidth=1.6, **style)
    axes.plot(time, np.broadcast_to(reference, time.shape), **DASHED)
    axes.set_xlim(0, task.dt * runs.inputs.shape[1])


def _scale(row: Sequence[Axes], task: Task, comparison: ComparisonData, signal: tuple[str, int]) -> None:
    """One vertical scale for all controllers, with the unsafe side of the limits that the runs come near."""
    kind, i = signal
    values = [(runs.states if kind == "x" else runs.inputs)[..., i] for runs in comparison.runs.values()]
    low, high = signal_limits(task, signal)
    bottom, top = signal_range(min(float(v.min()) for v in values), max(float(v.max()) for v in values), low, high)
    far = 100 * (top - bottom)
    for axes in row:
        if high < top:
            axes.axhspan(high, high + far, **UNSAFE)
        if low > bottom:
            axes.axhspan(low - far, low, **UNSAFE)
    row[0].set_ylim(bottom, top)


def held_inputs(runs: Trajectories) -> np.ndarray:
    """Inputs (b, steps + 1, m) at the times of the states: the last is held until the end of its sample.

    Args:
        runs: of one controller.
    """
    return np.concatenate([runs.inputs, runs.inputs[:, -1:]], axis=1)


def signal_range(bottom: float, top: float, low: float, high: float) -> tuple[float, float]:
    """The range of a signal's chart: its values and nearby limits; a limit far away must not compress the values.

    Args:
        bottom, top: ends of the values.
        low, high: limits of the signal, infinite where there is none.
    """
    span, near = top - bottom, NEAR
    if not span > 1e-9 * max(abs(bottom), abs(top), 1e-300):  # values that stay the same have no scale of their own
        span, near = (high - low, np.inf) if 0 < high - low < np.inf else (abs(top) or 1.0, NEAR)
    if np.isfinite(low) and low >= bottom - near * span:
        bottom = min(bottom, low - 0.08 * span)
    if np.isfinite(high) and high <= top + near * span:
        top = max(top, high + 0.08 * span)
    return bottom - 0.03 * span, top + 0.03 * span


def _darker(colour: str) -> Any:
    from matplotlib.colors import to_rgb

    return tuple(0.55 * part for part in to_rgb(colour))


def signal_limits(task: Task, signal: tuple[str, int]) -> tuple[float, float]:
    """Tightest box around one signal, of all constraints and the actuator."""
    kind, i = signal
    declared = task.plant.state if kind == "x" else task.plant.input
    boxes = [constraint.interval(declared) for constraint in task.constraints if isinstance(constraint, Box)]
    boxes += [task.plant.bounds] if kind == "u" else []
    return (
        float(max((low[i] for low, _ in boxes), default=-np.inf)),
        float(min((high[i] for _, high in boxes), default=np.inf)),
    )


def phase_plane(task: Task) -> tuple[int, int] | None:
    """Two states to look at: a coordinate and its own speed, the costliest such pair, else the first two."""
    plant, n = task.plant, len(task.plant.state)
    if n < 2:
        return None
    pairs = []
    if not plant.is_discrete:
        f = plant.casadi()
        x, u, w, p = f.sx_in()
        rate = f(x, u, w, p)
        pairs = [(i, j) for i in range(n) for j in range(n) if ca.is_equal(rate[i], x[j], 2)]
    if not pairs:
        return 0, 1
    stage = task.stage_cost
    x, u, xr, ur = stage.sx_in()
    hessian, _ = ca.hessian(stage(x, u, xr, ur), x)
    weight = np.diag(np.array(ca.Function("weight", [x, u, xr, ur], [hessian])(0, 0, 0, 0)))
    return max(pairs, key=lambda pair: np.nan_to_num(weight[pair[0]]))


def _phase(axes: Axes, task: Task, runs: Trajectories, plane: tuple[int, int], colour: str) -> None:
    """All runs in two of the states, with what became of their starts."""
    i, j = plane
    axes.plot(runs.states[..., i].T, runs.states[..., j].T, color=colour, **THIN)
    settled = np.isfinite(settling_times(task, runs))
    start = runs.states[:, 0]
    axes.plot(start[settled, i], start[settled, j], ".", color=colour, markersize=3, markeredgewidth=0)
    axes.plot(start[~settled, i], start[~settled, j], "x", **FAILED)
    target, _ = task.reference.at(task.plant, np.arange(task.steps if not task.reference.is_constant else 1))
    axes.plot(target[:, i], target[:, j], "+k--" if len(target) == 1 else "k--", linewidth=0.7, markersize=6)
    axes.set_xlabel(str(task.plant.state[i]))


def _summary(panels: Any, comparison: ComparisonData, colour: dict[str, str]) -> None:
    """Cost against solve time, and how cost and solve time are distributed."""
    trade, costs, times = panels
    points: dict[float, float] = {}
    for name, metrics in comparison.metrics.items():
        runs, c, estimate = comparison.runs[name], colour[name], metrics.cost
        taken = 1e3 * np.sort(runs.seconds[np.isfinite(runs.seconds)])
        p50, p99 = 1e3 * metrics.step_p50, 1e3 * metrics.step_p99
        if np.isfinite([estimate.value, p50]).all():
            error = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
            bars = error if np.isfinite(error).all() else None
            trade.errorbar(p50, estimate.value, bars, [[0.0], [p99 - p50]], "o", color=c, markersize=4, linewidth=1)
            points[p50] = min(estimate.value, points.get(p50, np.inf))
        cost = np.sort(runs.cost[np.isfinite(runs.cost)])
        costs.step(cost, np.arange(1, len(cost) + 1) / len(runs), where="post", color=c, label=name)
        times.step(taken, np.arange(1, len(taken) + 1) / len(taken), where="post", color=c, label=name)
    front = sorted(points.items())
    front = [(t, c) for k, (t, c) in enumerate(front) if c <= min((b for _, b in front[:k]), default=np.inf)]
    trade.step(*np.reshape(front, (-1, 2)).T, where="post", color="0.6", linewidth=0.7, zorder=0)
    deadline = 1e3 * comparison.task.dt
    for axes in (trade, times):
        axes.set_xscale("log")
        axes.axvline(deadline, **DASHED)
        axes.text(deadline, 1.02, "dt", transform=axes.get_xaxis_transform(), ha="center", color="0.2")
    trade.set(xlabel="one step, p50 to p99 [ms]", ylabel="mean cost, 95 %")
    costs.set(xlabel="cost of a run", ylabel="share of runs", ylim=(0, 1.02))
    times.set(xlabel="one step [ms]", ylabel="share of steps", ylim=(0, 1.02))
    every = np.concatenate([runs.cost for runs in comparison.runs.values()])
    means = [metrics.cost.value for metrics in comparison.metrics.values()]
    if (every > 0).all():
        costs.set_xscale("log")
        trade.set_yscale("log" if max(means) > 5 * min(means) else "linear")
    costs.legend(loc="best")
