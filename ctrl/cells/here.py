"""One cell after the other, in this process."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import final

from ctrl.cells.engine import Cell, Ended, Engine, attempt

__all__ = ["Here"]


@final
class Here(Engine):
    """Runs cells in this process, in order."""

    def __init__(self) -> None:
        self.workers = 1

    def run(self, cells: Sequence[Cell]) -> Generator[Ended, None, None]:
        for i, cell in enumerate(cells):
            yield attempt(i, cell)
