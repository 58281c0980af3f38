"""What is wrong with a file: its path, what it holds, what was expected."""

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
    """A place that results cannot be written to."""


def printable(text: str) -> str:
    """A text in one line, without characters that a terminal obeys."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
