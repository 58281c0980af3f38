"""Display and log of a training: a progress bar, a CSV file, and TensorBoard if it is installed."""

from __future__ import annotations

import csv
import io
import threading
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, final

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from safe_rl.budgets import CostLimit
from systems.files import FileError, read_bytes, shown, write, write_json

LOG = "progress.csv"
"""Name of the log in its folder."""


@dataclass(frozen=True)
class Record:
    """One line of the log. Means are over the episodes that ended since the previous line; NaN if none did."""

    updates: int
    steps: int  # transitions collected
    episodes: int
    mean_return: float  # undiscounted, unscaled
    mean_costs: dict[str, float]  # per named constraint, undiscounted
    mean_length: float  # steps
    diagnostics: dict[str, float]  # quantities of the learner, for instance its temperature
    evaluation: float | None = None  # mean return of the mean action of the policy that is saved, where evaluated
    evaluation_in_training: float | None = None  # the same for the policy in training, whose costs are measured

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
        for name, value in (("evaluation", self.evaluation), ("evaluation in training", self.evaluation_in_training)):
            line[f"charts/{name}"] = float("nan") if value is None else value
        return line


@final
class _View(Progress):
    """The bar, and below it one line for the return and one per cost, at any width of the terminal."""

    news = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.news:
            yield Text(self.news)


@final
class Monitor:
    """Context in which a run is displayed and logged, without any effect on the run.

    Args:
        total, done: at the end of the run and so far, counted in `unit`.
        updates: made so far; later lines in the same folder come from a run that was lost, and are dropped.
        show: draw a progress bar; if the output is not a terminal, print a line at every tenth of the run instead.
        folder: where `progress.csv`, `settings.json` and TensorBoard files go; None for no files.
        settings: written once to `settings.json`.
        limits: budgets, printed once at the beginning with their conversions.
        baselines: returns of other controllers by name, shown beside the learner's.
    """

    def __init__(
        self,
        label: str,
        total: int,
        done: int,
        unit: Literal["updates", "steps"],
        updates: int,
        show: bool,
        folder: Path | None,
        settings: dict[str, Any],
        limits: Sequence[CostLimit] = (),
        baselines: Mapping[str, float] | None = None,
    ) -> None:
        console = Console(stderr=True)
        self._baselines = dict(baselines or {})
        self._unit, self._limits = unit, {limit.name: limit for limit in limits}
        if show:
            for limit in limits:
                console.print(str(limit), highlight=False, markup=False, soft_wrap=True)
        self._console, self._lines = console, show and not console.is_terminal
        self._bar = _View(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not (show and console.is_terminal),
        )
        self._label, self._total, self._done = label, total, done
        self._task = self._bar.add_task(label, total=total, completed=done)
        self._clock: tuple[float, int, int] | None = None  # time, updates and steps of the last record
        self._csv: Path | None = None
        self._board: Any = None
        if folder is not None:
            write_json(folder / "settings.json", settings)
            self._csv = folder / LOG
            _drop_after(self._csv, updates)
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                pass
            else:
                self._board = SummaryWriter(str(folder), purge_step=updates + 1)

    def __enter__(self) -> Monitor:
        self._bar.start()
        self._hook = threading.excepthook
        if self._board is not None:
            threading.excepthook = self._note
        return self

    def _note(self, args: threading.ExceptHookArgs) -> None:
        """Writes to TensorBoard, whose own thread may fail, for instance on a full disk; that causes only a warning."""
        if isinstance(args.exc_value, OSError) and type(args.thread).__module__.startswith("tensorboard"):
            warnings.warn(
                f"TensorBoard's files are not written any further: {args.exc_value.strerror or args.exc_value}",
                stacklevel=2,
            )
            self._board = None
        else:
            self._hook(args)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        threading.excepthook = self._hook
        if self._board is not None:
            with suppress(OSError):
                self._board.close()

    def show(self, record: Record) -> None:
        """Displays and logs one record."""
        now = time.perf_counter()
        rates = [float("nan")] * 2  # unknown at the first record, which follows warm-up and scaling
        others = ", ".join(f"{name} {value:.4g}" for name, value in self._baselines.items())
        news = [f"return {record.mean_return:.4g}" + (f" ({others})" if others else "")]
        if self._clock is not None:
            seconds = max(now - self._clock[0], 1e-9)
            rates = [(record.updates - self._clock[1]) / seconds, (record.steps - self._clock[2]) / seconds]
            news[0] += f"  {rates[0]:.0f} updates/s  {rates[1]:.0f} steps/s"
        self._clock = now, record.updates, record.steps
        news += [self._cost(name, value, record) for name, value in record.mean_costs.items()]
        done = getattr(record, self._unit)
        self._bar.news = "\n".join(news)
        self._bar.update(self._task, completed=done)
        if self._lines and 10 * done // self._total > 10 * self._done // self._total:
            summary = f"{self._label} {done}/{self._total} {self._unit}  {'  '.join(news)}"
            self._console.print(summary, highlight=False, markup=False, soft_wrap=True)
        self._done = done
        line = record.flat()
        try:
            if self._csv is not None:
                self._log(self._csv, record.updates, line)
            if self._board is not None:
                rate = {"charts/updates_per_second": rates[0], "charts/steps_per_second": rates[1]}
                for name, value in (line | rate).items():
                    if value == value:
                        self._board.add_scalar(name, value, record.updates)
        except OSError as error:  # a full disk must not end the run
            warnings.warn(
                f"the log stops here: '{self._csv}' cannot be written: {error.strerror or error}", stacklevel=3
            )
            self._csv = self._board = None

    def _log(self, path: Path, updates: int, line: dict[str, float]) -> None:
        fresh = not path.exists()
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["updates", *line])
            writer.writerow([updates, *line.values()])

    def _cost(self, name: str, value: float, record: Record) -> str:
        """The cost of one constraint, with its budget, and with its multiplier if it is handled."""
        if name not in self._limits:
            return f"{name} {value:.3g}"
        spent, multiplier, threshold = (
            record.diagnostics[f"{what} {name}"] for what in ("spent", "multiplier", "threshold")
        )
        limit = self._limits[name].limit
        return f"{name} {spent:.3g} of {limit:g} (multiplier {multiplier:.3g}, rising beyond {threshold:.3g})"


def write_log(path: Path, records: Sequence[Record]) -> None:
    """Writes the log of a finished training in the format of :class:`Monitor`.

    Args:
        path: of the file.
        records: its lines; if there are none, nothing is written.
    """
    if not records:
        return
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(["updates", *records[0].flat()])
    writer.writerows([record.updates, *record.flat().values()] for record in records)
    write(path, lines.getvalue().encode())


def _drop_after(path: Path, updates: int) -> None:
    """Drops the lines of a log after an update.

    Raises:
        FileError: it is not a log of this package; it is not changed.
    """
    if not path.exists():
        return
    try:
        text = read_bytes(path, 1 << 30).decode("utf-8")
        header, *rows = list(csv.reader(text.splitlines())) or [["updates"]]
        left = [row for row in rows if row and float(row[0]) <= updates]
        if header[:1] != ["updates"]:
            raise ValueError(f"it begins with {shown(header[:1])}, not with 'updates'")
    except (ValueError, csv.Error) as error:
        raise FileError(f"{path}: not a training log ({error}); move it, or log to another folder") from error
    if not left:
        path.unlink()
    elif len(left) < len(rows):
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows([header, *left])
        write(path, lines.getvalue().encode())
