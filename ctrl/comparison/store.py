"""Storage of finished runs in a comparison's folder, so that an interrupted comparison resumes where it stopped."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, final

import numpy as np

from ctrl.cells.arrays import read_arrays, write_arrays
from ctrl.cells.identity import digest
from ctrl.cells.settings import expect_same
from ctrl.comparison.data import ProvedShare
from ctrl.trajectories import Trajectories
from systems import Task
from systems.files import FileError, OutputError, read_json, write_json

__all__ = ["FOLDER", "RunStore"]

FOLDER = "cells"
"""Name of the folder of finished runs, inside a folder of results."""

_EVERY = 1.0  # seconds between two files of one controller: no more than that is lost with a process that is killed


@final
class RunStore:
    """Reads and keeps the runs of a comparison. Nothing is written before a run has ended.

    Args:
        folder: of the results.
        task: of the runs.
        settings: what the runs depend on, controllers aside.
        steps: of each run.
        runs: number of runs of each controller.

    Raises:
        OutputError: the folder holds a comparison with other settings.
    """

    def __init__(self, folder: Path, task: Task, settings: Mapping[str, Any], steps: int, runs: int) -> None:
        self._folder, self._settings, self._runs = folder / FOLDER, settings, runs
        self._shapes = _shapes(task, steps)
        self._names = [name for name in self._shapes if name != "rows"]
        self._identities: dict[str, str | None] = {}
        self._waiting: dict[str, list[tuple[np.ndarray, Trajectories]]] = {}
        self._written = time.monotonic()
        self.kept = 0
        expect_same(self._folder / "settings.json", settings, "comparison")

    def begin(self, name: str, identity: str | None) -> tuple[np.ndarray, Trajectories | None]:
        """Numbers of the runs that are kept, and the runs; files that are damaged count as none.

        Args:
            name: of the controller.
            identity: see :func:`ctrl.cells.identity`; of None nothing is kept or read.

        Raises:
            OutputError: the folder holds runs of another controller under this name.
        """
        self._identities[name], none = identity, np.zeros(0, dtype=np.int64)
        if identity is None:
            return none, None
        place = self._place(name)
        stated = place / "controller.json"
        if stated.exists() and _stated(stated) != identity:
            raise OutputError(
                f"'{self._folder.parent}' contains runs of another controller '{name}' (its file or its settings have "
                "changed); choose another folder (--out DIR)"
            )
        rows: list[np.ndarray] = []
        parts: list[dict[str, np.ndarray]] = []
        for path in sorted(place.glob("*.npz")) if stated.exists() else ():
            try:
                part = read_arrays(path, self._shapes)
            except FileError:
                continue
            own = part.pop("rows")
            before = np.concatenate([none, *rows])
            if (
                len(np.unique(own)) == len(own)
                and not np.isin(own, before).any()
                and (own < self._runs).all()
                and (own >= 0).all()
            ):
                rows.append(own)
                parts.append(part)
        if not parts:
            return none, None
        ended = np.concatenate(rows)
        order = np.argsort(ended)
        self.kept += len(ended)
        return ended[order], Trajectories(
            **{n: np.concatenate([part[n] for part in parts])[order] for n in self._names}
        )

    def keep(self, name: str, rows: np.ndarray, runs: Trajectories) -> None:
        """Keeps runs that have ended; they are written together with those of about a second.

        Args:
            name: of the controller.
            rows: numbers of the runs, (r,).
            runs: r of them.
        """
        if self._identities.get(name) is None:
            return
        self._waiting.setdefault(name, []).append((np.asarray(rows, dtype=np.int64), runs))
        if time.monotonic() - self._written > _EVERY:
            self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        for name in list(self._waiting):
            place, parts = self._place(name), self._waiting[name]
            rows = np.concatenate([rows for rows, _ in parts])
            arrays = {
                n: np.ascontiguousarray(np.concatenate([getattr(runs, n) for _, runs in parts])) for n in self._names
            }
            try:
                if not (self._folder / "settings.json").exists():
                    write_json(self._folder / "settings.json", self._settings)
                if not (place / "controller.json").exists():
                    write_json(place / "controller.json", {"controller": name, "identity": self._identities[name]})
                write_arrays(place / f"{rows.min():06d}.npz", {"rows": rows, **arrays})
            except OSError:  # results are still printed and written elsewhere; what is lost is resuming
                self._identities[name] = None
            else:
                self.kept += len(rows)
            del self._waiting[name]
        self._written = time.monotonic()

    def proof(self, name: str) -> tuple[bool, float | None]:
        """Whether a controller's proof has ended, and its result."""
        path = self._place(name) / "proof.json"
        if self._identities.get(name) is None or not path.exists():
            return False, None
        try:
            return True, _proved(read_json(path))
        except (FileError, KeyError, TypeError, ValueError, OverflowError):
            return False, None

    def keep_proof(self, name: str, share: float | None) -> None:
        """Keeps the result of a proof, with the outlines of a region that has some."""
        if self._identities.get(name) is not None and (self._place(name) / "controller.json").exists():
            outlines = [line.tolist() for line in share.outlines] if isinstance(share, ProvedShare) else None
            try:
                write_json(self._place(name) / "proof.json", {"share": share, "outlines": outlines}, indent=None)
            except OSError:
                self._identities[name] = None

    def _place(self, name: str) -> Path:
        """A folder for a controller, of whatever characters its name is."""
        return self._folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name).strip('.')[:40]}-{digest(name)[:8]}"


def _proved(held: Any) -> float | None:
    """The result of a proof from its file.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: it is none.
    """
    share, outlines = held["share"], held["outlines"]
    if share is None and outlines is None:
        return None
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise ValueError("not a share")
    if outlines is None:
        return float(share)
    lines = [np.array([[float(x), float(y)] for x, y in line]) for line in outlines]
    if not all(line.ndim == 2 and np.isfinite(line).all() for line in lines):
        raise ValueError("not lines in the plane")
    return ProvedShare(share, lines)


def _stated(path: Path) -> Any:
    try:
        return read_json(path)["identity"]
    except (FileError, KeyError, TypeError):
        return None


def _shapes(task: Task, steps: int) -> dict[str, tuple[np.dtype, tuple[int | None, ...]]]:
    """Types and shapes of the arrays of some runs."""
    n, m, c = len(task.plant.state), len(task.plant.input), len(task.constraints)
    number, small, whole = np.dtype(np.float64), np.dtype(np.int8), np.dtype(np.int64)
    shapes: Sequence[tuple[np.dtype, tuple[int | None, ...]]] = (
        (number, (None, steps + 1, n)), (number, (None, steps, m)), (number, (None, steps)), (number, (None,)),
        (number, (None, steps, c)), (number, (None, steps)), (small, (None, steps)), (small, (None, steps)),
        (whole, (None,)),
    )  # fmt: skip
    if task.measurement is not None:
        p = len(task.measurement.signals)
        shapes = (*shapes, (number, (None, steps, p)), (number, (None, steps, n)))
    names = [field.name for field in fields(Trajectories)][: len(shapes)]
    known = {"rows": (whole, (None,)), **dict(zip(names, shapes, strict=True))}
    return known if task.true_dynamics.solved is None else {**known, "unsolved": (np.dtype(bool), (None,))}
