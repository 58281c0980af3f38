"""A run of a loop on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ctrl.realtime.log import Applied
from systems.style import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ctrl.realtime.data import LoopData

__all__ = ["figure"]

_ROWS = 6  # signals at most
_DASHED: dict[str, Any] = {"color": "0.2", "linestyle": (0, (4, 3)), "linewidth": 0.8}
_DRAWN = 20_000  # samples; of more, every second, third, ... is drawn


def figure(run: LoopData) -> Figure:
    """Draws states, inputs and response times over time, and how often each time is exceeded.

    Measured outputs are points beside the estimates of the states of their names. Where an input did not come from the
    controller in time, its sample is marked below the response times.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(STYLE):
        plant, m = run.task.plant, min(len(run.task.plant.input), 2)
        states = min(len(plant.state), _ROWS - m)
        rows = states + m + 1
        page = Figure(figsize=(7.0, 0.95 * rows + 2.6), layout="constrained")
        upper, lower = page.subfigures(2, 1, height_ratios=[0.95 * rows, 2.6])  # type: ignore[misc]
        axes = upper.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        every = max(1, -(-len(run.columns.k) // _DRAWN))
        time = 1e-9 * run.columns.times[:, 0]
        x_ref, u_ref = run.task.reference.at(plant, run.columns.k)
        for i in range(states):
            axes[i].plot(time[::every], run.columns.x[::every, i], color="C0", rasterized=True)
            if run.task.measurement is not None and plant.state[i].name in run.task.measurement.signals.names:
                measured = run.columns.y[::every, run.task.measurement.signals.where(plant.state[i].name)]
                axes[i].plot(time[::every], measured, ".", markersize=1.5, color="C3", rasterized=True)
            axes[i].plot(time[::every], x_ref[::every, i], **_DASHED)
            axes[i].set_ylabel(_label(plant.state[i]))
        for j in range(m):
            _input(axes[states + j], run, time, u_ref, j, every)
        _responses(axes[-1], run, time)
        _exceedance(lower.subplots(1, 1), run)
        page.suptitle(_title(run), fontsize=8, color="0.35")
    return page


def _label(signal: Any) -> str:
    return f"{signal.name.replace('_', ' ')}\n[{signal.unit}]"


def _title(run: LoopData) -> str:
    numbers = run.summary
    where = "in the loop's thread" if run.settings.in_process else "in a process of its own"
    total = numbers.samples + numbers.skipped
    return (
        f"{run.task.name} at {1.0 / run.task.dt:g} Hz, controller {where}: {numbers.missed} of {total} deadlines missed"
    )


def _input(axes: Axes, run: LoopData, time: np.ndarray, u_ref: np.ndarray, j: int, every: int) -> None:
    u = run.columns.u[:, j]
    axes.plot(time[::every], u[::every], color="C1", drawstyle="steps-post", rasterized=True)
    axes.plot(time[::every], u_ref[::every, j], **_DASHED)
    axes.set_ylabel(_label(run.task.plant.input[j]))
    low, high = (bound[j] for bound in run.task.input_bounds)
    span = max(float(np.ptp(u)) if len(u) else 0.0, 1e-9)
    for bound in (low, high):
        if np.isfinite(bound) and len(u) and u.min() - 0.3 * span <= bound <= u.max() + 0.3 * span:
            axes.axhline(bound, color="0.6", linewidth=0.6)


def _responses(axes: Axes, run: LoopData, time: np.ndarray) -> None:
    """Response times, with the budget and a mark for every sample whose input was not the controller's."""
    due, woke, _, _, written = run.columns.times.T
    axes.plot(time, 1e-6 * (written - due), ".", markersize=1.5, color="C2", rasterized=True, label="response")
    axes.plot(time, 1e-6 * (woke - due), ".", markersize=1.0, color="0.7", rasterized=True, label="latency")
    axes.axhline(1e3 * run.settings.budget * run.task.dt, **_DASHED)
    axes.set_yscale("log")
    axes.set_xlabel("time [s]")
    axes.set_ylabel("times\n[ms]")
    bottom = axes.get_ylim()[0]
    for i, (applied, colour) in enumerate(
        ((Applied.LATE, "C4"), (Applied.HELD, "C3"), (Applied.FALLBACK, "C1"), (Applied.SAFE, "black"))
    ):
        at = run.columns.codes[:, 1] == tuple(Applied).index(applied)
        if at.any():
            height = np.full(int(at.sum()), bottom * 0.5 ** (i + 1))
            axes.plot(time[at], height, "|", markersize=4, color=colour, label=str(applied))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), markerscale=3)


def _exceedance(axes: Axes, run: LoopData) -> None:
    """The share of samples that took longer, over the time; p99.9 is where a curve crosses 0.001."""
    due, woke, asked, answered, written = run.columns.times.T
    durations = {
        "latency": woke - due,
        "computation": run.columns.took[run.columns.took > 0],
        "step": (answered - asked)[answered > asked],
        "response": written - due,
    }
    for (name, values), colour in zip(durations.items(), ("0.6", "C4", "C0", "C2"), strict=True):
        if len(values):
            ordered = np.sort(values)
            share = 1.0 - np.arange(len(ordered)) / len(ordered)
            axes.plot(1e-6 * ordered, share, drawstyle="steps-post", color=colour, label=name)
    axes.axvline(1e3 * run.settings.budget * run.task.dt, **_DASHED)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("time [ms]; dashed: the controller's time budget")
    axes.set_ylabel("share of samples that take longer")
    if axes.lines[1:]:
        axes.legend(loc="lower left")
