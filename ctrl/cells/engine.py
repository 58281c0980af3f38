"""The engine: runs cells and returns their results."""

from __future__ import annotations

import os
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, final

from ctrl.controller import NotApplicable

__all__ = ["Cell", "Ended", "Engine", "attempt", "fault"]

Cell = Callable[[], Any]
"""Work that can be pickled and whose result depends only on its content, wherever and however often it runs."""


@final
@dataclass(frozen=True)
class Ended:
    """The outcome of a cell.

    Args:
        index: of the cell in the given sequence.
        value: its result; None if it has none.
        skipped: why it does not apply; empty if it does.
        failed: the error that stopped it, in one line; empty if there was none.
    """

    index: int
    value: Any = None
    skipped: str = ""
    failed: str = ""


class Engine(ABC):
    """Runs cells. Closing the iterator, or an interrupt, stops cells that are still running.

    Args:
        workers: number of cells that run at once.
    """

    workers: int

    @abstractmethod
    def run(self, cells: Sequence[Cell]) -> Generator[Ended, None, None]:
        """Yields the outcome of each cell as it ends; an error ends only its own cell.

        Args:
            cells: to run, each once.
        """


def attempt(index: int, cell: Cell) -> Ended:
    """Runs one cell and catches its errors, so that other cells keep their results.

    Args:
        index: of the cell in the given sequence.
        cell: to run.
    """
    try:
        return Ended(index, cell())
    except NotApplicable as reason:
        return Ended(index, skipped=str(reason) or "does not apply")
    except (Exception, SystemExit) as error:
        return Ended(index, failed=fault(error))


def fault(error: BaseException) -> str:
    """An exception in one line, with the place it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    text = str(error).strip() or "no message"
    return f"{type(error).__name__}: {text}{where}"
