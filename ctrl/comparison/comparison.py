"""The result of a comparison, with its table, its figure and its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ctrl.comparison.data import ComparisonData

if TYPE_CHECKING:
    import pandas
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

    def frame(self) -> pandas.DataFrame:
        """One row per controller with all that was measured; needs the package pandas."""
        from ctrl.comparison.frames import frame

        return frame(self)

    def run_frame(self) -> pandas.DataFrame:
        """One row per controller and run; needs the package pandas."""
        from ctrl.comparison.frames import run_frame

        return run_frame(self)

    def report(self, file: str | Path) -> Path:
        """Writes the report, one HTML page; see :mod:`ctrl.report`.

        Args:
            file: where to, such as ``report.html``.
        """
        from ctrl.report import page
        from systems.files import write

        write(file, page(self).encode("utf-8"))
        return Path(file)

    def _repr_html_(self) -> str:
        """The table in a notebook."""
        from ctrl.report.tables import excerpt

        return excerpt(self)

    def __rich__(self) -> Any:
        from ctrl.comparison.table import table

        return table(self)

    def __str__(self) -> str:
        from ctrl.comparison.table import text

        return text(self)
