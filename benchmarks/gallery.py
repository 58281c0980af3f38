"""Do our closed loops on the examples of do-mpc's gallery cost what do-mpc's cost, and how long do their steps take?

    python -m benchmarks.gallery [--examples kite ...] [--steps 50]

Each task of `systems.library.gallery` is controlled by `NonlinearMPC` and by do-mpc, with the horizon, sample time,
bounds and weights of the example, nominal parameters and steady winds. do-mpc discretises by Radau collocation and
solves with ipopt, as published; ours integrates as the task says and ends where the run ends. Both act on the same
simulator, CVODES to 1e-10, from the same start, and are charged the task's own cost. They take ten steps in turn, so
that both meet the same load of the machine; times are processor times of whole Python calls, without the first.

The last line is JSON; for each example

* ``cost_ratio``: 1 + (our cost - do-mpc's) / |do-mpc's|, below 1 where ours is lower, whatever the sign,
* ``step_ratio``: the median of our converged steps to do-mpc's, and ``real_time_step_ratio`` and
  ``real_time_cost_ratio`` of our real-time iteration,
* ``violation``: the largest of hard constraints in the unit of the constraint, ours and do-mpc's,
* ``unsolved``: our steps that did not converge.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import Any

import casadi as ca
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.gallery_dompc import Example, controller
from ctrl import Status
from mpc import NonlinearMPC
from systems import Task
from systems.library import gallery
from systems.requirements import Hard

BLOCK = 10  # steps that a method takes in turn
PATIENT = 1e4  # s: results must not depend on the load of the machine
EXAMPLES = {
    "CSTR": Example(
        gallery.stirred_tank_product,
        20,
        scaling={"reactor_temperature": 100.0, "jacket_temperature": 100.0, "feed": 100.0, "heat": 2000.0},
    ),
    "batch bioreactor": Example(gallery.fed_batch_bioreactor, 20, elements=2),
    "oscillating masses": Example(gallery.mass_pair, 7),
    "double inverted pendulum": Example(gallery.double_pendulum_obstacle, 100, degree=3),
    "polymerisation reactor": Example(
        gallery.polymerisation,
        20,
        scaling={"water": 10.0, "monomer": 10.0, "polymer": 10.0, "fed": 10.0, "feed": 100.0},
    ),
    "quadcopter": Example(gallery.quadcopter_figure_eight, 30),
    "kite": Example(gallery.towing_kite, 80),
}
Method = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        examples: by name; default: all.
        steps: most steps of each closed loop; default: the whole run.
    """

    examples: tuple[str, ...] = tuple(EXAMPLES)
    steps: int | None = None


@dataclass(eq=False)
class Ours:
    """Our controller, and the number of its steps that did not converge."""

    controller: NonlinearMPC
    unsolved: int = 0

    def __call__(self, x: np.ndarray, k: int) -> np.ndarray:
        decision = self.controller.step(x, k)
        self.unsolved += decision.status is not Status.SOLVED
        return decision.input


def simulator(task: Task) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The next state of a task whose plant keeps the previous inputs, by CVODES to 1e-10; discrete plants as given."""
    plant = task.plant.inner  # type: ignore[attr-defined]
    n, m = len(plant.state), len(plant.input)
    x, u = ca.SX.sym("x", n), ca.SX.sym("u", m)
    rate = plant.casadi()(x, u, [], [])
    if plant.is_discrete:
        step = ca.Function("step", [x, u], [rate])
    else:
        precise = {"abstol": 1e-10, "reltol": 1e-10}
        by = ca.integrator("by", "cvodes", {"x": x, "p": u, "ode": task.dt * rate}, 0.0, 1.0, precise)
        x, u = ca.MX.sym("x", n), ca.MX.sym("u", m)
        step = ca.Function("step", [x, u], [by(x0=x, p=u)["xf"]])

    def advance(state: np.ndarray, given: np.ndarray) -> np.ndarray:
        return np.concatenate([np.array(step(state[:n], given))[:, 0], given])

    return advance


@dataclass(eq=False)
class Loop:
    """One closed loop.

    Args:
        task: defines cost and constraints.
        method: gives the inputs.
    """

    task: Task
    method: Method

    def __post_init__(self) -> None:
        self.x = self.task.initial.sample(self.task.plant.state, np.random.default_rng(0))
        self.seconds: list[float] = []
        self.cost, self.violation = 0.0, 0.0
        self._advance, self._stage = simulator(self.task), self.task.stage_cost_function()
        self._margins = self.task.margin_function()
        self._hard = [isinstance(c.requirement, Hard) for c in self.task.constraints]

    def run(self, samples: range) -> None:
        """Advances over the samples; the last sample of the task is charged its terminal cost, too."""
        for k in samples:
            began = process_time()
            u = self.method(self.x, k)
            self.seconds.append(process_time() - began)
            u = np.clip(u, *self.task.input_bounds)
            self.cost += float(self._stage(self.x, u, *self.task.reference.at(self.task.plant, k)))
            self.x = self._advance(self.x, u)
            margins = np.array(self._margins(self.x, u))[:, 0][self._hard]
            self.violation = max(self.violation, float(margins.max(initial=0.0)))
        if samples.stop == self.task.steps:
            x_ref, _ = self.task.reference.at(self.task.plant, self.task.steps)
            self.cost += float(self.task.terminal_cost_function()(self.x, x_ref))


def measured(example: Example, most: int | None) -> tuple[dict[str, Loop], dict[str, Ours]]:
    """The closed loops of do-mpc, our converged solver and our real-time iteration."""
    task = example.make()
    steps = min(task.steps, most or task.steps)
    ours = {
        "converged": Ours(NonlinearMPC(task, example.horizon, time_limit=PATIENT)),
        "real-time iteration": Ours(NonlinearMPC(task, example.horizon, iterations=1, time_limit=PATIENT)),
    }
    for method in ours.values():
        method.controller.compile()
    methods: dict[str, Method] = {"do-mpc": controller(example, task), **ours}
    loops = {name: Loop(task, method) for name, method in methods.items()}
    for first in range(0, steps, BLOCK):
        for loop in loops.values():
            loop.run(range(first, min(first + BLOCK, steps)))
    return loops, ours


def main(options: Options) -> None:
    warnings.simplefilter("ignore", FutureWarning)  # of CasADi, on the way that do-mpc compares bounds
    table = Table("example", "method", "cost", "ratio", "median [ms]", "p99 [ms]", "ratio", "violation", "unsolved")
    result: dict[str, Any] = {"benchmark": "gallery"}
    for name in options.examples:
        loops, ours = measured(EXAMPLES[name], options.steps)
        peer = loops["do-mpc"]
        unit = float(np.median(peer.seconds[1:]))
        ratios = {}
        for method, loop in loops.items():
            median, late = float(np.median(loop.seconds[1:])), float(np.quantile(loop.seconds[1:], 0.99))
            cost, time = 1.0 + (loop.cost - peer.cost) / abs(peer.cost), median / unit
            unsolved = str(ours[method].unsolved) if method in ours else ""
            ratios[method] = cost, time
            table.add_row(
                name, method, f"{loop.cost:.6g}", f"{cost:.5f}", f"{1e3 * median:.2f}", f"{1e3 * late:.2f}",
                f"1/{1 / time:.1f}", f"{loop.violation:.1e}", unsolved,
            )  # fmt: skip
        result[name] = {
            "cost_ratio": ratios["converged"][0],
            "step_ratio": ratios["converged"][1],
            "real_time_cost_ratio": ratios["real-time iteration"][0],
            "real_time_step_ratio": ratios["real-time iteration"][1],
            "violation": [loops["converged"].violation, peer.violation],
            "unsolved": ours["converged"].unsolved,
        }
    Console(width=130).print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
