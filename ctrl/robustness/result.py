"""The result of a robustness test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ctrl.robustness.axes import RobustnessAxis
from ctrl.robustness.curve import Curve, curve
from ctrl.sweep import Sweep
from systems import Task

__all__ = ["Robustness"]


@final
@dataclass(frozen=True, eq=False)
class Robustness:
    """The cells of a robustness test and its axes.

    Args:
        axes: the quantities that were varied.
        sweep: all cells with their results.
        left_out: reasons why other quantities were not varied, by name.
    """

    axes: tuple[RobustnessAxis, ...]
    sweep: Sweep
    left_out: Mapping[str, str]

    @property
    def task(self) -> Task:
        """The task for which the controllers were designed."""
        return self.sweep.cells[0].task

    @property
    def starts(self) -> int:
        """Number of initial states at each value."""
        return self.sweep.cells[0].starts

    @property
    def controllers(self) -> tuple[str, ...]:
        """Names of the controllers."""
        return tuple(dict.fromkeys(cell.controller for cell in self.sweep.cells))

    @property
    def failed(self) -> dict[str, str]:
        """The first error, or other reason for missing results, by controller."""
        first: dict[str, str] = {}
        for reasons in (self.sweep.failed, self.sweep.skipped):
            for i, why in reasons.items():
                first.setdefault(self.sweep.cells[i].controller, why)
        return first

    def curve(self, controller: str, axis: RobustnessAxis) -> Curve:
        """The results of one controller over one axis.

        Args:
            controller: its name.
            axis: one of :attr:`axes`.
        """
        results = [self._result(controller, perturbation) for perturbation in axis.perturbations]
        points = [(value, result) for value, result in zip(axis.values, results, strict=True) if result is not None]
        return curve(points, axis.nominal)

    def _result(self, controller: str, perturbation: Any) -> dict[str, Any] | None:
        for cell, result in zip(self.sweep.cells, self.sweep.results, strict=True):
            if cell.controller == controller and cell.perturbation == perturbation:
                return result
        return None

    def save(self, folder: str | Path) -> Path:
        """Writes ``sweep.json`` and ``sweep.csv``, with a row for every cell.

        Args:
            folder: created if it does not exist.
        """
        return self.sweep.save(folder)

    def _table(self) -> tuple[Any, ...]:
        curves = {name: [self.curve(name, axis) for axis in self.axes] for name in self.controllers}
        runs = f"{self.starts} run{'s' if self.starts != 1 else ''}"
        title = f"robustness · {self.task.name} · {runs} at each value; controllers designed for the nominal task"
        notes = [f"not varied: {name}: {why}" for name, why in self.left_out.items()]
        return title, self.axes, curves, [*notes, *(f"{name}: {why}" for name, why in self.failed.items())]

    def __rich__(self) -> Any:
        from ctrl.robustness.table import table

        return table(*self._table())

    def __str__(self) -> str:
        from ctrl.robustness.table import text

        return text(*self._table())
