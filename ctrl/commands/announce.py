"""Announcements of what a command is about to do."""

from __future__ import annotations

from contextlib import suppress

__all__ = ["say"]


def say(line: str) -> None:
    """Prints a line immediately, wherever the output goes."""
    with suppress(BrokenPipeError):  # results are written even if the output is closed
        print(line, flush=True)
