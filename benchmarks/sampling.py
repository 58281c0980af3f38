"""What do controllers by sampling cost beside nonlinear MPC, and what can only they do?

    python -m benchmarks.sampling [--runs 3]

1. Closed loops from the same starts on three smooth tasks: mean cost over that of NonlinearMPC, and processor time of a
   step. Predictions are compiled where there is a compiler; the regulator, with whose prediction every search begins,
   is listed beside them.
2. A task that charges each sample outside of its goal, and nothing else but a little for the input: the same.
3. Processor time of one round of 1,000 predictions of 30 samples of the planar quadrotor, by numpy and compiled.

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

import casadi as ca
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from ctrl import LQR, simulate
from mpc import MPPI, CrossEntropyMPC, NonlinearMPC
from systems import Nonlinear, Task, Uniform
from systems.library import cartpole_swing_up, pendulum_swing_up, planar_quadrotor
from systems.lowering.c_backend import CompilerMissing

HORIZON = 30


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        runs: closed loops of each controller.
        steps: samples of a run, at most.
    """

    runs: int = 3
    steps: int = 150


def far_quadrotor() -> Task:
    """The planar quadrotor from where it has to tilt by far more than the regulator's linear model knows."""
    task, reach = planar_quadrotor(), {"x": 2.0, "z": 1.0, "angle": 1.2, "x_rate": 1.0, "z_rate": 1.0}
    return dataclasses.replace(task, initial=Uniform({name: -value for name, value in reach.items()}, reach))


def goal_pendulum() -> Task:
    """The pendulum is to be upright: each other sample costs 1, wherever it is."""
    task = pendulum_swing_up()
    angle, rate = task.plant.state.names
    width = 0.2

    def stage(x: Any, u: Any, xr: Any, ur: Any) -> Any:
        away = ca.fmax(1.0 - ca.cos(x[angle]), 0.1 * ca.fabs(x[rate]))
        return ca.if_else(away <= width, 0.0, 1.0) + 1e-3 * u[0] ** 2

    return dataclasses.replace(task, name="pendulum-goal", cost=Nonlinear(stage))


TASKS: dict[str, Callable[[], Task]] = {
    "pendulum swing-up": pendulum_swing_up,
    "cart-pole swing-up": cartpole_swing_up,
    "planar quadrotor, far": far_quadrotor,
    "pendulum, goal alone": goal_pendulum,
}


def closed_loops(task: Task, options: Options) -> dict[str, dict[str, float]]:
    """Mean cost and processor time of a step [ms] of each controller, from the same starts."""
    task = dataclasses.replace(task, steps=min(task.steps, options.steps))
    starts = task.initial.sample(task.plant.state, np.random.default_rng(0), (options.runs,))
    controllers: dict[str, Any] = {
        "nonlinear": NonlinearMPC(task, HORIZON),
        "regulator": LQR(task) if task.name != "pendulum-goal" else None,
        "mppi": MPPI(task, HORIZON),
        "cross-entropy": CrossEntropyMPC(task, HORIZON),
    }
    rows = {}
    for name, controller in controllers.items():
        if controller is None:
            continue
        if hasattr(controller, "compile"):
            with suppress(CompilerMissing):
                controller.compile()
        began = process_time()
        cost = simulate(task, controller, starts).cost
        seconds = process_time() - began
        rows[name] = {"cost": float(cost.mean()), "ms": 1e3 * seconds / (len(cost) * task.steps)}
    return rows


def round_time() -> dict[str, float]:
    """Processor time [ms] of a step of one round on the planar quadrotor, the smallest of 20, in turns."""
    task = planar_quadrotor()
    x = task.initial.sample(task.plant.state, np.random.default_rng(0))
    controllers = {name: MPPI(task, HORIZON, 1000, max_iterations=1) for name in ("numpy", "compiled")}
    with suppress(CompilerMissing):
        controllers["compiled"].compile()
    times: dict[str, list[float]] = {name: [] for name in controllers}
    for k in range(20):
        for name, controller in controllers.items():
            began = process_time()
            controller.step(x, k)
            times[name].append(1e3 * (process_time() - began))
    return {name: min(values) for name, values in times.items()}


def main(options: Options) -> None:
    """Prints the tables."""
    console, results = Console(), {}
    for name, make in TASKS.items():
        rows = results[name] = closed_loops(make(), options)
        table = Table("controller", "cost", "over nonlinear MPC", "step [ms]", title=name)
        for controller, row in rows.items():
            row["ratio"] = row["cost"] / rows["nonlinear"]["cost"]
            table.add_row(controller, f"{row['cost']:.4g}", f"{row['ratio']:.3f}", f"{row['ms']:.2f}")
        console.print(table)
    rounds = round_time()
    console.print("one round of 1,000 x 30, ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in rounds.items()))
    print(json.dumps({"tasks": results, "round_ms": rounds}))


if __name__ == "__main__":
    main(tyro.cli(Options))
