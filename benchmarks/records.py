"""What long benchmarks share: results kept line by line in a file, digests of settings, means with intervals.

A benchmark appends each finished cell (a controller, a task, a seed) to its file in `benchmarks/results/` at once, so
it can be run in pieces, killed and resumed, by several processes at the same time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from systems.files import try_lock

__all__ = ["append", "cells", "hashed", "interval", "results"]

RESULTS = Path(__file__).with_name("results")


def results(script: str) -> Path:
    """The file of results of a benchmark.

    Args:
        script: `__file__` of the benchmark.
    """
    return RESULTS / f"{Path(script).stem}.jsonl"


def cells(file: Path) -> list[dict[str, Any]]:
    """All finished cells of a file; none if it does not exist."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def append(cell: dict[str, Any], path: Path) -> None:
    """Appends one whole line, while no other process writes to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "ab") as lock, open(path, "a") as file:
        while not try_lock(lock):  # until the other writer closes it
            time.sleep(0.05)
        file.write(json.dumps(cell) + "\n")
        file.flush()
        os.fsync(file.fileno())


def hashed(text: str) -> str:
    """A digest short enough to be kept in every cell."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def interval(values: list[float]) -> str:
    """Mean and Student's t interval at 95 % over seeds."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return f"{mean:.4g}"
    return f"{mean:.4g} ± {student.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5:.2g}"
