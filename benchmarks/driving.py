"""Driving among others: how fast, and how often too close? Learners, nonlinear MPC and drivers by rules.

    python -m benchmarks.driving run [--hours H]      trains what is missing, one after the other, then the controllers
    python -m benchmarks.driving show                 a table of what is finished, and one line of JSON

A cell is a learner and a seed; all learners have the settings of `safe_rl.driving`. Each finished cell is one line of
`benchmarks/results/driving.jsonl`, so the whole can be run in pieces, killed and resumed, by several processes with
different `--part`s. Each policy drives 2,000 runs of 20 s from fresh starts, about 900 km; MPC a few, as it is slow.

Violations are stretches of violated samples. Their rate is bounded by the exact 95 % interval of all seeds' runs
together, violations taken as a Poisson process; how much seeds differ is in the interval of Student's t beside it.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.records import append, cells, interval, results
from ctrl import Controller, Trajectories, simulate
from ctrl.trajectories import stack
from mpc import NonlinearMPC
from safe_rl import PolicyController
from safe_rl.driving import METHODS, UPDATES, LaneChanging, LaneKeeping, driving_config
from systems import Task
from systems.library.driving import driving, driving_record
from systems.statistics import poisson

RUNS, AT_ONCE = 2_000, 250
RULES = {"lane-keeping": LaneKeeping, "lane-changing": LaneChanging}
FILE = results(__file__)


def drive(task: Task, controller: Controller, runs: int, seed: int) -> Trajectories:
    """Runs from fresh starts among inattentive drivers."""
    rng, plant = np.random.default_rng(seed), task.plant
    parts = []
    for first in range(0, runs, AT_ONCE):
        n = min(AT_ONCE, runs - first)
        starts = task.initial.sample(plant.state, rng, (n,))
        parts.append(
            simulate(task, controller, starts, task.disturbance.sample(plant.disturbance, rng, (n, task.steps)))
        )
    return stack(parts)


def cell(name: str, seed: int, task: Task, controller: Controller, runs: int, updates: int = 0) -> dict[str, Any]:
    """What is kept of one controller."""
    done = drive(task, controller, runs, seed=10_000 + seed)
    record = dataclasses.asdict(driving_record(task, done))
    broken = (done.margins > 0).sum(axis=1)
    return {
        "controller": name,
        "seed": seed,
        "updates": updates,
        "runs": runs,
        "return": -float(done.cost.mean()),
        "violated_samples_per_run": dict(
            zip([c.name for c in task.constraints], broken.mean(axis=0).tolist(), strict=True)
        ),
        "runs_violated": int(broken.any(axis=1).sum()),
        "ms_per_step": 1e3 * float(np.nanmedian(done.seconds)),
        **record,
    }


def train(name: str, task: Task, seed: int, updates: int, scratch: Path) -> dict[str, Any]:
    """One learner, from its checkpoint where there is one."""
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / f"{name}-{seed}"
    began = time.process_time()
    learner = replace(driving_config(METHODS[name], updates), seed=seed).begin(task, path)
    learner.learn(updates, checkpoint=path)
    seconds = time.process_time() - began
    learner.result.save(scratch / f"{name}-{seed}.policy")
    found = cell(name, seed, task, PolicyController(task, learner.result), RUNS, updates)
    path.unlink()
    return found | {"cpu_seconds": seconds, "steps": learner.collector.steps, "torch": torch.__version__}


def is_done(name: str, seed: int, updates: int = 0) -> bool:
    """Whether the file has this cell."""
    return (name, seed, updates) in {(c["controller"], c["seed"], c["updates"]) for c in cells(FILE)}


@dataclass(frozen=True)
class Run:
    """Train what is missing."""

    hours: float = 1e9
    """Start no further cell after so long."""
    part: tuple[int, int] = (0, 1)
    """Of so many processes, which one this is: "1 2" is the second of two."""
    learners: tuple[str, ...] = tuple(METHODS)
    seeds: int = 5
    updates: int = UPDATES
    optimised: int = 8
    """Runs of nonlinear MPC; 0 leaves it out."""
    scratch: Path = Path("runs/driving")

    def run(self) -> None:
        torch.set_num_threads(1)
        task, began = driving(), time.monotonic()
        plan = [(name, seed) for seed in range(self.seeds) for name in self.learners]
        for index, (name, seed) in enumerate(plan):
            if index % self.part[1] != self.part[0] or is_done(name, seed, self.updates):
                continue
            if time.monotonic() - began > 3600 * self.hours:
                return
            append(train(name, task, seed, self.updates, self.scratch), FILE)
        if self.part[0] == 0:
            for name, driver in RULES.items():
                if not is_done(name, 0):
                    append(cell(name, 0, task, driver(task), 5 * RUNS), FILE)
            for seed in range(self.optimised):  # one run each: minutes that an interruption would cost
                if not is_done("nonlinear-mpc", seed):
                    mpc = NonlinearMPC(task, horizon=20, max_iterations=60)
                    append(cell("nonlinear-mpc", seed, task, mpc, 1), FILE)


@dataclass(frozen=True)
class Show:
    """A table of what is finished."""

    updates: int = UPDATES
    """Of the learners."""

    def run(self) -> None:
        found, summary = [c for c in cells(FILE) if c["updates"] in (0, self.updates)], {}
        table = Table(
            "driving", "seeds", "km", "speed, m/s", "too close, per 1,000 km [95 % of all runs]", "over seeds",
            "other violations", "return per run", "lane changes per km",
        )  # fmt: skip
        for name in (*RULES, "nonlinear-mpc", *METHODS):
            mine = [c for c in found if c["controller"] == name]
            if not mine:
                continue
            km = sum(c["distance"] for c in mine)
            count = sum(c["violations"]["gap"] for c in mine)
            other = sum(sum(c["violations"].values()) for c in mine) - count
            low, high = poisson(count)
            table.add_row(
                name, str(len(mine)), f"{km:,.0f}", interval([c["speed"] for c in mine]),
                f"{count} = {1e3 * count / km:.3g} [{1e3 * low / km:.3g}, {1e3 * high / km:.3g}]",
                interval([c["per_1000_km"]["gap"] for c in mine]), str(other),
                interval([c["return"] for c in mine]), interval([c["lane_changes"] for c in mine]),
            )  # fmt: skip
            summary[name] = {
                "seeds": len(mine), "km": round(km), "speed": float(np.mean([c["speed"] for c in mine])),
                "gap_violations": count, "per_1000_km": 1e3 * count / km, "at_most": 1e3 * high / km,
                "other_violations": other, "return": float(np.mean([c["return"] for c in mine])),
            }  # fmt: skip
        Console(width=170).print(table)
        print(json.dumps(summary))


def main() -> None:
    command = tyro.cli(
        Annotated[Run, tyro.conf.subcommand("run")] | Annotated[Show, tyro.conf.subcommand("show")],
        description="Driving among others.",
    )
    command.run()


if __name__ == "__main__":
    main()
