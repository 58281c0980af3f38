"""The result of a tuning: every trial, the best one of each controller, and controllers made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from ctrl.cells.identity import Identified
from ctrl.comparison.draws import draw_all, expect_unseen
from ctrl.sweep.cell import SweepCell
from ctrl.sweep.grid import grid
from ctrl.tuning.tuned import TuningRuns, tuned
from systems.files import json_text, write

__all__ = ["Trial", "Tuning"]


@final
@dataclass(frozen=True)
class Trial:
    """One evaluation.

    Args:
        weights: factors of the task's weights, by signal.
        settings: arguments of the factory.
        cost: mean of the task's own cost over the runs; None if the trial failed.
        broken: number of runs that violate a constraint, leave the domain or diverge.
        failed: why it has no result; empty if it has one.
    """

    weights: Mapping[str, float]
    settings: Mapping[str, Any]
    cost: float | None
    broken: int
    failed: str = ""


@final
@dataclass(frozen=True, eq=False)
class Tuning:
    """The trials of every controller on one task. The first is that of the task's own weights and default settings.

    Args:
        runs: of every trial.
        factories: of the controllers that were tuned, by name.
        trials: of each, in order.
        skipped: why a controller was not tuned, by name.
    """

    runs: TuningRuns
    factories: Mapping[str, Identified]
    trials: Mapping[str, tuple[Trial, ...]]
    skipped: Mapping[str, str]

    def best(self, name: str) -> Trial:
        """The trial of the lowest cost, of those with no more broken runs than the first one, or, if that failed, with
        the fewest.

        Args:
            name: of the controller.
        """
        ended = [trial for trial in self.trials[name] if trial.cost is not None]
        first = self.trials[name][0]
        allowed = first.broken if first.cost is not None else min(trial.broken for trial in ended)
        return min((trial for trial in ended if trial.broken <= allowed), key=lambda trial: trial.cost or 0.0)

    @property
    def controllers(self) -> dict[str, Identified]:
        """Factories with the best weights and settings, by name, which state in their knowledge how they were tuned."""
        best = {name: self.best(name) for name in self.factories}
        return {
            name: tuned(factory, best[name].weights, best[name].settings, self.runs)
            for name, factory in self.factories.items()
        }

    @property
    def note(self) -> str:
        """The line below a table with tuned controllers."""
        return (
            f"tuned: the same {self.runs} for each controller, none of them in the table; of the trials with no more "
            "broken runs than with the task's own weights, that of the lowest cost of the task"
        )

    def cells(
        self, starts: int, seeds: Sequence[int], true: Mapping[str, Sequence[float]] | None = None
    ) -> list[SweepCell]:
        """Cells of a sweep: each controller as it was and tuned.

        Args:
            starts, seeds, true: see :func:`ctrl.sweep.grid`.

        Raises:
            InvalidValue: some of the runs are those of the tuning.
        """
        task, chosen, made = self.runs.task, self.controllers, list[SweepCell]()
        new = draw_all(task, starts, seeds)
        for name, factory in self.factories.items():
            expect_unseen(name, chosen[name].factory, new)
            made += grid([task], {name: factory}, starts, seeds, true)
            made += grid([task], {f"{name} tuned": chosen[name]}, starts, seeds, true)
        return made

    def save(self, folder: str | Path) -> Path:
        """Writes ``tuning-TASK.json`` with all trials, and returns its path.

        Args:
            folder: where to; created if it does not exist.
        """
        path = Path(folder) / f"tuning-{self.runs.task.name}.json"
        held = {
            "task": self.runs.task.name,
            "note": self.note,
            "controllers": {
                name: {"best": asdict(self.best(name)), "trials": [asdict(trial) for trial in self.trials[name]]}
                for name in self.factories
            },
            "skipped": dict(self.skipped),
        }
        write(path, json_text(held).encode())
        return path

    def __str__(self) -> str:
        lines = []
        for name in self.factories:
            best, first = self.best(name), self.trials[name][0]
            own = "failed" if first.cost is None else f"{first.cost:.4g}"
            parts = [f"{signal} x {factor:g}" for signal, factor in best.weights.items()]
            parts += [f"{setting} = {value}" for setting, value in best.settings.items()]
            lowest = f"{best.cost:.4g} with {', '.join(parts)}" if best is not first else "none lower"
            lines.append(f"{name}: cost {own} with the task's own weights; {lowest}")
        lines += [f"{name}: not tuned, {reason}" for name, reason in self.skipped.items()]
        return "\n".join([*lines, self.note])
