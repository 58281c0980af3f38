"""Do the ready-made learners keep a stranger's budget? Measured by the policy that is saved, read back from its file.

    python -m benchmarks.foreign run [--hours H] [--tasks NAME ...] [--learners NAME ...]
    python -m benchmarks.foreign show

Two environments of other projects through `GymnasiumTask`, which need packages that nothing here depends on:

    pip install --no-deps bullet-safety-gym && pip install pybullet 'gymnasium[mujoco]'

* `ball-run` (Bullet-Safety-Gym): a ball earns what it advances, and pays for every step that is too fast or more than
  2 m off its course.
* `pendulum-effort` (MuJoCo): Gymnasium's inverted pendulum earns 1 per step until it falls, and pays for squared
  inputs.

A cell is a learner, an environment and a seed with default settings, but for step sizes that decrease over the 4,000
updates; each finished one is a line of `benchmarks/results/foreign.jsonl`, so the whole can be killed and resumed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.records import append, cells, hashed, results
from safe_rl import SAC, GymnasiumTask, Learner, Policy, assess
from safe_rl.combinations import ALL, Combination
from safe_rl.handlers import FixedPenalty

__all__ = ["LEARNERS", "TASKS", "ball_run", "pendulum_effort", "saved", "settings"]

FILE = results(__file__)
EPISODES, SEEDS = 50, 2
UPDATES = {"ball-run": 4_000, "pendulum-effort": 4_000}
FREE = Combination("sac", SAC, FixedPenalty(weight=0.0))
"""The same learner with costs of weight zero: what a policy spends that knows no budget."""
LEARNERS = {combination.name: combination for combination in (*ALL, FREE)}


class Effort(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Costs the square of the actions."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        cost = float(np.sum(np.square(action)))
        return observation, float(reward), terminated, truncated, {**info, "cost": cost}


def ball_run() -> GymnasiumTask:
    """At most 25 of 100 steps in violation.

    Raises:
        ImportError: bullet-safety-gym or pybullet is not installed.
    """

    def make() -> gymnasium.Env[Any, Any]:
        # The package silences PyBullet by the C streams behind these, which are therefore to be the original ones.
        with contextlib.redirect_stdout(sys.__stdout__), contextlib.redirect_stderr(sys.__stderr__):
            import bullet_safety_gym.envs.builder  # noqa: F401  (registers its environments)

            return gymnasium.make("SafetyBallRun-v0")

    return GymnasiumTask("ball-run", make, {"cost": 25.0})


def pendulum_effort() -> GymnasiumTask:
    """Balance for 200 steps, with squared inputs that sum up to 1; random ones cost 3 per step."""

    def make() -> Effort:
        return Effort(gymnasium.make("InvertedPendulum-v5", max_episode_steps=200))

    return GymnasiumTask("pendulum-effort", make, {"cost": 1.0}, steps=200)


TASKS: dict[str, Callable[[], GymnasiumTask]] = {"ball-run": ball_run, "pendulum-effort": pendulum_effort}


def settings(make: Combination, task: str) -> Any:
    """A learner's own, with step sizes that decrease over the updates of the task."""
    return dataclasses.replace(make.settings or make.settings_type(), decay=UPDATES[task])


def saved(learner: Learner, folder: Path) -> Policy:
    """The policy that a learner saves, read back from its file."""
    path = folder / "policy"
    learner.result.save(path)
    return Policy.load(path)


def digest(make: Combination, task: str) -> str:
    """Changes with any setting of a learner; whoever changes an environment deletes its cells."""
    return hashed(f"{make.base.__name__} {settings(make, task)} {make.handler} {UPDATES[task]} {EPISODES}")


def train(name: str, task: str, seed: int) -> dict[str, Any]:
    """One cell."""
    make, environment = LEARNERS[name], TASKS[task]()
    began = time.process_time()
    learner = make(environment, seed=seed, settings=settings(make, task))
    learner.learn(UPDATES[task], progress=False)
    with tempfile.TemporaryDirectory() as folder:
        found = assess(saved(learner, Path(folder)), environment, EPISODES, seed=10_000 + seed)
    cost, low, high = found.interval()
    return {
        "learner": name,
        "task": task,
        "seed": seed,
        "digest": digest(make, task),
        "steps": learner.collector.steps,
        "budget": found.limits[0].limit,
        "cost": round(cost, 4),
        "cost_low": round(low, 4),
        "cost_high": round(high, 4),
        "return": round(float(found.returns.mean()), 3),
        "spent_in_training": round(learner.history[-1].diagnostics["spent cost"], 4),
        "processor_seconds": round(time.process_time() - began, 1),
        "torch": torch.__version__,
    }


@dataclass(frozen=True)
class Run:
    """Train what is missing."""

    hours: float = 1e9
    """Start no further cell after so long."""
    learners: tuple[str, ...] = tuple(LEARNERS)
    tasks: tuple[str, ...] = tuple(TASKS)
    seeds: int = SEEDS

    def run(self) -> None:
        torch.set_num_threads(1)
        began = time.monotonic()
        for seed in range(self.seeds):
            for task in self.tasks:
                for name in self.learners:
                    done = {(c["learner"], c["task"], c["seed"], c["digest"]) for c in cells(FILE)}
                    if (name, task, seed, digest(LEARNERS[name], task)) in done:
                        continue
                    if time.monotonic() - began > 3600 * self.hours:
                        return
                    append(train(name, task, seed), FILE)


@dataclass(frozen=True)
class Show:
    """Tables of what is finished."""

    def run(self) -> None:
        summary: dict[str, Any] = {}
        found = [c for c in cells(FILE) if c["digest"] == digest(LEARNERS[c["learner"]], c["task"])]
        for task in TASKS:
            rows = [c for c in found if c["task"] == task]
            budget = rows[0]["budget"] if rows else ""
            table = Table(f"{task}, budget {budget}", "seed", "cost [95 %]", "within", "return")
            for name in LEARNERS:
                for c in sorted((c for c in rows if c["learner"] == name), key=lambda c: c["seed"]):
                    table.add_row(
                        name, str(c["seed"]), f"{c['cost']:.1f} [{c['cost_low']:.1f}, {c['cost_high']:.1f}]",
                        "yes" if c["cost"] <= c["budget"] else "no", f"{c['return']:.0f}",
                    )  # fmt: skip
            Console(width=110).print(table)
            mine = [c for c in rows if c["learner"] != FREE.name]
            summary[task] = {"met": sum(c["cost"] <= c["budget"] for c in mine), "of": len(mine)}
        print(json.dumps(summary))


def main() -> None:
    command = tyro.cli(
        Annotated[Run, tyro.conf.subcommand("run")] | Annotated[Show, tyro.conf.subcommand("show")],
        description="Constrained learners on environments of other projects.",
    )
    command.run()


if __name__ == "__main__":
    main()
