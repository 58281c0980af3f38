"""Charts of all runs: signals over time, and the plane of two states."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ctrl.comparison.data import ComparisonData
from ctrl.comparison.figure import held_inputs, phase_plane, shown_signals, signal_limits, signal_range
from ctrl.comparison.metrics import settling_times
from ctrl.report.charts import Axis, Chart, linear, thinned
from ctrl.report.elements import Element, element
from ctrl.trajectories import Trajectories

__all__ = ["RUNS", "phase_portraits", "traces"]

RUNS = 16
"""Runs that a chart shows one by one; the band covers all of them."""

_SAMPLES = 100  # of a line
_PLANE = 40  # runs in a phase portrait


def traces(comparison: ComparisonData) -> Iterator[tuple[str, list[Element]]]:
    """All signals shown, each with one chart per controller on the same scale.

    Args:
        comparison: its results.
    """
    task = comparison.task
    for number, (kind, i) in enumerate(shown_signals(task)):
        declared = (task.plant.state if kind == "x" else task.plant.input)[i]
        low, high = signal_limits(task, (kind, i))
        values = {name: _values(runs, kind, i) for name, runs in comparison.runs.items()}
        bottom = min(float(np.nanmin(entry)) for entry in values.values())
        top = max(float(np.nanmax(entry)) for entry in values.values())
        bottom, top = signal_range(bottom, top, low, high)
        y = Axis(bottom, top, f"{_words(declared.name)} [{declared.unit}]")
        x = Axis(0.0, task.dt * task.steps, "time [s]")
        charts = []
        for index, (name, runs) in enumerate(comparison.runs.items()):
            chart = Chart(x, y)
            if low > bottom:
                chart.shade(bottom, low)
            if high < top:
                chart.shade(high, top)
            _draw(chart, comparison, runs, values[name], (kind, i), index)
            title = f"{_words(declared.name)} over time under {name}"
            drawing = chart.finished(title, f"trace-{number}-{index}")
            heading = element("strong", name, attributes={"class": f"c{index % 7}"})
            charts.append(element("figure", heading, drawing))
        yield f"{_words(declared.name)} [{declared.unit}]", charts


def phase_portraits(comparison: ComparisonData) -> tuple[str, list[Element]] | None:
    """A chart for each controller in the plane of two states, and a description of the axes; None for a single state.

    Args:
        comparison: its results.
    """
    task = comparison.task
    plane = phase_plane(task)
    if plane is None:
        return None
    first, second = (task.plant.state[i] for i in plane)
    axes = []
    for i, signal in zip(plane, (first, second), strict=True):
        values = [runs.states[..., i] for runs in comparison.runs.values()]
        low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
        # A proved region enlarges the axes only as long as the runs remain visible.
        ends = [line[:, i] for region in comparison.regions.values() for line in region] if i < 2 else []
        room = 0.5 * (high - low)
        low = max(low - room, min([low, *(float(end.min()) for end in ends)]))
        high = min(high + room, max([high, *(float(end.max()) for end in ends)]))
        axes.append(linear(low, high, f"{_words(signal.name)} [{signal.unit}]"))
    charts = []
    for index, (name, runs) in enumerate(comparison.runs.items()):
        chart = Chart(axes[0], axes[1])
        low, high = signal_limits(task, ("x", plane[1]))
        if low > axes[1].low:
            chart.shade(axes[1].low, low)
        if high < axes[1].high:
            chart.shade(high, axes[1].high)
        samples = thinned(runs.states.shape[1], _SAMPLES)
        for run in thinned(len(runs), _PLANE):
            chart.line(runs.states[run, samples, plane[0]], runs.states[run, samples, plane[1]], "run", index)
        region = comparison.regions.get(name)
        if region is not None and len(task.plant.state) == 2:
            for outline in region:
                chart.line(outline[:, plane[0]], outline[:, plane[1]], "region")
        settled = np.isfinite(settling_times(task, runs))
        start = runs.states[:, 0]
        chart.points(start[settled, plane[0]], start[settled, plane[1]], "dot", index)
        chart.points(start[~settled, plane[0]], start[~settled, plane[1]], "cross")
        count = f"{int(settled.sum())} of {len(runs)} arrive"
        drawing = chart.finished(f"{first.name} and {second.name} under {name}: {count}", f"plane-{index}")
        heading = element("strong", name, attributes={"class": f"c{index % 7}"})
        charts.append(element("figure", heading, drawing, element("figcaption", count)))
    return f"{_words(first.name)} and {_words(second.name)}", charts


def _values(runs: Trajectories, kind: str, i: int) -> np.ndarray:
    """One signal of all runs (b, samples), NaN from the sample at which a run has stopped."""
    values = (runs.states if kind == "x" else held_inputs(runs))[..., i]
    samples = np.arange(values.shape[1])
    last = runs.left[:, None] if kind == "x" else runs.left[:, None] - 1
    return np.where((samples > last) & ~runs.stayed[:, None] & (samples > 0), np.nan, values)


def _draw(
    chart: Chart,
    comparison: ComparisonData,
    runs: Trajectories,
    values: np.ndarray,
    signal: tuple[str, int],
    index: int,
) -> None:
    task, (kind, i) = comparison.task, signal
    samples = thinned(values.shape[1], _SAMPLES)
    time = task.dt * samples
    # The band also covers the samples between those drawn.
    groups = np.array_split(values, samples[1:], axis=1) if len(samples) > 1 else [values]
    some = [group for group in groups if group.shape[1]]
    with np.errstate(all="ignore"):
        low = np.array([np.nanmin(part, initial=np.inf) for part in some])
        high = np.array([np.nanmax(part, initial=-np.inf) for part in some])
    goes_on = low <= high  # some run does
    chart.band(time[goes_on], low[goes_on], high[goes_on], index)
    steps = kind == "u"
    for run in thinned(len(runs), RUNS):
        chart.line(time, values[run, samples], "run", index, steps)
    going = np.isfinite(values[:, samples])
    shown = going.sum(axis=0) * 2 >= len(runs)  # fewer than half of the runs have no median
    middle = np.array(
        [np.median(values[ok, k]) if ok.any() else np.nan for k, ok in zip(samples, going.T, strict=True)]
    )
    chart.line(time, np.where(shown, middle, np.nan), "middle", index, steps)
    x_ref, u_ref = task.reference.at(task.plant, samples)
    chart.line(time, (x_ref if kind == "x" else u_ref)[:, i], "reference")
    if kind == "x":
        gone = np.flatnonzero(~runs.stayed)
        chart.points(task.dt * runs.left[gone], values[gone, runs.left[gone]], "cross")


def _words(name: str) -> str:
    return name.replace("_", " ")
