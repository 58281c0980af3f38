"""Does nonlinear MPC keep the sample times of four laboratory plants?

    python -m benchmarks.sample_times [--runs 3]

Closed loops of :mod:`benchmarks.plants`, converged and by real-time iterations. A step is late if it takes more
processor time than the sample time; the first step of a run, a solve from nothing, is reported beside the others, since
it can be taken before the loop starts. Wall time is reported, too, beside an empty loop's: the largest delay of a clock
that is only read. The last line is JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from time import perf_counter_ns, process_time_ns
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.plants import PLANTS
from mpc import NonlinearMPC
from systems.lowering.c_backend import CompilerMissing


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        runs: from different initial states, for each plant.
    """

    runs: int = 3


def largest_gap(seconds: float) -> float:
    """Longest time between two readings of the clock [ms]: what other programs take away."""
    largest, before = 0, perf_counter_ns()
    end = before + int(1e9 * seconds)
    while before < end:
        now = perf_counter_ns()
        largest, before = max(largest, now - before), now
    return largest / 1e6


def measured(name: str, iterations: int | None, runs: int) -> dict[str, Any]:
    """Times of all steps but the first of each run [ms], and closed-loop costs."""
    make, horizon = PLANTS[name]
    task = make()
    controller = NonlinearMPC(task, horizon, iterations=iterations)
    try:
        controller.compile()
        compiled = True
    except CompilerMissing:
        compiled = False
    step, (low, high) = task.dynamics.function(), task.input_bounds
    processor, wall, first, costs = [], [], [], []
    for seed in range(runs):
        controller.reset()
        x, cost = task.initial.sample(task.plant.state, np.random.default_rng(seed)), 0.0
        for k in range(task.steps):
            began, on_wall = process_time_ns(), perf_counter_ns()
            decision = controller.step(x, k)
            taken, passed = (process_time_ns() - began) / 1e6, (perf_counter_ns() - on_wall) / 1e6
            if k:
                processor.append(taken)
                wall.append(passed)
            else:
                first.append(taken)
            u = np.clip(decision.input, low, high)
            x_ref, u_ref = (part[0] for part in task.reading.window(k, 1))
            cost += float(task.stage_cost(x, u, x_ref, u_ref))
            x = np.array(step(x, u, 0, []))[:, 0]
        costs.append(cost)
    times, limit = np.array(processor), 1e3 * task.dt
    return {
        "sample_ms": limit,
        "late": int((times > limit).sum()),
        "late_in_wall_time": int((np.array(wall) > limit).sum()),
        "steps": len(times),
        "p50_ms": float(np.median(times)),
        "p99_ms": float(np.quantile(times, 0.99)),
        "max_ms": float(times.max()),
        "max_wall_ms": max(wall),
        "first_ms": max(first),
        "cost": float(np.mean(costs)),
        "compiled": compiled,
    }


def main(options: Options) -> None:
    result: dict[str, Any] = {"benchmark": "sample_times", "empty_loop_ms": largest_gap(2.0)}
    table = Table(
        "plant", "method", "sample [ms]", "late", "p50 [ms]", "p99", "max", "max (wall)", "first", "mean cost"
    )
    for name in PLANTS:
        for method, iterations in (("converged", None), ("real-time iteration", 1)):
            row = measured(name, iterations, options.runs)
            result.setdefault(name, {})[method] = row
            times = (f"{row[key]:.2f}" for key in ("p50_ms", "p99_ms", "max_ms", "max_wall_ms", "first_ms"))
            late = f"{row['late']} of {row['steps']}"
            table.add_row(name, method, f"{row['sample_ms']:g}", late, *times, f"{row['cost']:.5g}")
    console = Console(width=130)
    console.print(table)
    console.print(f"Longest gap of an empty loop of 2 s: {result['empty_loop_ms']:.2f} ms")
    print(json.dumps(result))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
