"""`trivium sweep`."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ctrl.commands.announce import say
from ctrl.commands.misuse import Misuse, short_name, tell

if TYPE_CHECKING:
    from ctrl.cells import Engine
    from ctrl.sweep import SweepCell
    from ctrl.tuning import Range
    from systems import Task

__all__ = ["SweepCommand"]


@dataclass(frozen=True)
class SweepCommand:
    """Run every combination of tasks, true plants, controllers, tunings and seeds; print one table, write JSON and CSV.

    For example:
      trivium sweep cartpole pendulum --controllers lqr nonlinear-mpc --seeds 0 1 2
      trivium sweep cartpole --controllers lqr nonlinear-mpc --true pole_mass=0.1,0.15
      trivium sweep cartpole --controllers lqr nonlinear-mpc --tune nonlinear-mpc:horizon=10,20
      trivium sweep cartpole --controllers lqr dsact --training-seeds 0 1 2
      trivium sweep cartpole --controllers lqr nonlinear-mpc --trials 40 --tune nonlinear-mpc:horizon=10..40

    Ctrl-C stops it and prints the command with --out DIR that resumes it without repeating finished cells.

    Exit status: 0 every cell ran or does not apply; 1 a cell failed; 2 misuse; 130 interrupted.
    """

    tasks: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="TASK ...")]
    """Names of tasks (see `trivium list`), or path/to/file.py:MyTask, or module:MyTask."""
    controllers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ("lqr", "linear-mpc", "nonlinear-mpc")
    """Names of controllers, path/to/file.py:MyController, or trained policies, path/to/my.policy."""
    starts: int = 32
    """Number of initial states for each seed, drawn from the task's distribution."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of initial states and disturbances, the same for every controller."""
    true: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE,... ...")] = ()
    """Values of parameters of the simulated plant, which controllers do not know; all combinations are run."""
    tune: Annotated[tuple[str, ...], tyro.conf.arg(metavar="CONTROLLER:NAME=VALUE,... ...")] = ()
    """Values of arguments of a controller's constructor; all combinations are run. With --trials, a range LOW..HIGH."""
    trials: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Trials to tune each controller: the weights that it sees, and the settings given by --tune. The table compares it
    with the task's own weights on other runs (needs the extra `tuning`)."""
    tuning_starts: int = 16
    """Number of initial states of every trial."""
    tuning_seed: int = 10_000
    """Seed of the trials; none of the seeds in the table."""
    training_seeds: tuple[int, ...] = ()
    """Seeds for every controller whose constructor takes one, such as dsact, which is trained with each of them."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the results; an interrupted sweep is resumed there. Default: a new one, runs/sweep-TIME."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Number of processes; default: the number of free cores."""
    engine: Literal["joblib", "ray"] = "joblib"
    """Engine that runs the cells: processes of this machine, or a Ray cluster (needs the extra `cluster`)."""
    address: str | None = None
    """Address of an existing Ray cluster, such as ray://head:10001; default: a local one."""

    def run(self) -> int:
        from rich.console import Console

        from ctrl.cells.interrupt import ends_promptly
        from ctrl.comparison.results import prepare
        from ctrl.comparison.table import columns
        from ctrl.discovery import load_task
        from ctrl.sources import load_identified
        from ctrl.sweep import grid, sweep
        from systems.files import free, kept, locked

        if not self.tasks:
            raise Misuse("no task given; expected at least one, such as cartpole (see `trivium list`)")
        if self.address is not None and self.engine != "ray":
            raise Misuse(f"--address {self.address} is that of a Ray cluster; give --engine ray as well")
        loaded = {short_name(name): load_identified(name) for name in self.controllers}
        if len(loaded) < len(self.controllers):
            raise Misuse(f"--controllers {' '.join(self.controllers)}: two of them have the same short name")
        tasks, true = [load_task(name) for name in self.tasks], _true(self.true)
        ranges = self._ranges()
        cells = [] if self.trials else grid(
            tasks, loaded, self.starts, self.seeds, true, _settings(self.tune, self.training_seeds, loaded)
        )  # fmt: skip
        folder = free(Path("runs") / f"sweep-{time.strftime('%Y%m%d-%H%M%S')}") if self.out is None else self.out
        command = ["trivium", *sys.argv[1:], *(() if self.out else ("--out", str(folder)))]
        go_on = f"finished cells are stored in {folder}; to resume: {shlex.join(command)}"
        with locked(folder):
            prepare(folder)
            try:
                with ends_promptly(go_on):
                    engine = self._engine()
                    notes: tuple[str, ...] = ()
                    if self.trials:
                        cells, notes = self._tuned(tasks, loaded, true, ranges, engine, folder)
                    done = replace(sweep(cells, engine, folder, say), notes=notes)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(go_on if (folder / "cells").exists() else "") from None
            try:
                Console(width=columns()).print(done)
                sys.stdout.flush()
            finally:  # whatever became of the output
                saved = kept(folder, done.save)
        tell(saved)
        return 1 if done.failed else 0

    def _ranges(self) -> dict[str, dict[str, Range]]:
        """Ranges of settings, by controller."""
        if not self.trials:
            if unused := [text for text in self.tune if ".." in text]:
                raise Misuse(f"--tune {unused[0]} is a range; say how many trials of it: --trials N")
            return {}
        if self.training_seeds:
            raise Misuse("--training-seeds and --trials; tune first, then train with the settings that were found")
        from ctrl.tuning import Range

        ranges: dict[str, dict[str, Range]] = {}
        for text in self.tune:
            controller, name, limits = _parts(text, "controller:name=low..high, such as nonlinear-mpc:horizon=10..40")
            low, dots, high = limits.partition("..")
            try:
                ranges.setdefault(controller, {})[name] = Range(_number(low), _number(high))
            except ValueError as error:
                reason = str(error) if dots else "expected a range, low..high"
                raise Misuse(f"--tune {text} with --trials: {reason}") from None
        return ranges

    def _tuned(
        self, tasks: list[Task], loaded: dict[str, Any], true: dict[str, list[float]],
        ranges: dict[str, dict[str, Range]], engine: Engine, folder: Path,
    ) -> tuple[list[SweepCell], tuple[str, ...]]:  # fmt: skip
        """Cells of the controllers before and after their tuning, and what the table says of it."""
        from ctrl.tuning import tune

        cells: list[SweepCell] = []
        notes: list[str] = []
        for task in tasks:
            tuning = tune(
                task, loaded, self.trials, self.tuning_starts, self.tuning_seed, ranges, engine, folder / "tuning", say
            )
            tuning.save(folder)
            cells += tuning.cells(self.starts, self.seeds, true)
            notes += [tuning.note, *(f"{name}: {reason}" for name, reason in tuning.skipped.items())]
        return cells, tuple(dict.fromkeys(notes))

    def _engine(self) -> Any:
        if self.engine == "ray":
            from ctrl.cells.ray_engine import RayEngine

            return RayEngine(self.address, self.workers)
        from ctrl.commands.additions import engine

        return engine(self.workers)


def _true(given: tuple[str, ...]) -> dict[str, list[float]]:
    values = {}
    for text in given:
        name, _, listed = text.partition("=")
        try:
            values[name] = [float(value) for value in listed.split(",")]
        except ValueError:
            raise Misuse(f"--true {text}; expected name=value,value with numbers, such as mass=1,1.5") from None
    return values


def _settings(
    tune: tuple[str, ...], seeds: tuple[int, ...], loaded: Mapping[str, Any]
) -> dict[str, dict[str, list[Any]]]:
    """Values of arguments, by controller."""
    from ctrl.sweep.training import is_trained

    settings: dict[str, dict[str, list[Any]]] = {}
    for text in tune:
        controller, name, listed = _parts(text, "controller:name=value,value, such as nonlinear-mpc:horizon=10,20")
        settings.setdefault(controller, {})[name] = [_value(value) for value in listed.split(",")]
    if seeds:
        trained = [name for name, given in loaded.items() if is_trained(given)]
        if not trained:
            raise Misuse("--training-seeds given, but no controller of the sweep is trained with a seed, as dsact is")
        for name in trained:
            settings.setdefault(name, {})["seed"] = list(seeds)
    return settings


def _parts(text: str, expected: str) -> tuple[str, str, str]:
    """Controller, name of its argument, and what is given for it."""
    controller, _, setting = text.rpartition(":")
    name, equals, given = setting.partition("=")
    if not (controller and equals and given):
        raise Misuse(f"--tune {text}; expected {expected}")
    return controller, name, given


def _number(text: str) -> float:
    return int(text) if text.removeprefix("-").isdecimal() else float(text)


def _value(text: str) -> Any:
    """A number, true, false or null in JSON notation, otherwise the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
