"""The folder of a comparison: table, figure, the complete task, and everything needed to reproduce them."""

from __future__ import annotations

import csv
import io
import math
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from itertools import takewhile
from pathlib import Path
from typing import Any

from ctrl.comparison.data import ComparisonData
from systems import Task
from systems.describe import describe
from systems.files import FileError, OutputError, json_text, locked, locked_new, probe, read_json, write

__all__ = ["OutputError", "default_folder", "details", "prepare", "reserved", "rows", "save"]

PACKAGES = ("trivium-control", "numpy", "scipy", "casadi", "daqp", "piqp", "torch", "joblib", "matplotlib")


def default_folder(task: Task) -> Path:
    """``runs/<task>-<timestamp>`` below the current folder."""
    return Path("runs") / f"{task.name}-{time.strftime('%Y%m%d-%H%M%S')}"


def prepare(folder: str | Path, task: Task | None = None) -> Path:
    """Makes the folder and writes to it, so that a fault shows before the work and not after it.

    Raises:
        OutputError: it cannot be made or written, or holds results of another task than the one given.
    """
    folder = Path(folder).expanduser()
    held = _held(folder) if task is not None else None
    if task is not None and held not in (None, task.name):
        raise OutputError(
            f"'{folder}' contains results of task '{held}', which those of task '{task.name}' would overwrite; "
            "choose another folder (--out DIR)"
        )
    probe(folder / "task.json")
    return folder


def _held(folder: Path) -> str | None:
    """Name of the task whose results lie in the folder; None where there are none."""
    file = folder / "task.json"
    if not file.exists():
        return None
    try:
        return str(read_json(file)["name"])
    except (FileError, KeyError, TypeError):
        return "unknown (its task.json was not written by Trivium)"


@contextmanager
def reserved(folder: str | Path | None, task: Task) -> Iterator[Path]:
    """The folder, prepared and kept from other processes; a new one below ``runs`` where none is named. Where the work
    in between fails or is interrupted, no empty folder stays behind.

    Raises:
        InUse: another process is writing to it. OutputError: see :func:`prepare`.
    """
    asked = default_folder(task) if folder is None else Path(folder).expanduser()
    place, there = asked, {path for path in (asked, *asked.parents) if path.exists()}
    try:
        with locked_new(asked) if folder is None else locked(asked) as place:
            yield prepare(place, task)
    except BaseException:
        with suppress(OSError):  # a folder with something in it stays
            for path in takewhile(lambda path: path not in there, (place, *place.parents)):
                path.rmdir()
        raise


def rows(comparison: ComparisonData) -> list[dict[str, Any]]:
    """One object per controller; numbers, or None for what does not exist.

    ``cost_low`` and ``cost_high`` are the ends of the 95 % interval of the mean cost, ``violations`` counts the runs of
    ``runs`` that violate any constraint, ``missed`` the timed steps that took longer than dt, and both regions of
    attraction are shares of the starts between 0 and 1. ``approximations`` lists what the controller does not take of
    the task as it is written, None where it does not say.
    """
    objects = []
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
        texts = comparison.approximations[name]
        numbers = {key: _finite(value) for key, value in values.items()}
        objects.append({"controller": name, **numbers, "approximations": None if texts is None else list(texts)})
    return objects


def details(comparison: ComparisonData) -> list[dict[str, Any]]:
    """One object per controller: :func:`rows`, and everything else that was measured.

    Numbers that do not exist are None. Worst margins are as they are: ``nan`` says that a margin was undefined, ``inf``
    that a run diverged. ``hard_violated`` counts the runs that broke a hard constraint, ``left`` those that left the
    domain; ``samples[...]`` counts samples by how the computation ended.
    """
    objects, ratios = [], comparison.ratios
    for row, (name, metrics) in zip(rows(comparison), comparison.metrics.items(), strict=True):
        ratio = ratios[name]
        more = {
            "cost_ratio": ratio.value,
            "cost_ratio_low": ratio.low,
            "cost_ratio_high": ratio.high,
            "settling_s": metrics.settling,
            "settled": metrics.settled.k,
            "left": metrics.left.k,
            "hard_violated": metrics.broke_hard.k,
        }
        row |= {key: _finite(value) for key, value in more.items()}
        for verdict in metrics.verdicts:
            constraint = verdict.constraint
            row[f"violated[{constraint}]"] = metrics.violations[constraint].k
            row[f"worst_margin[{constraint}]"] = metrics.worst_margin[constraint]
            row[f"verdict[{constraint}]"] = "kept" if verdict.kept else "not kept"
        row |= {f"samples[{status}]": count for status, count in metrics.statuses.items()}
        if comparison.task.measurement is not None:
            row["estimator"] = comparison.estimators.get(name)
            names = comparison.task.plant.state.names
            row |= {f"estimation_error[{state}]": metrics.estimation_error.get(state) for state in names}
        texts = row.pop("approximations")
        row["approximations"] = None if texts is None else "; ".join(texts)
        objects.append(row)
    return objects


def save(comparison: ComparisonData, folder: str | Path, command: Sequence[str] = ()) -> Path:
    """Writes ``table.csv`` (:func:`details`), ``table.json`` (:func:`rows`), ``figure.png``, ``figure.pdf``,
    ``task.json`` and ``versions.json``.

    All are made first and then moved into place one by one, each whole.

    Raises:
        OutputError: the folder cannot be written, or holds results of another task.
    """
    folder = prepare(folder, comparison.task)
    table, lines = details(comparison), io.StringIO(newline="")
    writer = csv.DictWriter(lines, list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    page, pictures = comparison.figure(), {}
    for name, resolution in (("figure.png", 200), ("figure.pdf", 300)):
        buffer = io.BytesIO()
        page.savefig(buffer, format=Path(name).suffix[1:], dpi=resolution)
        pictures[name] = buffer.getvalue()
    texts = {
        "table.csv": lines.getvalue(),
        "table.json": json_text(rows(comparison)),
        "versions.json": json_text(_versions(comparison, command)),
        "task.json": json_text(describe(comparison.task)),
    }
    try:
        for name, content in (pictures | {name: text.encode() for name, text in texts.items()}).items():
            write(folder / name, content)
    except OSError as error:
        raise OutputError(f"cannot write results to '{folder}': {error.strerror or error}") from error
    return folder


def _versions(comparison: ComparisonData, command: Sequence[str]) -> dict[str, Any]:
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
