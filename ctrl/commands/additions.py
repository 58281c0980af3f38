"""Optional additions of `trivium compare` to a comparison: training seeds, robustness, films."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from ctrl.cells import Engine, Here, Identified, Processes
from ctrl.cells.identity import identified
from ctrl.commands.announce import say
from ctrl.comparison import Comparison
from ctrl.comparison.progress import about
from ctrl.comparison.table import columns
from ctrl.comparison.workers import cores
from ctrl.report.additions import Additions
from ctrl.report.films import shown_run
from ctrl.robustness import Robustness, robustness
from ctrl.robustness.run import STARTS
from ctrl.sweep import Sweep, sweep
from ctrl.sweep.training import is_trained, training_cells
from systems.drawing import is_drawn, scenes, write_film

__all__ = ["additions", "engine"]

_FRAMES = 60  # of a film in a file of its own


def additions(
    comparison: Comparison,
    controllers: Mapping[str, Any],
    folder: Path,
    workers: int | None,
    seed: int,
    seeds: int,
    with_robustness: bool,
    with_films: bool,
) -> Additions | None:
    """Runs and prints the additions that were requested; None if there were none.

    Args:
        comparison: its results.
        controllers: factories of those that ran, by name.
        folder: of its results, in which finished cells are stored.
        workers: number of processes; None for the number of free cores.
        seed: of initial states and disturbances.
        seeds: number of trainings of every learner.
        with_robustness: whether to run loops that differ from the task of the controllers.
        with_films: whether to make films of one run.
    """
    if seeds < 2 and not with_robustness and not with_films:
        return None
    made = {name: identified(name, given) for name, given in controllers.items()}
    runs_cells = engine(workers)
    trainings = _trainings(comparison, made, seeds, seed, runs_cells, folder / "trainings") if seeds > 1 else None
    curves = _robustness(comparison, made, seed, runs_cells, folder / "robustness") if with_robustness else None
    return Additions(curves, trainings, with_films and _films(comparison, folder / "films"))


def engine(workers: int | None) -> Engine:
    """Processes of this machine, or this process alone if there is one worker.

    Args:
        workers: their number; None for the number of free cores.
    """
    count = cores() if workers is None else workers
    return Here() if count == 1 else Processes(count)


def _trainings(
    comparison: Comparison, made: Mapping[str, Identified], seeds: int, seed: int, runs_cells: Engine, place: Path
) -> Sweep | None:
    """Results of the learners with several seeds; None if nothing is trained."""
    learners = {name: factory for name, factory in made.items() if is_trained(factory)}
    if not learners:
        say(f"--seeds {seeds}: none of {', '.join(made)} is trained with a seed, such as dsact")
        return None
    # Seed 0 is trained already, so another one runs first, from whose time that of the others is estimated.
    order = [*range(1, seeds), 0]
    say(
        f"training {', '.join(learners)} with seeds {', '.join(map(str, order[:-1]))}; "
        "the total time is estimated after the first"
    )
    cells = training_cells(comparison.task, learners, order, len(comparison.starts), seed)
    result = sweep(cells, runs_cells, place, say)
    result.save(place)
    Console(width=columns()).print(result)
    return result


def _robustness(
    comparison: Comparison, made: Mapping[str, Identified], seed: int, runs_cells: Engine, place: Path
) -> Robustness:
    """Robustness curves of the controllers."""
    say(f"robustness of {', '.join(made)} on {comparison.task.name}")
    starts = min(STARTS, len(comparison.starts))
    result = robustness(comparison.task, made, starts, seed, None, runs_cells, place, say)
    result.save(place)
    Console(width=columns()).print(result)
    return result


def _films(comparison: Comparison, place: Path) -> bool:
    """Writes a GIF for every controller; False if the plant has no drawing."""
    task = comparison.task
    if not is_drawn(task):
        say(f"--films: {task.plant.name} has no drawing; give its class a method drawing(x, u), see docs/report.md")
        return False
    run, began = shown_run(comparison), time.perf_counter()
    place.mkdir(parents=True, exist_ok=True)
    drawn = scenes(task, list(comparison.runs.values()), run, _FRAMES)
    for i, (name, scene) in enumerate(zip(comparison.runs, drawn, strict=True)):
        file = write_film(scene, place / f"{i + 1}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:60]}.gif")
        left = (time.perf_counter() - began) * (len(drawn) - i - 1)
        say(f"film {i + 1} of {len(drawn)}: {file}" + (f"; {about(left)} to go" if not i and len(drawn) > 1 else ""))
    return True
