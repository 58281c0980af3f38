"""The result of a sweep: its lines, its table, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from ctrl.sweep.cell import SweepCell
from systems.files import json_text, write
from systems.statistics import mean

__all__ = ["Sweep"]


_COUNTS = ("runs", "violated", "unsafe", "settled", "left", "missed")
_TIMES = ("step_p50_ms", "step_p99_ms")


@final
@dataclass(frozen=True, eq=False)
class Sweep:
    """The results of all cells of a sweep.

    Args:
        cells: in the order of the table.
        results: of each cell; None where it has none.
        failed: the error of a cell, by its number.
        skipped: why a cell's controller does not apply, by its number.
        notes: below the table; default: none.
    """

    cells: tuple[SweepCell, ...]
    results: tuple[dict[str, Any] | None, ...]
    failed: Mapping[int, str]
    skipped: Mapping[int, str]
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """One object per task, true plant, controller and settings, over the runs of all seeds.

        ``cost_low`` and ``cost_high`` are the ends of the 95 % interval of the mean cost (Student's t over all runs);
        numbers that do not exist are None.
        """
        groups: dict[str, list[int]] = {}
        for i, cell in enumerate(self.cells):
            named = {key: value for key, value in cell.description.items() if key != "seed"}
            groups.setdefault(json.dumps(named), []).append(i)
        return [self._line(json.loads(named), members) for named, members in groups.items()]

    def _line(self, named: dict[str, Any], members: list[int]) -> dict[str, Any]:
        results = [result for i in members if (result := self.results[i]) is not None]
        reasons = [reported[i] for reported in (self.failed, self.skipped) for i in members if i in reported]
        line = {**named, "seeds": [self.cells[i].seed for i in members], "runs": sum(r["runs"] for r in results)}
        if results:
            cost = mean(np.concatenate([np.asarray(r["cost"], dtype=float) for r in results]))
            line |= {"cost": _finite(cost.value), "cost_low": _finite(cost.low), "cost_high": _finite(cost.high)}
            line |= {key: sum(r[key] for r in results) for key in _COUNTS}
            for key in _TIMES:
                line[key] = _finite(max(r[key] for r in results))
        return line | {"failed": "; ".join(dict.fromkeys(reasons))}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One object per cell, flat, as in the CSV."""
        rows = []
        for i, (cell, result) in enumerate(zip(self.cells, self.results, strict=True)):
            row = {**cell.description, "settings": json.dumps(cell.description["settings"], sort_keys=True)}
            for key in (
                "runs",
                "violated",
                "unsafe",
                "settled",
                "left",
                "missed",
                "step_p50_ms",
                "step_p99_ms",
                "seconds",
            ):
                row[key] = None if result is None else result[key]
            cost = None if result is None else mean(np.asarray(result["cost"], dtype=float))
            row |= {"cost": cost and cost.value, "cost_low": cost and cost.low, "cost_high": cost and cost.high}
            rows.append(row | {"failed": self.failed.get(i, self.skipped.get(i, ""))})
        return rows

    def save(self, folder: str | Path) -> Path:
        """Writes ``sweep.json`` (:attr:`lines`, and the cost of every run of every cell) and ``sweep.csv``
        (:attr:`rows`), each whole.

        Args:
            folder: where to; created if it does not exist.
        """
        folder, rows, text = Path(folder), self.rows, io.StringIO(newline="")
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
        cells = [{**cell.description, "result": result} for cell, result in zip(self.cells, self.results, strict=True)]
        held = {"lines": self.lines, "cells": cells, "notes": list(self.notes)}
        write(folder / "sweep.json", json_text(held).encode())
        write(folder / "sweep.csv", text.getvalue().encode())
        return folder

    def __rich__(self) -> Any:
        from ctrl.sweep.table import table

        return table(self.lines, len(self.cells), self.notes)

    def __str__(self) -> str:
        from ctrl.sweep.table import text

        return text(self.lines, len(self.cells), self.notes)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
