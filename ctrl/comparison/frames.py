"""A comparison as tables of pandas, which is imported when one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ctrl.comparison.data import ComparisonData
from ctrl.comparison.metrics import settling_times
from ctrl.comparison.results import details
from ctrl.comparison.verdicts import violated_samples

if TYPE_CHECKING:
    import pandas

__all__ = ["frame", "run_frame"]


def frame(comparison: ComparisonData) -> pandas.DataFrame:
    """One row per controller, with the columns of ``table.csv``.

    Args:
        comparison: its results.

    Raises:
        ImportError: pandas is not installed.
    """
    return _pandas().DataFrame(details(comparison)).set_index("controller")


def run_frame(comparison: ComparisonData) -> pandas.DataFrame:
    """One row per controller and run: cost, settling time (infinite where the run does not arrive), whether it left the
    domain, and, for each constraint, its largest margin and the number of violated samples.

    Args:
        comparison: its results.

    Raises:
        ImportError: pandas is not installed.
    """
    tables = []
    for name, runs in comparison.runs.items():
        columns: dict[str, Any] = {
            "controller": name,
            "run": np.arange(len(runs)),
            "cost": runs.cost,
            "settling_s": settling_times(comparison.task, runs),
            "left": ~runs.stayed,
        }
        violated = violated_samples(runs.margins)
        for i, constraint in enumerate(comparison.task.constraints):
            columns[f"worst_margin[{constraint.name}]"] = runs.margins[..., i].max(axis=1)
            columns[f"violated_samples[{constraint.name}]"] = violated[..., i].sum(axis=1)
        tables.append(_pandas().DataFrame(columns))
    return _pandas().concat(tables, ignore_index=True).set_index(["controller", "run"])


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError("tables of pandas need the package pandas: pip install pandas") from error
    return pandas
