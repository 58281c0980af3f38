"""Landing a rocket: does a guide that begins the runs help a learner to land?

    python -m benchmarks.rocket run [--hours H]       what is missing, one cell after the other
    python -m benchmarks.rocket show                  a table of what is finished, and one line of JSON

DSAC-T with the same settings, updates and steps of the environments, without a guide and with jump starts by two: one
that cannot land (it sinks upright wherever it happens to be) and one that can (the linear-quadratic regulator). Every
policy is looked at after several budgets of the same run. A landing is a run that ends, at the ground or when its time
is up, within the task's tolerances (`Task.arrived`); a clean one never violated descent, cone or tilt either. Each
finished cell is one line of `benchmarks/results/rocket.jsonl`; those of other settings are not shown.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.records import append, cells, hashed, interval, results
from ctrl import LQR, Controller, Decision, simulate
from safe_rl import DSACT, DSACTSettings, JumpStart, JumpStartSettings, PolicyController
from systems import Task
from systems.describe import content
from systems.library import rocket_landing
from systems.statistics import wilson

BUDGETS = (5_000, 10_000, 20_000)
SEEDS, RUNS = 3, 1_000
SETTINGS = DSACTSettings(averaging=0.05, environments=160, updates_per_step=8, capacity=200_000, decay=BUDGETS[-1])
START = JumpStartSettings(longest=75)  # of the 100 steps of a run: either guide is near the ground by then
FILE, SCRATCH = results(__file__), Path("runs/rocket")


class SinkUpright:
    """Sinks the slower the lower, damps sideways motion and holds the stage upright; the pad is not looked for."""

    SINK = 0.33  # 1/s, speed per height: within the constraint on the descent
    SPEED, DAMPING = 1.0, 0.04  # 1/s; rad s/m, lean per sideways speed
    TILT, RATE = 1.0, 2.0  # gimbal per tilt, s

    def __init__(self, task: Task) -> None:
        plant = task.plant
        self._weight, self._gravity = float(plant.weight), float(plant.gravity)  # type: ignore[attr-defined]
        self._lower, self._upper = task.input_bounds

    def reset(self) -> None:
        """Nothing to forget."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        return Decision(self.batch(x, k))

    def batch(self, x: np.ndarray, k: int) -> np.ndarray:
        _, z, angle, x_rate, z_rate, angle_rate = np.moveaxis(x, -1, 0)
        thrust = self._weight * (1.0 + self.SPEED / self._gravity * (-self.SINK * z - z_rate))
        gimbal = self.TILT * (angle - self.DAMPING * x_rate) + self.RATE * angle_rate
        return np.clip(np.stack((thrust, gimbal), axis=-1), self._lower, self._upper)


GUIDES: dict[str, Callable[[Task], Controller]] = {"sink upright": SinkUpright, "lqr": LQR}
WAYS = ("no guide", *GUIDES)


def digest() -> str:
    """Changes with the task and any setting, so that what others led to is not taken for a result of these."""
    return hashed(f"{content(rocket_landing())} {SETTINGS} {START} {BUDGETS} {RUNS}")


def found() -> list[dict[str, Any]]:
    """Finished cells of these settings."""
    return [cell for cell in cells(FILE) if cell.get("digest") == digest()]


def land(task: Task, controller: Controller, seed: int) -> dict[str, Any]:
    """Of fresh starts in the wind: how many land, how many of them cleanly, and the mean return."""
    rng, plant = np.random.default_rng(10_000 + seed), task.plant
    starts = task.initial.sample(plant.state, rng, (RUNS,))
    runs = simulate(task, controller, starts, task.disturbance.sample(plant.disturbance, rng, (RUNS, task.steps)))
    landed = task.arrived(runs.states[:, -1], task.steps)
    clean = landed & (runs.margins <= 1e-3).all(axis=(1, 2))
    return {"runs": RUNS, "landed": int(landed.sum()), "clean": int(clean.sum()), "return": -float(runs.cost.mean())}


def train(way: str, task: Task, seed: int) -> list[dict[str, Any]]:
    """One run, looked at after every budget."""
    learner = DSACT(task, seed=seed, settings=SETTINGS)
    if way in GUIDES:
        learner.with_jump_start(JumpStart(task, GUIDES[way], START))
    SCRATCH.mkdir(parents=True, exist_ok=True)
    looks, began = [], time.process_time()
    for updates in BUDGETS:
        learner.learn(updates, progress=False)
        learner.result.save(SCRATCH / f"{way.replace(' ', '-')}-{seed}-{updates}.policy")  # to look at
        start = learner.collector.jump_start
        looks.append(
            {"digest": digest(), "way": way, "seed": seed, "updates": updates, "steps": learner.collector.steps}
            | land(task, PolicyController(task, learner.result), seed)
            | {"beta": None if start is None else start.beta, "cpu_seconds": time.process_time() - began}
        )
    return looks


@dataclass(frozen=True)
class Run:
    """Train what is missing."""

    hours: float = 1e9
    """Start no further run after so long."""
    seeds: int = SEEDS

    def run(self) -> None:
        torch.set_num_threads(1)
        task, began = rocket_landing(), time.monotonic()
        done = {(c["way"], c["seed"]) for c in found()}
        for name, guide in GUIDES.items():
            if (f"{name} alone", 0) not in done:
                cell = {"digest": digest(), "way": f"{name} alone", "seed": 0, "updates": 0}
                append(cell | land(task, guide(task), 0), FILE)
        for seed in range(self.seeds):
            for way in WAYS:
                if (way, seed) not in done and time.monotonic() - began < 3600 * self.hours:
                    for cell in train(way, task, seed):
                        append(cell, FILE)


@dataclass(frozen=True)
class Show:
    """A table of what is finished."""

    def run(self) -> None:
        finished, summary = found(), {}
        table = Table("rocket landing", "updates", "seeds", "landed, % [95 %]", "by seed", "cleanly, %", "return")
        for way in (*(f"{name} alone" for name in GUIDES), *WAYS):
            for updates in (0, *BUDGETS):
                mine = [c for c in finished if c["way"] == way and c["updates"] == updates]
                if not mine:
                    continue
                runs, landed, clean = (sum(c[what] for c in mine) for what in ("runs", "landed", "clean"))
                low, high = wilson(landed, runs)
                table.add_row(
                    way, f"{updates:,}", str(len(mine)),
                    f"{100 * landed / runs:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
                    ", ".join(f"{100 * c['landed'] / c['runs']:.1f}" for c in mine), f"{100 * clean / runs:.1f}",
                    interval([c["return"] for c in mine]),
                )  # fmt: skip
                summary[f"{way}/{updates}"] = {
                    "seeds": len(mine), "landed": landed / runs, "clean": clean / runs,
                    "return": float(np.mean([c["return"] for c in mine])),
                }  # fmt: skip
        Console(width=130).print(table)
        print(json.dumps(summary))


def main() -> None:
    command = tyro.cli(
        Annotated[Run, tyro.conf.subcommand("run")] | Annotated[Show, tyro.conf.subcommand("show")],
        description="Landing a rocket with and without a guide.",
    )
    command.run()


if __name__ == "__main__":
    main()
