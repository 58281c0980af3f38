"""`trivium train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ctrl.commands.misuse import Misuse

__all__ = ["Train"]


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
