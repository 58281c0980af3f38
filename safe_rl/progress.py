"""What a user sees of a learning run: a progress bar, a CSV file, TensorBoard where it is installed."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@dataclass(frozen=True)
class Record:
    """One line of the log. Means are over the episodes that ended since the line before; NaN if none did."""

    updates: int
    steps: int  # transitions seen
    episodes: int
    mean_return: float  # undiscounted, unscaled
    mean_costs: dict[str, float]  # per named constraint, undiscounted
    mean_length: float  # steps
    diagnostics: dict[str, float]  # quantities of the learner, for instance its temperature
    evaluation: float | None = None  # mean return of the mean action, where it was evaluated

    def flat(self) -> dict[str, float]:
        """Names as they appear in the CSV file and in TensorBoard."""
        line: dict[str, float] = {
            "charts/steps": self.steps,
            "charts/episodes": self.episodes,
            "charts/return": self.mean_return,
            "charts/length": self.mean_length,
        }
        line |= {f"costs/{name}": value for name, value in self.mean_costs.items()}
        line |= {f"learner/{name}": value for name, value in self.diagnostics.items()}
        line["charts/evaluation"] = float("nan") if self.evaluation is None else self.evaluation
        return line


@final
class Monitor:
    """Context in which a run is shown and logged; it only reads, so it cannot change the run.

    Args:
        total: updates at the end of the run.
        show: draw a progress bar; none is drawn where the output is not a terminal.
        folder: where `progress.csv`, `settings.json` and TensorBoard files go; None for no files.
        settings: written once to `settings.json`.
    """

    def __init__(
        self, label: str, total: int, done: int, show: bool, folder: Path | None, settings: dict[str, Any]
    ) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[news]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not (show and console.is_terminal),
        )
        self._task = self._bar.add_task(label, total=total, completed=done, news="")
        self._clock, self._done = time.perf_counter(), done
        self._csv: Path | None = None
        self._board: Any = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "settings.json").write_text(json.dumps(settings, indent=2))
            self._csv = folder / "progress.csv"
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                pass
            else:
                self._board = SummaryWriter(str(folder))

    def __enter__(self) -> Monitor:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._board is not None:
            self._board.close()

    def show(self, record: Record) -> None:
        """Draw and log one record."""
        now = time.perf_counter()
        rate = (record.updates - self._done) / max(now - self._clock, 1e-9)
        self._clock, self._done = now, record.updates
        costs = "".join(f"  {name} {value:.3g}" for name, value in record.mean_costs.items())
        news = f"return {record.mean_return:.4g}{costs}  {rate:.0f} updates/s"
        self._bar.update(self._task, completed=record.updates, news=news)
        line = record.flat()
        if self._csv is not None:
            fresh = not self._csv.exists()
            with open(self._csv, "a", newline="") as file:
                writer = csv.writer(file)
                if fresh:
                    writer.writerow(["updates", *line])
                writer.writerow([record.updates, *line.values()])
        if self._board is not None:
            for name, value in (line | {"charts/updates_per_second": rate}).items():
                if value == value:
                    self._board.add_scalar(name, value, record.updates)
