"""The comparison as a folder: table, figure, the task in full, and what it takes to reproduce them."""

from __future__ import annotations

import csv
import json
import math
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from systems import Task
from systems.describe import describe

if TYPE_CHECKING:
    from ctrl.compare.run import Comparison

__all__ = ["OutputError", "default_folder", "prepare", "rows", "save"]

PACKAGES = ("trivium-control", "numpy", "scipy", "casadi", "daqp", "piqp", "torch", "joblib", "matplotlib")


class OutputError(OSError):
    """The output folder cannot be written."""


def default_folder(task: Task) -> Path:
    """``runs/<task>-<timestamp>`` below the current folder."""
    return Path("runs") / f"{task.name}-{time.strftime('%Y%m%d-%H%M%S')}"


def prepare(folder: str | Path) -> Path:
    """Makes the folder and writes to it, so that a fault shows before the work and not after it.

    Raises:
        OutputError: it cannot be made or written.
    """
    folder = Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write results to '{folder}': {error.strerror or error}; choose another folder (--out DIR)"
        ) from error
    return folder


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One object per controller; numbers, or None where there is none.

    ``cost_low`` and ``cost_high`` are the ends of the 95 % interval of the mean cost, ``violations`` counts the runs of
    ``runs`` that violate any constraint, ``missed`` the timed steps that took longer than dt, and both regions of
    attraction are shares of the starts between 0 and 1.
    """
    found = []
    for name, metrics in comparison.metrics.items():
        values = {
            "cost": metrics.cost.value,
            "cost_low": metrics.cost.low,
            "cost_high": metrics.cost.high,
            "violations": metrics.violated.k,
            "runs": metrics.violated.n,
            "step_p50_ms": 1e3 * metrics.step_p50,
            "step_p99_ms": 1e3 * metrics.step_p99,
            "missed": metrics.missed.k,
            "roa_sampled": metrics.settled.value,
            "roa_proved": comparison.proved.get(name),
        }
        found.append({"controller": name, **{key: _finite(value) for key, value in values.items()}})
    return found


def save(comparison: Comparison, folder: str | Path, command: Sequence[str] = ()) -> Path:
    """Writes ``table.csv``, ``table.json``, ``figure.png``, ``figure.pdf``, ``task.json`` and ``versions.json``.

    They are written aside and moved into place one by one when all are complete; no file is ever half written.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = prepare(folder)
    aside = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        table = rows(comparison)
        with open(aside / "table.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
        _json(aside / "table.json", table)
        _json(aside / "task.json", describe(comparison.task))
        _json(aside / "versions.json", _versions(comparison, command))
        page = comparison.figure()
        page.savefig(aside / "figure.png", dpi=200)
        page.savefig(aside / "figure.pdf", dpi=300)
        for part in sorted(aside.iterdir()):
            os.replace(part, folder / part.name)
    except OSError as error:
        raise OutputError(f"cannot write results to '{folder}': {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _versions(comparison: Comparison, command: Sequence[str]) -> dict[str, Any]:
    return {
        "command": list(command) or sys.argv,
        "seeds": list(comparison.seeds),
        "starts": len(comparison.starts),
        "workers": comparison.workers,
        "seconds": {name: round(seconds, 3) for name, seconds in comparison.seconds.items()},
        "skipped": dict(comparison.skipped),
        "failed": dict(comparison.failed),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
