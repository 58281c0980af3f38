"""Errors about files: the path, the content, and what was expected."""

from __future__ import annotations

from systems.errors import InvalidValue, TriviumError, shown

__all__ = ["FileError", "InUse", "OutputError", "printable", "shown"]


class FileError(InvalidValue):
    """A file that cannot be used: missing, damaged, foreign, of another format or of another content. Its message is
    :func:`printable`, whatever of the file it shows."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class InUse(FileError):
    """A file or a folder that another process is writing."""


class OutputError(TriviumError, OSError):
    """Results cannot be written to this path."""


def printable(text: str) -> str:
    """The text in one line, without terminal control characters."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
