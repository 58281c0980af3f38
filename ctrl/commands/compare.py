"""`trivium compare`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from ctrl.commands.misuse import Misuse, short_name, tell
from ctrl.commands.verify import PROOF_SECONDS

__all__ = ["Compare"]

STANDARD = ("lqr", "linear-mpc", "nonlinear-mpc", "dsact")
"""One of each kind; a task that asks another question has a comparison of its own."""


@dataclass(frozen=True)
class Compare:
    """Run controllers on one task from the same starts under the same disturbances; print a table, write a folder.

    For example:
      trivium compare cartpole
      trivium compare cartpole --controllers lqr nonlinear-mpc --starts 200 --true pole_mass=0.15
      trivium compare my_plant.py:task --controllers lqr my_controller.py:Relay

    Exit status: 0 all controllers ran or do not apply; 1 one that should run failed; 2 misuse.
    """

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")]
    """Name of a task (see `trivium list`), or path/to/file.py:MyTask, or module:MyTask."""
    controllers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Names of controllers, path/to/file.py:MyController, or trained policies, path/to/my.policy; default: the
    comparison that belongs to the task (see `trivium list`), else lqr, linear-mpc, nonlinear-mpc and dsact."""
    starts: int | None = None
    """Number of initial states, drawn from the task's distribution; default: as in the task's comparison, else 128."""
    seed: int = 0
    """Of starts and disturbances."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the results; default: a new one, runs/TASK-TIME."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Processes for controllers that cannot answer many states at once; default: as many as there are cores."""
    true: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")] = ()
    """Parameters of the true plant, name=value, that differ from those the controllers know."""
    proof_seconds: float = PROOF_SECONDS
    """To spend on each proof of a controller that has a law, of every candidate for a Lyapunov function, as `trivium
    verify` does; 0 for none."""

    def run(self) -> int:
        from rich.console import Console

        from ctrl.certify import proved_region
        from ctrl.comparison import compare
        from ctrl.comparison.results import reserved, save
        from ctrl.comparison.table import WIDTH
        from ctrl.discovery import load_task
        from systems.files import kept

        if not self.proof_seconds >= 0:
            raise Misuse(f"--proof-seconds {self.proof_seconds:g}; expected 0 or more")
        proof = partial(proved_region, seconds=self.proof_seconds) if self.proof_seconds else None
        task = _with_truth(load_task(self.task), self.true)
        spec, broken = _spec(self.controllers, task.name)
        starts = spec.starts if self.starts is None else self.starts
        with reserved(self.out, task) as folder:  # a fault here must show before the work
            comparison = compare(task, spec.controllers, starts, self.seed, self.workers, proof)
            try:
                console = Console()
                Console(width=console.width if console.is_terminal else WIDTH).print(comparison)
                for name, reason in broken.items():
                    print(f"{name}: not available, {reason}")
                sys.stdout.flush()
            finally:  # whatever became of the output
                saved = kept(folder, lambda place: save(comparison, place, ["trivium", *sys.argv[1:]]))
        tell(saved)
        return 1 if comparison.failed else 0


def _spec(names: tuple[str, ...], task: str) -> tuple[Any, Mapping[str, str]]:
    """Controllers by name. One that is asked for must load; of those nobody asked for, the broken ones are listed."""
    from ctrl.comparison import ComparisonSpec
    from ctrl.discovery import BrokenEntryPoint, entry_points, load

    if names:
        shown = [short_name(name) for name in names]
        shown = [name if shown.count(short) > 1 else short for name, short in zip(names, shown, strict=True)]
        return ComparisonSpec(
            {short: load("trivium.controllers", name) for name, short in zip(names, shown, strict=True)}
        ), {}
    if task in entry_points("trivium.comparisons"):
        own = load("trivium.comparisons", task)()
        return own if isinstance(own, ComparisonSpec) else ComparisonSpec(dict(own)), {}
    installed = entry_points("trivium.controllers")
    loaded, broken = {}, {}
    for name in [name for name in STANDARD if name in installed] or installed:
        try:
            loaded[name] = load("trivium.controllers", name)
        except BrokenEntryPoint as error:
            broken[name] = str(error)
    if not loaded:
        reasons = "; ".join(broken.values()) or "none is installed; pip install -e . registers them"
        raise Misuse(f"no controllers to compare: {reasons}")
    return ComparisonSpec(loaded), broken


def _with_truth(task: Any, changes: tuple[str, ...]) -> Any:
    """The task with some parameters of the true plant changed."""
    import dataclasses

    from systems import UnknownName

    if not changes:
        return task
    plant, values = task.truth or task.plant, {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in plant.parameters:
            raise UnknownName.among(name, plant.parameters, f"parameter of {plant.name}")
        try:
            values[name] = float(text)
        except ValueError:
            raise Misuse(f"--true {change}; expected name=value with a number, such as {name}=1.5") from None
    return task.with_truth(dataclasses.replace(plant, **values))
