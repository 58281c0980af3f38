"""The progress of a comparison: one bar per controller on a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import final

__all__ = ["Progress", "about", "duration"]


@final
class Progress:
    """A bar per controller while runs go on; nothing if standard error is not a terminal.

    Args:
        names: of the controllers.
        runs: of each.
    """

    def __init__(self, names: Sequence[str], runs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        # Drawn between runs only: a thread that redraws would take time from the very steps that are timed.
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"), console=self._console, transient=True, auto_refresh=False,
            disable=not self._console.is_terminal,
        )  # fmt: skip
        self._tasks = {name: self._bars.add_task(name, total=runs, start=False, state="") for name in names}

    @property
    def is_shown(self) -> bool:
        """Whether anybody sees it."""
        return self._console.is_terminal

    def say(self, line: str) -> None:
        """Prints a line above the bars, on a terminal.

        Args:
            line: of plain text.
        """
        if self.is_shown:
            self._console.print(line, markup=False, highlight=False)

    def state(self, name: str, words: str) -> None:
        """Shows what a controller is at, beside its bar."""
        self._bars.update(self._tasks[name], state=words)
        self._bars.refresh()

    def advance(self, name: str) -> Callable[[int], None]:
        """A function that moves a controller's bar on by a number of runs."""

        def move(count: int) -> None:
            self._bars.start_task(self._tasks[name])
            self._bars.advance(self._tasks[name], count)
            self._bars.refresh()

        return move

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self._bars.stop()


def duration(seconds: float) -> str:
    """Seconds in words that are as exact as an estimate is.

    Args:
        seconds: at least 0.
    """
    if seconds < 1:
        return "less than 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def about(seconds: float) -> str:
    """An estimate in words, at the beginning of a line.

    Args:
        seconds: at least 0.
    """
    return duration(seconds) if seconds < 1 else f"about {duration(seconds)}"
