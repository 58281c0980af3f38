"""The live view of a loop in a terminal."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, final

from rich.console import Console, Group
from rich.text import Text

from ctrl.realtime.summary import summary
from ctrl.realtime.table import content

if TYPE_CHECKING:
    from ctrl.realtime.loop import Loop

__all__ = ["View"]

_INTERVAL = 1.0  # seconds
_SAMPLES = 2000  # the last ones, which the times shown are about


@final
class View:
    """Context in which a thread of its own draws the state of a loop once per second; idle outside a terminal.

    Drawing takes a few milliseconds in which the loop's thread interrupts it.

    Args:
        loop: to display.
    """

    def __init__(self, loop: Loop) -> None:
        from rich.live import Live

        self._loop, self._end = loop, threading.Event()
        console = Console(stderr=True)
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def __enter__(self) -> None:
        if self._live is not None:
            self._live.start()
            self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._end.set()
            self._thread.join()
            self._live.stop()

    def _draw(self) -> None:
        assert self._live is not None
        while not self._end.wait(_INTERVAL):
            self._live.update(self.content(), refresh=True)

    def content(self) -> Any:
        """The rich renderable of the view."""
        loop, log = self._loop, self._loop.log
        numbers = summary(log, log.columns(_SAMPLES), loop.fallbacks)
        title = f"{loop.task.name} · sample {numbers.samples + numbers.skipped}"
        plant = loop.task.plant
        signals = zip((*plant.state, *plant.input), (*loop.state, *loop.input), strict=True)
        values = "\n".join(f"{signal!s:<20} {value:10.4g}" for signal, value in signals)
        return Group(content(numbers, title, 1.0 / loop.task.dt), Text(values))
