"""Curves of cost and violations over the difference between the loop that runs and the task that controllers know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ctrl.report.charts import Axis, Chart, linear, logarithmic
from ctrl.report.elements import Element, element
from ctrl.report.numbers import joined, number
from ctrl.report.tables import table
from ctrl.robustness import Curve, Robustness, RobustnessAxis

__all__ = ["robustness_charts", "robustness_sentences", "robustness_table"]


def robustness_charts(result: Robustness, order: Sequence[str]) -> Iterator[tuple[str, str, list[Element]]]:
    """For each axis its title, a note, and two charts: of the cost, and of the share of runs with a violation, or, if
    there is never a violation, of the share of runs that arrive.

    Args:
        result: of all cells.
        order: of the controllers on the page, which determines their colours.
    """
    curves = {(name, axis.title): result.curve(name, axis) for axis in result.axes for name in result.controllers}
    is_broken = any(rate.k for curve in curves.values() for rate in curve.broken)
    label = "share with a violation" if is_broken else "share that arrives and stays"
    for number_of, axis in enumerate(result.axes):
        own = {name: curves[name, axis.title] for name in result.controllers}
        costs = [end for c in own.values() for e in c.cost for end in (e.low, e.value, e.high) if np.isfinite(end)]
        charts = []
        if costs:
            chart = Chart(_values(axis), _cost_axis(costs))
            _draw(chart, own, order, lambda curve: [(e.value, e.low, e.high) for e in curve.cost], axis.nominal)
            charts.append(_figure(chart, f"Mean cost over the {axis.label}", f"robust-cost-{number_of}"))
        chart = Chart(_values(axis), Axis(-0.02, 1.02, label))
        _draw(
            chart, own, order,
            lambda curve: [(r.value, *r.interval) for r in (curve.broken if is_broken else curve.settled)],
            axis.nominal,
        )  # fmt: skip
        charts.append(_figure(chart, f"{label.capitalize()} over the {axis.label}", f"robust-share-{number_of}"))
        yield axis.title, axis.note, charts


def robustness_table(result: Robustness) -> Element:
    """For each axis and controller, the range of values without additional violations, and the cost at its ends.

    Args:
        result: of all cells.
    """
    rows = []
    for axis in result.axes:
        cells = [f"{axis.title}, {axis.values[0]:g} to {axis.values[-1]:g}"]
        for name in result.controllers:
            curve = result.curve(name, axis)
            cost = f"; cost \u00d7 {number(curve.worst)} at worst" if np.isfinite(curve.worst) else ""
            cells.append(f"{curve.range}{cost}")
        rows.append(cells)
    caption = (
        "Range of values around the nominal one without additional runs that violate a constraint, leave the domain or "
        "diverge, and the largest mean cost of all values divided by the nominal one. A range refers to "
        "the runs of this test and is not a guarantee."
    )
    return table(caption, ["what is varied", *result.controllers], rows)


def robustness_sentences(result: Robustness) -> list[str]:
    """Sentences that summarise the curves, for the top of the page.

    Args:
        result: of all cells.
    """
    sentences = []
    for name in result.controllers:
        worse = [axis.words.format(v) for axis in result.axes for v in result.curve(name, axis).worse]
        sentences.append(
            f"{name}: more runs violate a constraint, leave the domain or diverge at {joined(worse)}."
            if worse
            else f"{name}: no variation makes more runs violate a constraint, leave the domain or diverge."
        )
    sentences.append(
        f"The values given are the first on each side of the nominal one, of those tried with {result.starts} runs "
        "each; the controllers were designed for the nominal task."
    )
    return sentences


def _values(axis: RobustnessAxis) -> Axis:
    return linear(axis.values[0], axis.values[-1], axis.label)


def _cost_axis(costs: Sequence[float]) -> Axis:
    low, high, label = min(costs), max(costs), "mean cost, 95 %"
    return logarithmic(low, high, label) if low > 0 and high > 5 * low else linear(low, high, label, 0.1)


def _draw(
    chart: Chart,
    curves: dict[str, Curve],
    order: Sequence[str],
    points: Callable[[Curve], list[tuple[float, float, float]]],
    nominal: float,
) -> None:
    for name, curve in curves.items():
        if not curve.values:
            continue
        x, (value, low, high) = np.array(curve.values), np.array(points(curve), dtype=float).T
        index = list(order).index(name)
        chart.band(x, np.where(np.isfinite(low), low, value), np.where(np.isfinite(high), high, value), index)
        chart.line(x, value, "curve", index)
        chart.points(x, value, "dot", index)
    chart.vertical(nominal, "nominal")


def _figure(chart: Chart, title: str, identifier: str) -> Element:
    return element("figure", chart.finished(title, identifier))
