"""The command line: ``trivium compare | list | check | train | verify``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro

# Everything slow is imported by the command that needs it, so that --help answers at once.

__all__ = ["main"]

STANDARD = ("lqr", "linear-mpc", "nonlinear-mpc", "dsact")
"""One of each kind; a task that asks another question has a comparison of its own."""


@dataclass(frozen=True)
class Compare:
    """Run controllers on one task from the same starts under the same disturbances; print a table, write a folder.

    Examples:
      trivium compare cartpole
      trivium compare cartpole --controllers lqr nonlinear-mpc --starts 200 --true pole_mass=0.15
      trivium compare my_plant.py:task --controllers lqr my_law.py:Relay
    """

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")]
    """Name of a task (see `trivium list`), or path/to/file.py:MyTask, or module:MyTask."""
    controllers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Names of controllers, path/to/file.py:MyController, or trained policies, path/to/my.policy. Where left out, the
    comparison that belongs to the task (see `trivium list`), else lqr, linear-mpc, nonlinear-mpc and dsact."""
    starts: int | None = None
    """Initial states, drawn from the task's law; as many as the task's own comparison says, else 128."""
    seed: int = 0
    """Of starts and disturbances."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the results; runs/TASK-TIME where left out."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Processes for controllers that cannot answer many states at once; as many as cores where left out."""
    true: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")] = ()
    """Parameters of the plant that really runs, name=value, where they differ from what controllers are told."""

    def run(self) -> int:
        from rich.console import Console

        from ctrl.certify import proved_region
        from ctrl.comparison import compare
        from ctrl.comparison.results import default_folder, reserved, save
        from ctrl.comparison.table import WIDTH
        from ctrl.discovery import load_task

        task = _with_truth(load_task(self.task), self.true)
        programme, broken = _programme(self.controllers, task.name)
        starts = programme.starts if self.starts is None else self.starts
        with reserved(self.out or default_folder(task), task) as folder:  # a fault here must show before the work
            comparison = compare(task, programme.controllers, starts, self.seed, self.workers, proof=proved_region)
            console = Console()
            Console(width=console.width if console.is_terminal else WIDTH).print(comparison)
            for name, reason in broken.items():
                print(f"{name}: not available, {reason}")
            print(f"saved: {save(comparison, folder, ['trivium', *sys.argv[1:]])}")
        return 1 if comparison.failed else 0


@dataclass(frozen=True)
class List:
    """List the tasks, controllers, comparisons and learners that are installed."""

    def run(self) -> int:
        from ctrl.discovery import BrokenEntryPoint, Group, entry_points, load

        wrong = 0
        for group in get_args(Group):
            print(group.removeprefix("trivium."))
            found = entry_points(group)
            if not found:
                print("  none is installed; pip install -e . registers them")
            for name, point in found.items():
                try:
                    described = (load(group, name).__doc__ or "").strip().split("\n")[0]
                except BrokenEntryPoint as error:
                    described, wrong = f"BROKEN: {error}", 1
                print(f"  {name:<20} {point.value:<40} {described}")
        return wrong


@dataclass(frozen=True)
class Check:
    """Say what is wrong with a plant, a task or a controller of your own, and how to mend it.

    Examples:
      trivium check my_plant.py:Mass
      trivium check my_plant.py:task
      trivium check my_law.py:Relay --task my_plant.py:task
    """

    thing: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="THING")]
    """Name of a task, or path/to/file.py:Thing, or module:Thing: a plant, a task, a controller or its factory."""
    task: Annotated[str | None, tyro.conf.arg(metavar="TASK")] = None
    """The task a controller is checked on."""

    def run(self) -> int:
        report = self._report()
        print(report)
        return 0 if report.passed else 1

    def _report(self) -> Any:
        from ctrl.check import check_controller, check_plant, check_task
        from ctrl.discovery import NotFound, load, load_task, place
        from systems import Plant, Task

        if self.task is not None:
            return check_controller(load("trivium.controllers", self.thing), load_task(self.task))
        if ":" not in self.thing:
            return check_task(load_task(self.thing))
        found = place(self.thing)
        if isinstance(found, Plant) or (isinstance(found, type) and issubclass(found, Plant)):
            return check_plant(found)
        if isinstance(found, Task) or (callable(found) and not isinstance(found, type)):
            return check_task(load_task(self.thing))
        raise NotFound(f"'{self.thing}' is neither a plant nor a task; to check a controller, add --task TASK")


@dataclass(frozen=True)
class Train:
    """Train a learner on a task, or go on where an interrupted training in the same folder stopped."""

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")]
    """Name of a task, or path/to/file.py:MyTask, or module:MyTask."""
    learner: str = "dsact"
    """Name of a learner (see `trivium list`), or path/to/file.py:MyLearner, a class or function of a task and a seed
    with a `load`, such as Combination("mine", DSACT, Harmonic())."""
    updates: int | None = None
    """Gradient updates in all, those before an interruption included; 12000 where neither this nor steps is given."""
    steps: int | None = None
    """Steps of the environments in all instead, counted over all of them, those of the warm-up included."""
    seed: int = 0
    """Of the learner and of its environments."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the checkpoint; runs/TASK-LEARNER-seedSEED where left out."""

    def run(self) -> int:
        import json

        from ctrl.comparison.results import prepare
        from ctrl.discovery import load, load_task
        from systems.describe import describe

        if self.updates is not None and self.steps is not None:
            raise Misuse("--updates and --steps both given; a run ends by one of them")
        for name, value in (("updates", self.updates), ("steps", self.steps)):
            if value is not None and value < 1:
                raise Misuse(f"--{name} {value}; expected at least 1")
        task = load_task(self.task)
        learner_type = load("trivium.learners", self.learner)
        if not (callable(learner_type) and hasattr(learner_type, "load")):
            raise Misuse(
                f"'{self.learner}' is no learner; expected one of `trivium list`, or path/to/file.py:MyLearner"
            )
        kind = getattr(learner_type, "__name__", self.learner).lower()
        folder = prepare(self.out or Path("runs") / f"{task.name}-{kind}-seed{self.seed}", task)
        checkpoint = folder / "checkpoint.pt"
        if checkpoint.exists():
            learner = learner_type.load(checkpoint, task)
            if learner.seed != self.seed:
                raise Misuse(
                    f"{folder} holds a training with seed {learner.seed}, not {self.seed}; give another folder with "
                    "--out DIR, or that seed to go on"
                )
            print(f"going on from {checkpoint}")
        else:
            learner = learner_type(task, seed=self.seed)
            content = json.dumps(describe(task), indent=2, allow_nan=False, ensure_ascii=False)
            (folder / "task.json").write_text(content + "\n", encoding="utf-8")
        goal = {"updates": self.updates or 12_000} if self.steps is None else {"steps": self.steps}
        learner.learn(**goal, progress=True, checkpoint=checkpoint, log=folder)
        print(f"saved: {checkpoint}")
        policy = folder / f"{kind}.policy"
        learner.result.save(policy)
        print(f"saved: {policy}\nto compare it: trivium compare {self.task} --controllers lqr {policy}")
        return 0


@dataclass(frozen=True)
class Verify:
    """Prove a region of attraction of a controller on a task and write the certificate; or show one again from its
    file.

    Examples:
      trivium verify pendulum --controller lqr
      trivium verify path-tracking --degree 6 --out certificates/path.json
      trivium verify pendulum --disturbed
      trivium verify --check certificates/path.json
    """

    task: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="TASK")] = None
    """Name of a task, or path/to/file.py:MyTask, or module:MyTask."""
    controller: Annotated[str, tyro.conf.arg(metavar="NAME")] = "lqr"
    """A controller that has a law in closed form: a name, path/to/file.py:MyController, or a trained policy's file."""
    degree: int | None = None
    """Also fit a polynomial Lyapunov function of this degree, and keep whichever proves more."""
    continuous: bool = False
    """In continuous time, the law answering at every instant, instead of sampled."""
    disturbed: bool = False
    """Under whatever the task's law of disturbances can draw, which must be bounded, instead of undisturbed."""
    seconds: float = 60.0
    """To spend on each proof."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write the certificate; runs/TASK-CONTROLLER.certificate.json where left out."""
    check: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A certificate to show again, without search, and to audit at random points in a second arithmetic."""
    points: int = 500
    """Of the audit."""

    def run(self) -> int:
        from ctrl.certify.command import law_of, prove, show_again
        from ctrl.certify.files import save
        from ctrl.discovery import load, load_task

        if (self.task is None) == (self.check is None):
            raise Misuse("give either a TASK to prove something of, or --check FILE")
        if self.check is not None:
            return 0 if show_again(self.check, self.points) else 1
        assert self.task is not None
        if self.degree is not None and self.degree < 2:
            raise Misuse(f"--degree {self.degree}; a Lyapunov function needs 2 or more")
        if not self.seconds > 0:
            raise Misuse(f"--seconds {self.seconds:g}; expected more than 0")
        task = load_task(self.task)
        law = law_of(load("trivium.controllers", self.controller)(task), self.controller)
        certificate, sampled = prove(task, law, self.seconds, self.degree, self.continuous, self.disturbed)
        print(certificate)
        print(sampled)
        if task.constraints:
            named = ", ".join(f"'{constraint.name}'" for constraint in task.constraints)
            print(f"not in the claim: constraints ({named}); the task's domain would be")
        if not certificate.is_proved:
            return 1
        out = self.out or Path("runs") / f"{task.name}-{_short(self.controller)}.certificate.json"
        print(f"saved: {save(certificate, task, law, self.task, out)}")
        return 0


class Misuse(ValueError):
    """The command line asks for something that cannot be."""


def main(arguments: list[str] | None = None) -> int:
    """Entry of the console script. Exit codes: 0 done, 1 something failed, 2 misuse."""
    command = tyro.cli(
        Annotated[Compare, tyro.conf.subcommand("compare")]
        | Annotated[List, tyro.conf.subcommand("list")]
        | Annotated[Check, tyro.conf.subcommand("check")]
        | Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[Verify, tyro.conf.subcommand("verify")],
        prog="trivium",
        description="One plant, three roads: compare controllers, check your own, train learners, verify.",
        args=arguments,
    )
    try:
        return command.run()
    except KeyboardInterrupt as interruption:
        print(f"interrupted: {interruption}" if str(interruption) else "interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as error:  # every error of ours is one of these
        print(f"trivium: {error}", file=sys.stderr)
        return 2


def _programme(names: tuple[str, ...], task: str) -> tuple[Any, Mapping[str, str]]:
    """Controllers by name. One that is asked for must load; of those nobody asked for, the broken ones are listed."""
    from ctrl.comparison import Programme
    from ctrl.discovery import BrokenEntryPoint, entry_points, load

    if names:
        shown = [_short(name) for name in names]
        shown = [name if shown.count(short) > 1 else short for name, short in zip(names, shown, strict=True)]
        return Programme(
            {short: load("trivium.controllers", name) for name, short in zip(names, shown, strict=True)}
        ), {}
    if task in entry_points("trivium.comparisons"):
        own = load("trivium.comparisons", task)()
        return own if isinstance(own, Programme) else Programme(dict(own)), {}
    installed = entry_points("trivium.controllers")
    found, broken = {}, {}
    for name in [name for name in STANDARD if name in installed] or installed:
        try:
            found[name] = load("trivium.controllers", name)
        except BrokenEntryPoint as error:
            broken[name] = str(error)
    if not found:
        reasons = "; ".join(broken.values()) or "none is installed; pip install -e . registers them"
        raise Misuse(f"no controllers to compare: {reasons}")
    return Programme(found), broken


def _short(name: str) -> str:
    """``my_law.py:Relay`` goes by ``Relay`` in tables, ``runs/x/my.policy`` by ``my``."""
    return name.rpartition(":")[2] if ":" in name else Path(name).stem if "/" in name else name


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


if __name__ == "__main__":
    sys.exit(main())
