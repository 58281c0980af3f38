"""`trivium compare`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from ctrl.commands.announce import say
from ctrl.commands.misuse import Misuse, short_name, tell
from ctrl.commands.verify import PROOF_SECONDS

__all__ = ["Compare"]

STANDARD = ("lqr", "linear-mpc", "nonlinear-mpc", "dsact")
"""One controller of each kind; tasks that need other controllers have their own comparison."""


@dataclass(frozen=True)
class Compare:
    """Compare controllers on one task, with the same initial states and disturbances; print a table and write a folder
    of results.

    For example:
      trivium compare cartpole
      trivium compare cartpole --controllers lqr nonlinear-mpc --starts 200 --true pole_mass=0.15
      trivium compare my_plant.py:task --controllers lqr my_controller.py:Relay
      trivium compare cartpole --robustness

    Ctrl-C stops it and prints the command with --out DIR that resumes it without repeating finished runs.

    Exit status: 0 every controller ran or does not apply; 1 a controller failed; 2 misuse; 130 interrupted.
    """

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")]
    """Name of a task (see `trivium list`), or path/to/file.py:MyTask, or module:MyTask."""
    controllers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Names of controllers, path/to/file.py:MyController, or trained policies, path/to/my.policy; default: the
    task's own comparison (see `trivium list`), if it has one; otherwise lqr, linear-mpc, nonlinear-mpc and dsact."""
    starts: int | None = None
    """Number of initial states, drawn from the task's distribution; default: that of the task's own comparison, or
    128."""
    seed: int = 0
    """Seed of initial states and disturbances."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the results; an interrupted comparison is resumed there. Default: a new one, runs/TASK-TIME."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Number of processes for controllers that cannot compute a batch of states; default: the number of free cores."""
    true: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")] = ()
    """Parameters of the simulated plant, name=value, that differ from the controllers' model."""
    proof_seconds: float = PROOF_SECONDS
    """Time limit of each proof, per controller with a control law and per Lyapunov candidate, as in `trivium verify`; 0
    to skip proofs."""
    report: bool = True
    """Write report.html, one page that explains the results and needs no network."""
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Train every learner with N seeds, 0 to N - 1, and add learning curves with bands to the report. The table shows
    seed 0."""
    robustness: bool = False
    """After the comparison, run the controllers in loops that differ from their task in parameters, disturbances, noise
    or delay, and add curves to the report. The estimated time is printed first."""
    films: bool = False
    """Add films of one run under every controller to the report and save them as GIFs, if the plant has a drawing."""

    def run(self) -> int:
        import shlex

        from rich.console import Console

        from ctrl.cells.interrupt import ends_promptly
        from ctrl.certify import proved_region
        from ctrl.commands.additions import additions
        from ctrl.commands.true_plant import with_true_parameters
        from ctrl.comparison import compare
        from ctrl.comparison.results import reserved
        from ctrl.comparison.store import FOLDER
        from ctrl.comparison.table import columns
        from ctrl.discovery import load_task
        from systems.files import kept

        if self.seeds < 1:
            raise Misuse(f"--seeds {self.seeds}; expected at least 1, the number of trainings of every learner")
        if not self.proof_seconds >= 0:
            raise Misuse(f"--proof-seconds {self.proof_seconds:g}; expected 0 or more")
        proof = partial(proved_region, seconds=self.proof_seconds) if self.proof_seconds else None
        task = with_true_parameters(load_task(self.task), self.true)
        spec, broken = _spec(self.controllers, task.name)
        starts = spec.starts if self.starts is None else self.starts
        with reserved(self.out, task) as folder:  # a fault here must show before the work
            command = ["trivium", *sys.argv[1:], *(() if self.out else ("--out", str(folder)))]
            go_on = f"finished runs are stored in {folder}; to resume: {shlex.join(command)}"
            try:
                with ends_promptly(go_on):
                    comparison = compare(
                        task, spec.controllers, starts, self.seed, self.workers, proof, out=folder, announce=say
                    )
            except KeyboardInterrupt:
                raise KeyboardInterrupt(go_on if (folder / FOLDER).exists() else "") from None
            try:
                Console(width=columns()).print(comparison)
                for name, reason in broken.items():
                    print(f"{name}: not available, {reason}")
                sys.stdout.flush()
            finally:  # whatever became of the output
                sources = {task.name: self.task} | shown_names(self.controllers)
                saved = kept(folder, partial(_save, comparison, self.report, self.logs(), sources))
            tell(saved)
            ran = {name: spec.controllers[name] for name in comparison.runs}
            try:
                with ends_promptly(go_on):
                    more = additions(
                        comparison, ran, folder, self.workers, self.seed, self.seeds, self.robustness, self.films
                    )
            except KeyboardInterrupt:
                raise KeyboardInterrupt(go_on) from None
            if more is not None and self.report:
                write = partial(_report, comparison, self.logs(), sources, more)
                tell(kept(folder, write))
        return 1 if comparison.failed or (more is not None and more.failed) else 0

    def logs(self) -> dict[str, Path]:
        """The training logs stored beside the compared policies."""
        from ctrl.report.learning import LOG

        named = shown_names(self.controllers)
        beside = {shown: Path(name).parent / LOG for shown, name in named.items() if name.endswith(".policy")}
        return {name: path for name, path in beside.items() if path.is_file()}


def _save(comparison: Any, report: bool, logs: Mapping[str, Path], sources: Mapping[str, str], place: Path) -> None:
    """Writes all results to a folder."""
    from ctrl.comparison.results import save
    from ctrl.report import write_report

    command = ["trivium", *sys.argv[1:]]
    save(comparison, place, command)
    if report:
        write_report(comparison, place, command, logs, sources)


def _report(comparison: Any, logs: Mapping[str, Path], sources: Mapping[str, str], more: Any, place: Path) -> None:
    """Writes the report again with the additions."""
    from ctrl.report import write_report

    write_report(comparison, place, ["trivium", *sys.argv[1:]], logs, sources, more)


def shown_names(names: Sequence[str]) -> dict[str, str]:
    """Names of controllers on the command line, by the names shown in tables: short ones if these are distinct.

    Args:
        names: as on the command line.
    """
    short = [short_name(name) for name in names]
    return {name if short.count(brief) > 1 else brief: name for name, brief in zip(names, short, strict=True)}


def _spec(names: tuple[str, ...], task: str) -> tuple[Any, Mapping[str, str]]:
    """Controllers by name. Requested ones must load; broken ones that were not requested are listed."""
    from ctrl.comparison import ComparisonSpec
    from ctrl.discovery import BrokenEntryPoint, entry_points, load
    from ctrl.sources import load_identified

    if names:
        return ComparisonSpec({shown: load_identified(name) for shown, name in shown_names(names).items()}), {}
    if task in entry_points("trivium.comparisons"):
        own = load("trivium.comparisons", task)()
        return own if isinstance(own, ComparisonSpec) else ComparisonSpec(dict(own)), {}
    installed = entry_points("trivium.controllers")
    loaded, broken = {}, {}
    for name in [name for name in STANDARD if name in installed] or installed:
        try:
            loaded[name] = load_identified(name)
        except BrokenEntryPoint as error:
            broken[name] = str(error)
    if not loaded:
        reasons = "; ".join(broken.values()) or "none is installed; pip install -e . registers them"
        raise Misuse(f"no controllers to compare: {reasons}")
    return ComparisonSpec(loaded), broken
