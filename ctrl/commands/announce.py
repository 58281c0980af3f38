"""Lines that say what a command will do."""

from __future__ import annotations

from contextlib import suppress

__all__ = ["say"]


def say(line: str) -> None:
    """What will be done is told at once, wherever the output goes."""
    with suppress(BrokenPipeError):  # results are written though nobody reads
        print(line, flush=True)
