"""A finished loop: its data, figure and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from ctrl.realtime.data import LoopData
from ctrl.realtime.table import text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LoopRun"]


@final
@dataclass(frozen=True, eq=False)
class LoopRun(LoopData):
    """A finished run of a loop; its ``str`` is a table. See :class:`LoopData`."""

    def figure(self) -> Figure:
        """States, inputs and response times over time, and the distribution of the times."""
        from ctrl.realtime.figure import figure

        return figure(self)

    def save(self, folder: str | Path, command: Sequence[str] = ()) -> Path:
        """Writes ``samples.csv``, ``summary.json``, ``trace.json`` (for ui.perfetto.dev or chrome://tracing),
        ``figure.png``, ``figure.pdf`` and ``task.json``, each whole.

        Args:
            folder: created if it does not exist.
            command: command line of the run, for the record.

        Raises:
            OutputError: the folder cannot be written.
        """
        from ctrl.realtime.folder import save

        return save(self, folder, command)

    def __str__(self) -> str:
        return text(self)
