"""A sweep as a table, one line per task, true plant, controller and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from ctrl.comparison.table import ComparisonTable, columns, interval, number
from systems.statistics import Estimate

__all__ = ["table", "text"]


def table(lines: Sequence[dict[str, Any]], cells: int, added: Sequence[str] = ()) -> ComparisonTable:
    """Columns that are the same in all lines are named once, above.

    Args:
        lines: of the table, as :attr:`ctrl.sweep.Sweep.lines` gives them.
        cells: number of cells in all.
        added: notes below the table; default: none.
    """
    labels = [_labels(line) for line in lines]
    varied = [key for key in labels[0] if len({label[key] for label in labels}) > 1 and key != "controller"]
    same = [f"{key} {value}" for key, value in labels[0].items() if key not in varied and key != "controller" and value]
    shown = [(key, [Text(label[key]) for label in labels]) for key in varied]
    shown += [(head, [Text(_cell(line, key)) for line in lines]) for key, head in _HEADS.items()]
    notes = [
        f"{' '.join(filter(None, label.values()))}: {line['failed']}"
        for label, line in zip(labels, lines, strict=True)
        if line["failed"]
    ]
    notes.append("cost: mean over the runs of all seeds, 95 % interval by Student's t; steps: the slowest cell's")
    notes += added
    title = " · ".join([*same, f"{cells} cells"])
    return ComparisonTable(title, [Text(label["controller"]) for label in labels], shown, notes)


_HEADS = {
    "cost": "cost\n[95 %]",
    "runs": "runs",
    "violated": "violated",
    "left": "left the\ndomain",
    "settled": "settled",
    "step": "step p50 / p99\n[ms]",
    "missed": "missed\n(> dt)",
}


def _labels(line: dict[str, Any]) -> dict[str, str]:
    return {
        "controller": line["controller"],
        "task": line["task"],
        "true plant": line["true"],
        "settings": ", ".join(_setting(name, value) for name, value in line["settings"].items()),
        "seeds": ", ".join(map(str, line["seeds"])),
    }


def _setting(name: str, value: Any) -> str:
    """Factors of weights by signal, and settings, of a tuned controller are shown one by one."""
    if not isinstance(value, Mapping):
        return f"{name} = {value}"
    return ", ".join(f"{key} x {v:g}" if name == "weights" else f"{key} = {v}" for key, v in value.items())


def _cell(line: dict[str, Any], key: str) -> str:
    if key == "runs":
        return str(line["runs"])
    if "violated" not in line:
        return "-"
    if key == "cost":
        if line["cost"] is None:
            return "inf"
        high = line["cost_high"]
        return interval(Estimate(line["cost"], float("nan"), float("nan") if high is None else high))
    if key == "step":
        return " / ".join("-" if line[k] is None else number(line[k]) for k in ("step_p50_ms", "step_p99_ms"))
    return str(line[key])


def text(lines: Sequence[dict[str, Any]], cells: int, added: Sequence[str] = ()) -> str:
    """The table as plain text."""
    console = Console(width=columns(), color_system=None)
    with console.capture() as caught:
        console.print(table(lines, cells, added))
    return caught.get()
