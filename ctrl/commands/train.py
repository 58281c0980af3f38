"""`trivium train`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from ctrl.commands.baseline import Baseline
from ctrl.commands.misuse import Misuse, tell

__all__ = ["Train"]


@dataclass(frozen=True)
class Train:
    """Train a learner on a task, or resume an interrupted training in the same folder.

    For example:
      trivium train cartpole --updates 20000
      trivium train braking --learner plo --seed 1 --settings hidden=128,128 batch_size=512

    Exit status: 0 trained and saved; 2 misuse; 130 interrupted; the same command resumes.
    """

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")]
    """Name of a task, or path/to/file.py:MyTask, or module:MyTask."""
    learner: str = "dsact"
    """Name of a learner (see `trivium list`), or path/to/file.py:MyLearner, a class or function of a task and a seed
    with a `load`, such as Combination("mine", DSACT, Harmonic())."""
    updates: int | None = None
    """Total number of gradient updates, including those before an interruption; default: 12000, unless --steps is
    given."""
    steps: int | None = None
    """Total number of environment steps instead, summed over all environments, including the warm-up."""
    seed: int = 0
    """Seed of the learner and its environments."""
    settings: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")] = ()
    """Settings of the learner that differ from its defaults; an unknown name prints the known ones."""
    residual: bool | None = None
    """True: learn what to add to LQR; False: learn the whole policy; default: the learner's choice for the task, which
    is True if LQR brings the runs to the reference and no constraint is handled."""
    clone: Annotated[str | None, tyro.conf.arg(metavar="CONTROLLER")] = None
    """Start from a copy of this controller (named as in `trivium compare --controllers`); default: start without
    one."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the checkpoint; default: runs/TASK-LEARNER-seedSEED."""

    def run(self) -> int:
        from ctrl.discovery import load, load_task
        from systems.files import locked

        if self.updates is not None and self.steps is not None:
            raise Misuse("--updates and --steps both given; a run ends by one of them")
        for name, value in (("updates", self.updates), ("steps", self.steps)):
            if value is not None and value < 1:
                raise Misuse(f"--{name} {value}; expected at least 1")
        if self.clone is not None and self.residual:
            raise Misuse("--clone and --residual True both given; a policy can start in only one of these ways")
        task = load_task(self.task)
        learner_type = load("trivium.learners", self.learner)
        if not (callable(learner_type) and hasattr(learner_type, "load")):
            raise Misuse(
                f"'{self.learner}' is not a learner; expected one of `trivium list`, or path/to/file.py:MyLearner"
            )
        settings = _settings(learner_type, self.learner, self.settings)
        kind = getattr(learner_type, "__name__", self.learner).lower()
        folder = self.out or Path("runs") / f"{task.name}-{kind}-seed{self.seed}"
        with locked(folder):  # from reading the checkpoint to writing the policy
            return self._train(task, learner_type, settings, folder, kind)

    def _train(self, task: Any, learner_type: Any, settings: Any, folder: Path, kind: str) -> int:
        from ctrl.comparison.results import prepare
        from systems.describe import describe
        from systems.files import kept, write_json

        folder = prepare(folder, task)
        checkpoint = folder / "checkpoint.pt"
        if checkpoint.exists():
            learner = learner_type.load(checkpoint, task)
            if learner.seed != self.seed:
                raise Misuse(
                    f"{folder} contains a training with seed {learner.seed}, not {self.seed}; give another folder with "
                    "--out DIR, or use that seed to resume"
                )
            if settings not in (None, learner.settings):
                raise Misuse(
                    f"{folder} contains a training with {learner.settings}; give another folder with --out DIR, "
                    "or leave out --settings to resume"
                )
            if self.clone is not None:
                print("--clone is ignored: it applies only to the beginning of a training, but this one is resumed")
            print(f"resuming from {checkpoint}")
        else:
            chosen = {} if settings is None else {"settings": settings}
            learner = learner_type(task, seed=self.seed, **chosen)
            self._choose(learner)
            write_json(folder / "task.json", describe(task))
        baseline = Baseline(task)
        if hasattr(learner, "baselines"):
            learner.baselines = baseline.returns
        goal = {"updates": self.updates or 12_000} if self.steps is None else {"steps": self.steps}
        learner.learn(**goal, progress=True, checkpoint=checkpoint, log=folder)
        policy = kept(folder / f"{kind}.policy", learner.result.save)
        written = getattr(learner, "checkpoint", checkpoint)  # learners of one's own write it where they are told
        if written is not None and written.exists():
            print(f"saved: {written}")
        verdict, is_worse = baseline.verdict(policy.path)
        tell(policy, ", though worse than LQR" if is_worse else "")
        if verdict:
            print(verdict)
        print(f"to compare it: trivium compare {self.task} --controllers {baseline.name} {policy.path}")
        return 0

    def _choose(self, learner: Any) -> None:
        """Lets the learner begin as a copy of a controller or learn on a regulator, if requested or chosen by it."""
        from ctrl.discovery import load

        if self.clone is not None and not hasattr(learner, "clone"):
            raise Misuse(f"--clone {self.clone}; learner '{self.learner}' has no clone(), as dsact and sac have")
        if self.clone is not None:
            print(f"copying {self.clone}")
            learner.clone(load("trivium.controllers", self.clone))
            if getattr(learner, "trials", None) is not None:  # a learner of one's own has what it likes
                copy_cost, original_cost = (
                    learner.trials.diagnostics[f"copied cost of the {who}"] for who in ("clone", "controller")
                )
                print(f"the copy costs {copy_cost:.4g} per run, {self.clone} {original_cost:.4g} from the same starts")
            return
        if self.residual and not hasattr(learner, "residual"):
            raise Misuse(f"--residual True; learner '{self.learner}' has no residual(), as dsact and sac have")
        if self.residual:
            learner.residual()
        elif self.residual is None and hasattr(learner, "choose_regulator"):
            chosen = learner.choose_regulator()
            if chosen:
                print(f"{chosen} (--residual False learns the whole policy)")


def _settings(learner: Any, name: str, given: tuple[str, ...]) -> Any:
    """The learner's settings with the given ones; None if none are given."""
    if not given:
        return None
    from systems import UnknownName

    kind = getattr(learner, "settings_type", None)
    if kind is None:
        raise Misuse(f"--settings {given[0]}; learner '{name}' takes none")
    words = []
    for text in given:
        setting, equals, value = text.partition("=")
        known = [field.name for field in dataclasses.fields(kind)]
        if setting not in known:
            raise UnknownName.among(setting, known, f"setting of {name}")
        if not equals or not value:
            raise Misuse(f"--settings {text}; expected name=value, such as batch_size=128 or hidden=64,64")
        words += [f"--{setting}", *value.split(",")]
    try:
        return tyro.cli(kind, args=words, prog="trivium train --settings", add_help=False)
    except SystemExit:  # tyro has said which
        raise Misuse(f"--settings {' '.join(given)}; a value has the wrong type, as said above") from None
