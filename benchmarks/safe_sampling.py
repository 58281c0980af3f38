"""How often does sampling MPC hit a pillar in a wind that it does not know, with and without barrier conditions?

    python -m benchmarks.safe_sampling [--runs 40]

1. Closed loops of the planar quadrotor in wind, from the same starts, in the same winds and gusts: cross-entropy alone,
   the same with pillars that are 5 cm larger, with the applied input alone corrected by the quadratic program, with all
   sampled sequences corrected too, and the latter for MPPI. A collision is any sample within a pillar's radius. Rates
   with their Wilson intervals.
2. Processor time of a round of 1,000 predictions of 30 samples, without and with corrections, in turns, compiled.
3. Processor time of an update of the incremental Gaussian process at its largest size.

The last line is JSON.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from ctrl import simulate
from mpc import MPPI, CrossEntropyMPC
from mpc.sampling import Intervention
from systems import Inequality, Task
from systems.identification.online import ProcessResidual
from systems.library.quadrotor_in_wind import PILLARS, quadrotor_in_wind
from systems.lowering.c_backend import CompilerMissing
from systems.statistics import wilson

HORIZON, MARGIN = 30, 0.05
TIMED = ("cross-entropy", "applied input corrected", "all samples corrected")
WIND = ProcessResidual({"x": 0.7, "z": 0.7}, {"x_rate": 4.0, "z_rate": 4.0}, noise=0.1, capacity=50)
SAFE = Intervention(WIND, levels=4, rate=10.0)


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        runs: closed loops of each controller.
        steps: samples of a run, of 20 ms.
        samples: input sequences in a round.
        rounds: in a step.
    """

    runs: int = 40
    steps: int = 150
    samples: int = 200
    rounds: int = 3


def controllers(task: Task, options: Options) -> dict[str, Callable[[], Any]]:
    """The controllers by name."""
    size = (HORIZON, options.samples, options.rounds)
    larger = Inequality(
        "pillars", lambda x, u: [(r + MARGIN) ** 2 - (x.x - cx) ** 2 - (x.z - cz) ** 2 for cx, cz, r in PILLARS]
    )
    cautious = dataclasses.replace(task, constraints=(larger,))
    applied = dataclasses.replace(SAFE, samples=False)
    return {
        "cross-entropy": lambda: CrossEntropyMPC(task, *size),
        "cross-entropy, pillars 5 cm larger": lambda: CrossEntropyMPC(cautious, *size),
        "applied input corrected": lambda: CrossEntropyMPC(task, *size, intervention=applied),
        "all samples corrected": lambda: CrossEntropyMPC(task, *size, intervention=SAFE),
        "MPPI, all samples corrected": lambda: MPPI(task, *size, intervention=SAFE),
    }


def compiled(controller: Any) -> Any:
    """The same controller, with compiled predictions where there is a compiler."""
    with suppress(CompilerMissing):
        controller.compile()
    return controller


def closed_loops(options: Options) -> dict[str, dict[str, Any]]:
    """Collisions, cost and processor time of a step [ms] of each controller."""
    task = dataclasses.replace(quadrotor_in_wind(), steps=options.steps)
    rng, plant = np.random.default_rng(0), task.plant
    starts = task.initial.sample(plant.state, rng, (options.runs,))
    gusts = task.disturbance.sample(plant.disturbance, rng, (options.runs, options.steps))
    assert task.variation is not None
    winds = task.variation.sample(task.varied, rng, (options.runs,))
    rows = {}
    for name, make in controllers(task, options).items():
        controller = compiled(make())
        began = process_time()
        run = simulate(task, controller, starts, gusts, parameters=winds)
        seconds = process_time() - began
        worst = run.margins[:, :, 0].max(axis=1)
        hits, left = int((worst > 0.0).sum()), int((run.left >= 0).sum())
        rows[name] = {
            "collisions": hits, "of": options.runs, "interval": wilson(hits, options.runs),
            "deepest": float(worst.max()), "left": left, "cost": float(run.cost.mean()),
            "ms": 1e3 * seconds / (options.runs * options.steps),
        }  # fmt: skip
    return rows


def round_times() -> dict[str, float]:
    """Processor time [ms] of a step of one round of 1,000 predictions, the smallest of 15, in turns."""
    task = quadrotor_in_wind()
    x = task.initial.mean(task.plant.state)
    makes = controllers(task, Options(samples=1000, rounds=1))
    made = {name: compiled(makes[name]()) for name in TIMED}
    times: dict[str, list[float]] = {name: [] for name in made}
    for k in range(15):
        for name, controller in made.items():
            began = process_time()
            controller.step(x, k)
            times[name].append(1e3 * (process_time() - began))
    return {name: min(values) for name, values in times.items()}


def update_time() -> float:
    """Processor time [ms] of an update of a full process, the median of 200."""
    process, rng, times = WIND.start(), np.random.default_rng(0), []
    for _ in range(WIND.capacity + 200):
        z, y = rng.uniform(-2.0, 2.0, 2), rng.standard_normal(2)
        began = process_time()
        process.update(z, y)
        times.append(1e3 * (process_time() - began))
    return float(np.median(times[-200:]))


def main(options: Options) -> dict[str, Any]:
    """Prints the tables."""
    console, rows = Console(), closed_loops(options)
    table = Table("controller", "collisions", "95 %", "cost", "step [ms]", title="planar quadrotor in wind")
    for name, row in rows.items():
        low, high = row["interval"]
        table.add_row(
            name, f"{row['collisions']} of {row['of']}", f"{low:.0%} to {high:.0%}", f"{row['cost']:.4g}",
            f"{row['ms']:.1f}",
        )  # fmt: skip
    console.print(table)
    rounds, update = round_times(), update_time()
    console.print("one round of 1,000 x 30, ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in rounds.items()))
    console.print(f"one update of a process of {WIND.capacity} points: {update:.2f} ms")
    results = {"closed_loops": rows, "round_ms": rounds, "update_ms": update}
    print(json.dumps(results))
    return results


if __name__ == "__main__":
    main(tyro.cli(Options))
