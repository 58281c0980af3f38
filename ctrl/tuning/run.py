"""Runs the trials of a tuning; finished ones are stored, and an interrupted tuning resumes from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, final

import numpy as np

from ctrl.cells import Engine, Here
from ctrl.cells.identity import Identified, identified
from ctrl.comparison.progress import Progress, about
from ctrl.sweep.cell import SweepCell
from ctrl.sweep.grid import expect_settings
from ctrl.sweep.store import SweepStore
from ctrl.tuning.parameters import Range, tunable_weights
from ctrl.tuning.results import Trial, Tuning
from ctrl.tuning.search import Search
from ctrl.tuning.tuned import TuningRuns, tuned
from systems import InvalidValue, Task, UnknownName
from systems.arguments import expect_seed, expect_whole
from systems.errors import expect

__all__ = ["SEED", "STARTS", "tune"]

STARTS = 16
"""Initial states of every trial."""

SEED = 10_000
"""Of the initial states and disturbances of a tuning, far from the seeds that comparisons have."""

_AT_ONCE = 4  # trials of a controller that are proposed together, whatever the number of workers


def tune(
    task: Task,
    controllers: Mapping[str, Any],
    trials: int,
    starts: int = STARTS,
    seed: int = SEED,
    ranges: Mapping[str, Mapping[str, Range]] | None = None,
    engine: Engine | None = None,
    out: str | Path | None = None,
    announce: Callable[[str], None] | None = None,
) -> Tuning:
    """Searches for the weights, and the settings, with which each controller has the lowest cost of the task.

    Every controller has the same number of trials, each on the same runs of the nominal plant. What is tuned are
    the weights that the controller sees; the cost that counts is always the task's own. The result follows from the
    arguments, whatever the engine.

    Args:
        task: of the runs.
        controllers: factories by name.
        trials: of each controller; the first is that of the task's own weights.
        starts: number of initial states of every trial; default: 16.
        seed: of initial states and disturbances, and of the search; default: 10000.
        ranges: of arguments of a factory, by controller and name; default: none.
        engine: runs the trials; default: this process.
        out: folder in which finished trials are stored; an interrupted tuning resumes from there, also with more
            trials. Default: nothing is stored.
        announce: called with lines about the plan; default: they are printed on a terminal.

    Raises:
        InvalidValue: a task without weights by signal, for a controller without ranges.
        UnknownName: a range for an unknown controller or argument.
        OptunaMissing: Optuna is not installed.
        OutputError: `out` holds trials with another number of starts or of other versions.
    """
    expect(task, Task, "the task of a tuning", "such as systems.library.cartpole()")
    trials, starts = expect_whole(trials, "trials", least=1), expect_whole(starts, "starts", least=1)
    seed, ranges = expect_seed(seed, "the seed of a tuning"), ranges or {}
    made = {name: identified(name, given) for name, given in controllers.items()}
    if not made:
        raise InvalidValue("no controllers to tune; expected at least one factory by its name")
    for name, own in ranges.items():
        if name not in made:
            raise UnknownName.among(name, made, "controller of the tuning")
        expect_settings(name, made[name], own)
    weights = tunable_weights(task)
    for name in made:
        if not weights and not ranges.get(name):
            raise InvalidValue(
                f"task '{task.name}': its cost has no weights by signal, so nothing of {name} can be tuned; expected "
                "Quadratic, or ranges of settings of every controller"
            )
    nominal = dataclasses.replace(task, truth=None)  # the true plant is unknown to controllers
    work = {
        name: _Work(nominal, name, factory, Search(weights, ranges.get(name, {}), seed), starts, seed)
        for name, factory in made.items()
    }
    engine = Here() if engine is None else engine
    store = None if out is None else SweepStore(Path(out), starts)
    began = perf_counter()
    with Progress(list(work), trials) as progress:
        say = progress.say if announce is None else announce
        say(
            f"tuning {', '.join(made)} on {task.name}: {trials} trials each, with {starts} runs of seed {seed}, of "
            f"{', '.join([*(f'the weight of {signal}' for signal in weights), *_listed(ranges)])}"
        )
        advance = {name: progress.advance(name) for name in work}
        done = 0
        while done < trials:
            count = min(_AT_ONCE, trials - done)
            _round([w for w in work.values() if not w.skipped], count, engine, store)
            done += count
            for name, each in work.items():
                if not each.skipped:
                    advance[name](count)
            if done == _AT_ONCE < trials:
                say(f"{about((perf_counter() - began) / done * (trials - done))} to go; Ctrl-C stops")
    for each in work.values():
        if not each.skipped and all(trial.cost is None for trial in each.trials):
            each.skipped = f"every trial failed: {each.trials[0].failed}"
    ran = {name: each for name, each in work.items() if not each.skipped}
    skipped = {name: each.skipped for name, each in work.items() if each.skipped}
    tried = {name: tuple(each.trials) for name, each in ran.items()}
    return Tuning(TuningRuns(task, trials, starts, seed), {name: made[name] for name in ran}, tried, skipped)


@final
@dataclass
class _Work:
    """The tuning of one controller so far."""

    task: Task
    name: str
    factory: Identified
    search: Search
    starts: int
    seed: int
    trials: list[Trial] = field(default_factory=list)
    skipped: str = ""

    def propose(self) -> _Proposal:
        asked, weights, settings = self.search.ask()
        factory = tuned(self.factory, weights, settings)
        return _Proposal(
            self, asked, weights, settings, SweepCell(self.task, "", self.name, factory, self.starts, self.seed)
        )


@final
@dataclass(eq=False)
class _Proposal:
    """A trial that was proposed, and its cell."""

    work: _Work
    asked: Any
    weights: dict[str, float]
    settings: dict[str, Any]
    cell: SweepCell
    result: dict[str, Any] | None = None
    failed: str = ""
    skipped: str = ""

    def end(self) -> None:
        """Tells the search."""
        if not self.work.trials and self.skipped:
            self.work.skipped = self.skipped
        cost = None if self.result is None else float(np.mean(self.result["cost"]))
        broken = 0 if self.result is None else int(self.result["broken"])
        cost = None if cost is None or np.isnan(cost) else cost
        self.work.search.tell(self.asked, cost, broken)
        failed = self.failed or self.skipped or ("" if cost is not None else "its cost is not a number")
        self.work.trials.append(Trial(self.weights, self.settings, cost, broken, failed))


def _round(work: list[_Work], count: int, engine: Engine, store: SweepStore | None) -> None:
    """Some trials of every controller. All are proposed before any is told, so nothing depends on which ends first."""
    proposals = [each.propose() for each in work for _ in range(count)]
    missing = []
    for proposal in proposals:
        proposal.result = None if store is None else store.read(proposal.cell)
        if proposal.result is None:
            missing.append(proposal)
    with closing(engine.run([proposal.cell for proposal in missing])) as ends:
        for ended in ends:
            proposal = missing[ended.index]
            proposal.result, proposal.failed, proposal.skipped = ended.value, ended.failed, ended.skipped
            if store is not None and ended.value is not None:
                store.keep(proposal.cell, ended.value)
    for proposal in proposals:
        proposal.end()


def _listed(ranges: Mapping[str, Mapping[str, Range]]) -> list[str]:
    return [f"{name} of {controller}" for controller, own in ranges.items() for name in own]
