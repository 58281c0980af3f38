"""Learning curves from the logs of trainings, with the costs of all controllers as lines and bands over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ctrl.comparison.data import ComparisonData
from ctrl.report.charts import Axis, Chart, linear, logarithmic, thinned
from ctrl.report.elements import Element, element
from ctrl.report.numbers import interval, number
from ctrl.sweep import Sweep
from ctrl.training_log import LOG, read_log
from systems.statistics import mean

__all__ = ["LOG", "learning_curves", "read_log", "seed_sentences"]

_POINTS = 300  # of a curve

_Lines = Sequence[tuple[np.ndarray, np.ndarray]]
"""Updates and minus the mean return, each (k,), of every seed."""


def learning_curves(
    comparison: ComparisonData, logs: Mapping[str, Path], trainings: Sweep | None = None
) -> list[Element]:
    """One chart for each controller with a log that can be read.

    Args:
        comparison: its results.
        logs: of trainings, by controller.
        trainings: the same learners with several seeds; default: one seed.
    """
    charts = []
    for index, name in enumerate(comparison.runs):
        lines = [] if trainings is None else _of_seeds(trainings, name)
        if not lines and name in logs and (log := read_log(logs[name])) is not None:
            lines = [(log[0], -log[1])]
        if lines:
            ends = [] if trainings is None else _seed_costs(trainings, name)
            charts.append(
                element("figure", element("strong", _title(name, len(lines))), _chart(comparison, index, lines, ends))
            )
    return charts


def seed_sentences(trainings: Sweep) -> list[str]:
    """Sentences on the costs of the policies of several training seeds, for the top of the page.

    Args:
        trainings: one cell for each learner and seed.
    """
    sentences = []
    for name in dict.fromkeys(cell.controller for cell in trainings.cells):
        costs = _seed_costs(trainings, name)
        if len(costs) < 2 or not np.isfinite(costs).all():
            continue
        sentences.append(
            f"{name}: over {len(costs)} training seeds the mean cost is {interval(mean(np.array(costs)))}; "
            f"individual seeds lie between {number(min(costs))} and {number(max(costs))}. The table shows seed 0 alone."
        )
    return sentences


def _title(name: str, seeds: int) -> str:
    return name if seeds == 1 else f"{name}, {seeds} seeds"


def _of_seeds(trainings: Sweep, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    results = [r for cell, r in zip(trainings.cells, trainings.results, strict=True) if cell.controller == name and r]
    curves = [np.asarray(result["learning"], dtype=float) for result in results if result.get("learning")]
    return [(curve[0], curve[1]) for curve in curves]


def _seed_costs(trainings: Sweep, name: str) -> list[float]:
    """Mean cost of the policy of every seed."""
    results = [r for cell, r in zip(trainings.cells, trainings.results, strict=True) if cell.controller == name and r]
    return [float(np.mean(result["cost"])) for result in results]


def _chart(comparison: ComparisonData, index: int, lines: _Lines, ends: Sequence[float]) -> Element:
    costs = [metrics.cost.value for metrics in comparison.metrics.values()]
    every = np.concatenate([*(cost for _, cost in lines), [c for c in (*costs, *ends) if math.isfinite(c)]])
    low, high, label = float(every.min()), float(every.max()), "minus the mean return; mean cost"
    y = logarithmic(low, high, label) if low > 0 and high > 5 * low else linear(low, high, label)
    made = max(float(updates.max()) for updates, _ in lines)
    chart = Chart(Axis(0.0, 1.02 * made, "updates"), y, 420.0, 260.0)
    smooth = [_smoothed(*line) for line in lines]
    if len(lines) > 1:
        grid = np.unique(np.concatenate([updates for updates, _ in smooth]))
        grid = grid[(grid >= max(u[0] for u, _ in smooth)) & (grid <= min(u[-1] for u, _ in smooth))]
        at = np.array([np.interp(grid, *line) for line in smooth])
        if len(grid):
            chart.band(grid, at.min(axis=0), at.max(axis=0), index)
            chart.line(grid, np.median(at, axis=0), "middle", index)
        for line in smooth:
            chart.line(*line, "run", index)
        chart.points(np.full(len(ends), made), np.array(ends), "dot", index)
    else:
        shown = thinned(len(lines[0][0]), _POINTS)
        chart.line(lines[0][0][shown], lines[0][1][shown], "run", index)
        chart.line(*smooth[0], "middle", index)
    for other, cost in enumerate(costs):
        if math.isfinite(cost):
            chart.level(cost, other)
    name = list(comparison.runs)[index]
    return chart.finished(f"Learning curve of {_title(name, len(lines))}", f"learning-{index}")


def _smoothed(updates: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moving average over a twentieth of the lines."""
    window = max(1, len(cost) // 20)
    return updates[window - 1 :], np.convolve(cost, np.ones(window) / window, mode="valid")
