"""Charts of cost against the time of a step, and of the distributions of times, costs and margins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ctrl.comparison.data import ComparisonData
from ctrl.report.charts import Axis, Chart, linear, logarithmic, thinned
from ctrl.report.elements import Element, element

__all__ = ["distributions", "margins", "trade_off"]

_POINTS = 200  # of a distribution


def trade_off(comparison: ComparisonData) -> Element | None:
    """Mean cost against the time of a step, with the Pareto front; None if nothing was timed or every cost is
    infinite.

    Args:
        comparison: its results.
    """
    points = {
        name: (1e3 * metrics.step_p50, 1e3 * metrics.step_p99, metrics.cost)
        for name, metrics in comparison.metrics.items()
        if np.isfinite([metrics.step_p50, metrics.cost.value]).all() and metrics.step_p50 > 0
    }
    if not points:
        return None
    ends = [np.nan_to_num([cost.low, cost.high], nan=cost.value) for _, _, cost in points.values()]
    bottom, top = min(float(end[0]) for end in ends), max(float(end[1]) for end in ends)
    means = [cost.value for _, _, cost in points.values()]
    times = [time for p50, p99, _ in points.values() for time in (p50, p99)] + [1e3 * comparison.task.dt]
    label = "mean cost, 95 %"
    y = (
        logarithmic(bottom, top, label)
        if bottom > 0 and max(means) > 5 * min(means)
        else linear(bottom, top, label, 0.1)
    )
    chart = Chart(logarithmic(min(times), max(times), "one step, median to 99th percentile [ms]"), y, 420.0, 260.0)
    front, least = [], np.inf
    for p50, _, cost in sorted(points.values(), key=lambda point: point[0]):
        if cost.value < least:
            least = cost.value
            front.append((p50, least))
    x, values = np.array([*front, (chart.x.high, least)]).T
    chart.line(x, values, "front", steps=True)
    for index, name in enumerate(comparison.metrics):
        if name in points:
            p50, p99, cost = points[name]
            chart.line(np.array([p50, p99]), np.array([cost.value] * 2), "middle", index)
            chart.line(np.array([p50, p50]), np.array([cost.low, cost.high]), "middle", index)
            chart.points(np.array([p50]), np.array([cost.value]), "dot", index)
            chart.label(p50, cost.value, name, index)
    chart.vertical(1e3 * comparison.task.dt, "dt")
    return element("figure", chart.finished("Mean cost against the time of a step", "trade-off"))


def distributions(comparison: ComparisonData) -> Iterator[tuple[str, Element]]:
    """The distributions of the time of a step and of the cost of a run, with their titles.

    Args:
        comparison: its results.
    """
    times = {name: 1e3 * runs.seconds[np.isfinite(runs.seconds)] for name, runs in comparison.runs.items()}
    drawn = _cumulated(times, "one step [ms]", "share of steps", "times", 1e3 * comparison.task.dt)
    if drawn is not None:
        yield "Time of a step", drawn
    costs = {name: runs.cost[np.isfinite(runs.cost)] for name, runs in comparison.runs.items()}
    drawn = _cumulated(costs, "cost of a run", "share of runs", "costs", None)
    if drawn is not None:
        yield "Cost of a run", drawn


def margins(comparison: ComparisonData) -> Iterator[tuple[str, Element]]:
    """For every constraint, the distribution over runs of the worst margin of a run.

    Args:
        comparison: its results.
    """
    for i, constraint in enumerate(comparison.task.constraints):
        worst = {name: runs.margins[..., i].max(axis=1) for name, runs in comparison.runs.items()}
        finite = {name: values[np.isfinite(values)] for name, values in worst.items()}
        every = np.concatenate([*finite.values(), np.zeros(1)])
        # A single diverged run must not compress the scale for all others.
        low, high = float(every.min()), float(np.quantile(every, 0.99)) if len(every) > 100 else float(every.max())
        x = linear(low, max(high, 0.15 * abs(low)), "largest margin of a run; violated above 0")
        chart = Chart(x, Axis(0.0, 1.02, "share of runs"), 420.0, 220.0)
        for index, (name, values) in enumerate(finite.items()):
            _curve(chart, values, index, len(worst[name]))
        chart.vertical(0.0, "0")
        title = f"Distribution of the largest margin of '{constraint.name}' in a run"
        yield constraint.name, element("figure", chart.finished(title, f"margins-{i}"))


def _cumulated(
    values: Mapping[str, np.ndarray], x_label: str, y_label: str, identifier: str, deadline: float | None
) -> Element | None:
    every = np.concatenate(list(values.values()))
    if not len(every):
        return None
    ends = [float(every.min()), float(every.max()), *([] if deadline is None else [deadline])]
    x = logarithmic(min(ends), max(ends), x_label) if min(ends) > 0 else linear(min(ends), max(ends), x_label)
    chart = Chart(x, Axis(0.0, 1.02, y_label), 420.0, 220.0)
    for index, entries in enumerate(values.values()):
        _curve(chart, entries, index, len(entries))
    if deadline is not None:
        chart.vertical(deadline, "dt")
    return element("figure", chart.finished(f"Distribution: {x_label}", identifier))


def _curve(chart: Chart, values: np.ndarray, index: int, count: int) -> None:
    """The share of ``count`` entries up to each value; those that are not finite count as larger than all."""
    if not len(values):
        return
    ordered = np.sort(values)
    rank = thinned(len(ordered), _POINTS)
    x = np.concatenate([ordered[:1], ordered[rank], [chart.x.high]])
    share = np.concatenate([[0.0], (rank + 1) / count, [len(ordered) / count]])
    chart.line(x, share, "curve", index, steps=True)
