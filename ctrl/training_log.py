"""The log of a training, from which learning curves are drawn."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from systems.files import FileError, read_bytes

__all__ = ["LOG", "read_log", "training_log"]

LOG = "progress.csv"
"""Name of the log that a training writes next to its policy."""

_LARGEST = 50_000_000  # bytes


def training_log(controller: object) -> Path | None:
    """The log that a controller names in its attribute ``training_log``; None if it names none.

    Args:
        controller: any controller, with or without an estimator.
    """
    log = getattr(controller, "training_log", None)
    return log if isinstance(log, Path) else None


def read_log(path: str | Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Updates and mean undiscounted return since the previous line, each (k,), of the lines that contain both; None if
    there is no log or fewer than two such lines.

    Args:
        path: of the log.
    """
    try:
        text = read_bytes(path, _LARGEST).decode("utf-8", errors="replace")
        lines = [
            (float(line["updates"]), float(line["charts/return"]))
            for line in csv.DictReader(text.splitlines(), strict=True)
        ]
    except (FileError, OSError, KeyError, TypeError, ValueError, csv.Error):
        return None
    lines = [line for line in lines if all(map(math.isfinite, line))]
    if len(lines) < 2:
        return None
    updates, returns = np.array(lines).T
    return updates, returns
