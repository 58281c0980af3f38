"""One task, three back-ends: our solver, do-mpc and, where it is installed, acados.

Run: python examples/backends.py
"""

from __future__ import annotations

from dataclasses import dataclass
from time import process_time

import numpy as np
import tyro

from mpc import NonlinearMPC, to_dompc
from mpc.nonlinear.nonlinear_mpc import Solver
from mpc.solvers.acados_install import AcadosMissing
from systems import Task
from systems.library import cartpole_swing_up


@dataclass(frozen=True)
class Options:
    """How long to run.

    Args:
        steps: of each closed loop. horizon: predicted samples.
    """

    steps: int = 80
    horizon: int = 40


def closed_loop(task: Task, controller: NonlinearMPC, steps: int) -> tuple[float, float]:
    """The cost of an undisturbed run, and the median milliseconds of a step."""
    x, cost, seconds = task.initial.mean(task.plant.state), 0.0, []
    after, stage = task.dynamics.function(), task.stage_cost_function()
    for k in range(steps):
        began = process_time()
        u = controller.step(x, k).input
        seconds.append(process_time() - began)
        cost += float(stage(x, u, *(part[0] for part in task.reading.window(k, 1))))
        x = np.array(after(x, u, 0, []))[:, 0]
    return cost, 1e3 * float(np.median(seconds))


def with_its_own_objects(task: Task, options: Options) -> float:
    """The cost of the same run, as users of do-mpc write it."""
    made = to_dompc(task, options.horizon)
    n, m = len(task.plant.state), len(task.plant.input)
    x = np.concatenate([task.initial.mean(task.plant.state), np.zeros(made.model.n_x - n)])[:, None]
    made.mpc.x0 = made.simulator.x0 = x
    made.mpc.set_initial_guess()
    cost, stage = 0.0, task.stage_cost_function()
    for k in range(options.steps):
        u = made.mpc.make_step(x)
        cost += float(stage(x[:n], u[:m], *(part[0] for part in task.reading.window(k, 1))))
        x = made.simulator.make_step(u)
    return cost


def main(options: Options) -> dict[str, float]:
    """Prints and returns the costs."""
    task, costs = cartpole_swing_up(), {}
    solvers: tuple[Solver, ...] = ("sqp", "do-mpc", "acados")
    for solver in solvers:
        try:
            controller = NonlinearMPC(task, options.horizon, solver=solver)
        except AcadosMissing as reason:
            print(f"{solver:12s} {reason}")
            continue
        costs[solver], step = closed_loop(task, controller, options.steps)
        print(f"{solver:12s} cost {costs[solver]:.4f}, {step:.2f} ms per step")
    costs["do-mpc alone"] = with_its_own_objects(task, options)
    print(f"do-mpc alone cost {costs['do-mpc alone']:.4f}")
    return costs


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
