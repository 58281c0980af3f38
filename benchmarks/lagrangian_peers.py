"""Where does Lagrangian-predictive MPC win against nonlinear MPC by SQP?

    python -m benchmarks.lagrangian_peers [--batch 256]

1. A closed loop of 60 samples from the same starts: processor time of a step (median, 99 %, largest), samples solved
   and closed-loop cost of both, of the real-time iteration, and of LagrangianMPC with at most ten iterations.
2. Cold starts: the batch in torch against NonlinearMPC, one problem after the other with a reset before each, with how
   many of each are solved and how far the first inputs are apart.

Models of NonlinearMPC are compiled where there is a compiler. Controllers take turns. The last line is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import process_time_ns
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from ctrl.controller import Status
from mpc import LagrangianMPC, NonlinearMPC
from mpc.lagrangian.batch import LagrangianBatch
from systems import Task
from systems.library import cartpole, pendulum, planar_quadrotor
from systems.lowering.c_backend import CompilerMissing

HORIZON, SAMPLES = 15, 60
TASKS: dict[str, Callable[[], Task]] = {
    "pendulum": pendulum, "cart-pole": cartpole, "planar quadrotor": planar_quadrotor
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        batch: problems at once.
        runs: closed loops of each controller.
    """

    batch: int = 256
    runs: int = 3


def compiled(task: Task, iterations: int | None = None) -> NonlinearMPC:
    controller = NonlinearMPC(task, HORIZON, iterations=iterations)
    with suppress(CompilerMissing):
        controller.compile()
    return controller


def loops(task: Task, runs: int) -> dict[str, dict[str, float]]:
    """Times [us] without the first step of each run, share of solved samples, and mean cost."""
    controllers: dict[str, Any] = {
        "nonlinear": compiled(task),
        "nonlinear, real-time iteration": compiled(task, 1),
        "lagrangian": LagrangianMPC(task, HORIZON),
        "lagrangian, 10 iterations": LagrangianMPC(task, HORIZON, max_iterations=10),
    }
    step, (low, high), w = task.dynamics.function(), task.input_bounds, np.zeros(len(task.plant.disturbance))
    times: dict[str, list[float]] = {name: [] for name in controllers}
    solved, costs = dict.fromkeys(controllers, 0), dict.fromkeys(controllers, 0.0)
    for seed in range(runs):
        start = task.initial.sample(task.plant.state, np.random.default_rng(seed))
        states = dict.fromkeys(controllers, start)
        for controller in controllers.values():
            controller.reset()
        for k in range(SAMPLES):
            x_ref, u_ref = (part[0] for part in task.reading.window(k, 1))
            for name, controller in controllers.items():
                x, began = states[name], process_time_ns()
                decision = controller.step(x, k)
                if k:
                    times[name].append((process_time_ns() - began) / 1e3)
                u = np.clip(decision.input, low, high)
                solved[name] += decision.status is Status.SOLVED
                costs[name] += float(task.stage_cost(x, u, x_ref, u_ref)) / runs
                states[name] = np.array(step(x, u, w, []))[:, 0]
    return {
        name: {
            "median_us": float(np.median(each)), "p99_us": float(np.quantile(each, 0.99)), "max_us": max(each),
            "solved": solved[name] / (runs * SAMPLES), "cost": costs[name],
        }
        for name, each in times.items()
    }  # fmt: skip


def batches(task: Task, count: int) -> dict[str, float]:
    """Problems per second of processor time, and how far the solved ones are apart."""
    x0 = task.initial.sample(task.plant.state, np.random.default_rng(0), (count,))
    batch, single = LagrangianBatch(task, HORIZON), compiled(task)
    batch.solve(x0)  # warms up
    began = process_time_ns()
    found = batch.solve(x0)
    together = (process_time_ns() - began) / 1e9
    single.step(x0[0], 0)
    inputs, solved, began = [], [], process_time_ns()
    for x in x0:
        single.reset()
        decision = single.step(x, 0)
        inputs.append(decision.input)
        solved.append(decision.status is Status.SOLVED)
    alone = (process_time_ns() - began) / 1e9
    both = np.array(solved) & (found.residual <= 1e-6)
    first = found.inputs.reshape(count, HORIZON, -1)[:, 0]
    gap = np.abs(first - np.array(inputs))[both]
    return {
        "batch_per_second": count / together, "nonlinear_per_second": count / alone, "speed-up": alone / together,
        "batch_solved": float((found.residual <= 1e-6).mean()), "nonlinear_solved": float(np.mean(solved)),
        "largest_difference": float(gap.max()) if gap.size else np.nan,
    }  # fmt: skip


def main(options: Options) -> None:
    console, result = Console(width=120), dict[str, Any](benchmark="lagrangian_peers")
    table = Table("task", "controller", "median [us]", "p99", "largest", "solved", "cost")
    for name, make in TASKS.items():
        result[name] = {"loops": loops(make(), options.runs), "batch": batches(make(), options.batch)}
        for controller, row in result[name]["loops"].items():
            numbers = (f"{row[key]:.0f}" for key in ("median_us", "p99_us", "max_us"))
            table.add_row(name, controller, *numbers, f"{row['solved']:.0%}", f"{row['cost']:.6g}")
    console.print(table)
    table = Table("task", "batch, per s", "one after the other, per s", "speed-up", "solved", "solved", "difference")
    for name in TASKS:
        row = result[name]["batch"]
        rates = (f"{row[key]:.0f}" for key in ("batch_per_second", "nonlinear_per_second"))
        shares = (f"{row[key]:.0%}" for key in ("batch_solved", "nonlinear_solved"))
        table.add_row(name, *rates, f"{row['speed-up']:.2f}", *shares, f"{row['largest_difference']:.1e}")
    console.print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
