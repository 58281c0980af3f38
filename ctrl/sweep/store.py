"""Finished cells of a sweep, one file each, under a digest of all that their result depends on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from ctrl.cells.settings import expect_same, versions
from ctrl.sweep.cell import SweepCell
from systems.files import FileError, read_json, write_json

__all__ = ["SweepStore"]


@final
class SweepStore:
    """Reads and stores results of cells. Tasks, controllers or seeds may be added to a finished sweep.

    Args:
        folder: of the results.
        starts: number of initial states of every cell.

    Raises:
        OutputError: the folder holds a sweep with other settings, or of other versions.
    """

    def __init__(self, folder: Path, starts: int) -> None:
        self._folder = folder / "cells"
        self._settings = {"kind": "sweep of Trivium, format 1", "starts": starts, "versions": versions()}
        expect_same(self._folder / "settings.json", self._settings, "sweep")

    def read(self, cell: SweepCell) -> dict[str, Any] | None:
        """The result of a cell; None where it has none, or its file is damaged."""
        path = self._folder / f"{cell.key}.json"
        if not path.exists():
            return None
        try:
            held = read_json(path)
            result = dict(held["result"])
            if held["description"] != cell.description or len(result["cost"]) != result["runs"]:
                return None
            result["cost"] = [float(cost) for cost in result["cost"]]
            result["worst_margin"] = {name: float(margin) for name, margin in result["worst_margin"].items()}
            for name in ("step_p50_ms", "step_p99_ms", "seconds"):
                result[name] = float(result[name])
            result["learning"] = [[float(number) for number in line] for line in result["learning"]]
            if len({len(line) for line in result["learning"]}) > 1:
                return None
            for name in ("runs", "violated", "unsafe", "settled", "left", "broken", "missed", "timed"):
                result[name] = int(result[name])
            return result
        except (FileError, KeyError, TypeError, ValueError, AttributeError):
            return None

    def keep(self, cell: SweepCell, result: Mapping[str, Any]) -> None:
        """Writes the result of a cell."""
        if not (self._folder / "settings.json").exists():
            write_json(self._folder / "settings.json", self._settings)
        write_json(self._folder / f"{cell.key}.json", {"description": cell.description, "result": dict(result)})
