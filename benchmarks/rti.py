"""How long does a step of nonlinear MPC take, converged and as a real-time iteration, beside do-mpc?

    python -m benchmarks.rti [--steps 100]

The swing-up of a cart-pole over 40 samples and a planar quadrotor over 30, from the same start, with the same discrete
model, cost and terminal cost. do-mpc solves with its default, ipopt. Steps are taken in turn, so that all methods meet
the same load of the machine; times are those of the whole Python call. The first step, a cold solve, is not counted.
The last line is JSON: medians as ratios to do-mpc, and closed-loop costs relative to ipopt's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import casadi as ca
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from mpc import NonlinearMPC
from systems import Task
from systems.library import cartpole_swing_up, planar_quadrotor

PROBLEMS: dict[str, tuple[Callable[[], Task], int]] = {
    "cartpole": (cartpole_swing_up, 40),
    "quadrotor": (planar_quadrotor, 30),
}


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        steps: of each closed loop.
    """

    steps: int = 100


def dompc(task: Task, horizon: int) -> Callable[[np.ndarray, int], np.ndarray]:
    """The task behind do-mpc: discrete model, stage and terminal cost, bounds of the inputs."""
    import do_mpc

    model = do_mpc.model.Model("discrete", "SX")
    x = model.set_variable("_x", "x", (len(task.plant.state), 1))
    u = model.set_variable("_u", "u", (len(task.plant.input), 1))
    model.set_rhs("x", task.dynamics.function()(x, u, 0, []))
    model.setup()
    x_ref, u_ref = task.reading.start
    end = NonlinearMPC(task, horizon, solver="ipopt").staged.end
    assert end.P is not None
    error = model.x["x"] - (x_ref if end.centre is None else end.centre)
    controller = do_mpc.controller.MPC(model)
    controller.settings.n_horizon, controller.settings.t_step = horizon, task.dt
    controller.settings.store_full_solution = False
    controller.settings.supress_ipopt_output()
    size = task.reading.cost_size
    controller.set_objective(
        mterm=(ca.bilin(ca.DM(end.P), error, error) + ca.dot(ca.DM(end.p), error)) / size,
        lterm=task.stage_cost(model.x["x"], model.u["u"], x_ref, u_ref) / size,
    )
    controller.set_rterm(u=0.0)
    low, high = task.input_bounds
    controller.bounds["lower", "_u", "u"], controller.bounds["upper", "_u", "u"] = low, high
    controller.setup()
    state: dict[str, Any] = {"new": True}

    def step(measured: np.ndarray, k: int) -> np.ndarray:
        if state.pop("new", False):
            controller.x0 = measured
            controller.set_initial_guess()
        return np.asarray(controller.make_step(measured[:, None]))[:, 0]

    return step


def ours(task: Task, horizon: int, **named: Any) -> Callable[[np.ndarray, int], np.ndarray]:
    controller = NonlinearMPC(task, horizon, **named)
    return lambda x, k: controller.step(x, k).input


def measured(task: Task, horizon: int, steps: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Seconds of each step and closed-loop costs, by method."""
    methods = {
        "do-mpc": dompc(task, horizon),
        "ipopt": ours(task, horizon, solver="ipopt"),
        "converged": ours(task, horizon),
        "real-time iteration": ours(task, horizon, iterations=1),
    }
    start = task.initial.sample(task.plant.state, np.random.default_rng(0))
    states = {name: start.copy() for name in methods}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    costs = dict.fromkeys(methods, 0.0)
    step, (low, high) = task.dynamics.function(), task.input_bounds
    for k in range(steps):
        x_ref, u_ref = (part[0] for part in task.reading.window(k, 1))
        for name, method in methods.items():
            x = states[name]
            began = perf_counter()
            u = method(x, k)
            seconds[name].append(perf_counter() - began)
            u = np.clip(u, low, high)
            costs[name] += float(task.stage_cost(x, u, x_ref, u_ref))
            states[name] = np.array(step(x, u, 0, []))[:, 0]
    return {name: np.array(times[1:]) for name, times in seconds.items()}, costs


def main(options: Options) -> None:
    result: dict[str, Any] = {"benchmark": "rti", "steps": options.steps, "hpipm": "CasADi's"}
    table = Table("problem", "method", "median [ms]", "p99 [ms]", "ratio to do-mpc", "cost relative to ipopt")
    for name, (make, horizon) in PROBLEMS.items():
        seconds, costs = measured(make(), horizon, options.steps)
        unit = float(np.median(seconds["do-mpc"]))
        result[name] = {}
        for method, times in seconds.items():
            median, share = float(np.median(times)), costs[method] / costs["ipopt"]
            row = (f"{1e3 * median:.3f}", f"{1e3 * np.quantile(times, 0.99):.3f}", f"1/{unit / median:.1f}")
            table.add_row(name, method, *row, f"{share:.6f}")
            result[name][method] = {"ratio_to_dompc": median / unit, "relative_cost": share}
    Console(width=120).print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
