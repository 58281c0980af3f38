"""The result of a comparison, with its table, its figure and its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ctrl.comparison.data import ComparisonData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison"]

# Tables, figures and files are imported when they are asked for, as rich and matplotlib are slow to import.


@final
@dataclass(frozen=True, eq=False)
class Comparison(ComparisonData):
    """The result of :func:`ctrl.compare`: ``print`` it, draw its ``figure``, or ``save`` all of it in a folder."""

    def figure(self) -> Figure:
        from ctrl.comparison.figure import figure

        return figure(self)

    def save(self, folder: str | Path) -> Path:
        """Writes table, figure, task and versions to a folder; see :func:`ctrl.comparison.results.save`.

        Args:
            folder: where to; created if it does not exist.
        """
        from ctrl.comparison.results import save

        return save(self, folder)

    def __rich__(self) -> Any:
        from ctrl.comparison.table import table

        return table(self)

    def __str__(self) -> str:
        from ctrl.comparison.table import text

        return text(self)
