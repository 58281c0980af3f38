"""Learning curves from the logs of trainings, with the costs of all controllers as lines."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ctrl.comparison.data import ComparisonData
from ctrl.report.charts import Chart, linear, logarithmic, thinned
from ctrl.report.elements import Element, element
from systems.files import FileError, read_bytes

__all__ = ["LOG", "learning_curves", "read_log"]

LOG = "progress.csv"
"""Name of the log that a training writes beside its policy."""

_LARGEST = 50_000_000  # bytes
_POINTS = 300  # of a curve


def read_log(path: str | Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Updates and mean undiscounted return since the line before, each (k,), of the lines that have both; None where
    there is no log, or not two such lines.

    Args:
        path: of the log.
    """
    try:
        text = read_bytes(path, _LARGEST).decode("utf-8", errors="replace")
        lines = [
            (float(line["updates"]), float(line["charts/return"]))
            for line in csv.DictReader(text.splitlines(), strict=True)
        ]
    except (FileError, OSError, KeyError, TypeError, ValueError, csv.Error):
        return None
    lines = [line for line in lines if all(map(math.isfinite, line))]
    if len(lines) < 2:
        return None
    updates, returns = np.array(lines).T
    return updates, returns


def learning_curves(comparison: ComparisonData, logs: Mapping[str, Path]) -> list[Element]:
    """One chart for each controller with a log that can be read.

    Args:
        comparison: its results.
        logs: of trainings, by controller.
    """
    names, charts = list(comparison.runs), []
    costs = {name: metrics.cost.value for name, metrics in comparison.metrics.items()}
    for name in names:
        log = read_log(logs[name]) if name in logs else None
        if log is None:
            continue
        updates, cost = log[0], -log[1]
        every = np.array([*cost, *(value for value in costs.values() if math.isfinite(value))])
        label = "minus the mean return; mean cost"
        low, high = float(every.min()), float(every.max())
        y = logarithmic(low, high, label) if low > 0 and high > 5 * low else linear(low, high, label)
        chart = Chart(linear(0.0, float(updates.max()), "updates", 0.0), y, 420.0, 260.0)
        shown = thinned(len(updates), _POINTS)
        chart.line(updates[shown], cost[shown], "run", names.index(name))
        window = max(1, len(cost) // 20)
        smooth = np.convolve(cost, np.ones(window) / window, mode="valid")
        chart.line(updates[window - 1 :], smooth, "middle", names.index(name))
        for index, other in enumerate(names):
            if math.isfinite(costs[other]):
                chart.level(costs[other], index)
        drawing = chart.finished(f"Learning curve of {name}", f"learning-{names.index(name)}")
        charts.append(element("figure", element("strong", name), drawing))
    return charts
