"""How long does a step of nonlinear MPC take, converged and as a real-time iteration, beside do-mpc?

    python -m benchmarks.rti [--steps 100]

The swing-up of a cart-pole over 40 samples and a planar quadrotor over 30, from the same start, with the same discrete
model, cost and terminal cost. do-mpc solves with its default, ipopt. acados runs in a process of its own
(`benchmarks.rti_acados`), where one is installed: its real-time iteration, unshifted as in its examples, and its SQP to
1e-6. Methods take ten steps in turn, so that all meet the same load of the machine; times are processor times of the
whole Python call. The first step, a cold solve, is not counted. The last line is JSON: medians as ratios to do-mpc,
closed-loop costs relative to ipopt's, and for each problem

* ``ratio_to_dompc``, ``ratio_to_dompc_no_compiler``, ``feedback_ratio_to_dompc``: our real-time iteration with a
  compiled and an interpreted model, and its feedback alone, after ``prepare``, to do-mpc's step,
* ``ratio_to_acados``: our real-time iteration to that of acados, and the same with acados' HPIPM as
  ``ratio_to_acados_with_its_hpipm``,
* ``converged_ratio_to_acados``: our converged step to that of acados' SQP, with the relative difference of their
  closed-loop costs, and the number of steps in which either did not converge;

null where there is no acados.
"""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.rti_acados import METHODS, Method, Peer, run
from ctrl import Status
from mpc import NonlinearMPC
from mpc.solvers.acados_install import AcadosMissing
from systems import Task
from systems.library import cartpole_swing_up, planar_quadrotor

REAL_TIME, INTERPRETED, FEEDBACK, TUNED, TUNED_FEEDBACK = (
    "real-time iteration", "real-time iteration, interpreted", "real-time iteration, feedback",
    "real-time iteration, HPIPM of acados", "real-time iteration, HPIPM of acados, feedback",
)  # fmt: skip
BLOCK = 10  # steps that a method takes in turn
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


@dataclass(eq=False)
class Ours:
    """Our controller, and the number of its steps that did not converge."""

    controller: NonlinearMPC
    unsolved: int = 0

    def __call__(self, x: np.ndarray, k: int) -> np.ndarray:
        decision = self.controller.step(x, k)
        self.unsolved += decision.status is not Status.SOLVED
        return decision.input


def compiled(controller: NonlinearMPC) -> NonlinearMPC:
    controller.compile()
    return controller


def interpreted(task: Task, horizon: int) -> NonlinearMPC:
    """A real-time iteration on a machine without a compiler."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", "none")
        return NonlinearMPC(task, horizon, iterations=1)


def peer(problem: str) -> Peer | None:
    try:
        return Peer(problem)
    except AcadosMissing as reason:
        print(f"no acados: {reason}")
        return None


def measured(problem: str, task: Task, horizon: int, steps: int) -> tuple[dict[str, np.ndarray], dict[str, float], Any]:
    """Seconds of each step and closed-loop costs, by method; how many steps did not converge, ours and acados'."""
    warnings.simplefilter("ignore", FutureWarning)  # of CasADi, on the way that do-mpc compares bounds
    converged, acados = Ours(compiled(NonlinearMPC(task, horizon))), peer(problem)
    methods: dict[str, Method] = {
        "do-mpc": dompc(task, horizon),
        "ipopt": Ours(NonlinearMPC(task, horizon, solver="ipopt")),
        "converged": converged,
        REAL_TIME: Ours(compiled(NonlinearMPC(task, horizon, iterations=1))),
        INTERPRETED: Ours(interpreted(task, horizon)),
    }
    runs = {name: functools.partial(run, task, method) for name, method in methods.items()}
    split = compiled(NonlinearMPC(task, horizon, iterations=1))
    runs[FEEDBACK] = functools.partial(run, task, Ours(split), prepare=split.prepare)
    if acados is not None:
        tuned, halves = (compiled(NonlinearMPC(task, horizon, iterations=1, hpipm="acados")) for _ in range(2))
        runs[TUNED] = functools.partial(run, task, Ours(tuned))
        runs[TUNED_FEEDBACK] = functools.partial(run, task, Ours(halves), prepare=halves.prepare)
        runs[f"{METHODS[1]}, by NonlinearMPC"] = functools.partial(
            run, task, Ours(NonlinearMPC(task, horizon, solver="acados"))
        )
        runs.update({name: functools.partial(acados.run, name) for name in METHODS})
    start = task.initial.sample(task.plant.state, np.random.default_rng(0))
    states = dict.fromkeys(runs, start)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    costs = dict.fromkeys(runs, 0.0)
    for first in range(0, steps, BLOCK):
        for name, of in runs.items():
            states[name], took, cost = of(states[name], range(first, min(first + BLOCK, steps)))
            seconds[name] += took
            costs[name] += cost
    unsolved = {"ours": converged.unsolved, "acados": None if acados is None else acados.unsolved[METHODS[1]]}
    if acados is not None:
        acados.close()
    return {name: np.array(times[1:]) for name, times in seconds.items()}, costs, unsolved


def beside_acados(seconds: dict[str, np.ndarray], costs: dict[str, float], unsolved: Any) -> dict[str, Any]:
    """Our steps as ratios to those of acados; null where there is none."""
    pairs = ((REAL_TIME, METHODS[0]), ("converged", METHODS[1]), (TUNED, METHODS[0]))
    ratios = [
        float(np.median(seconds[ours]) / np.median(seconds[theirs])) if theirs in seconds else None
        for ours, theirs in pairs
    ]
    theirs = costs.get(METHODS[1])
    return {
        "ratio_to_acados": ratios[0],
        "ratio_to_acados_with_its_hpipm": ratios[2],
        "converged_ratio_to_acados": ratios[1],
        "converged_cost_difference": None if theirs is None else costs["converged"] / theirs - 1.0,
        "not_converged": unsolved,
    }


def main(options: Options) -> None:
    result: dict[str, Any] = {"benchmark": "rti", "steps": options.steps, "hpipm": "CasADi's, unless named"}
    table = Table("problem", "method", "median [ms]", "p99 [ms]", "ratio to do-mpc", "cost relative to ipopt")
    for name, (make, horizon) in PROBLEMS.items():
        seconds, costs, unsolved = measured(name, make(), horizon, options.steps)
        unit = float(np.median(seconds["do-mpc"]))
        keys = {
            REAL_TIME: "ratio_to_dompc", INTERPRETED: "ratio_to_dompc_no_compiler", FEEDBACK: "feedback_ratio_to_dompc"
        }  # fmt: skip
        ratios = {key: float(np.median(seconds[method])) / unit for method, key in keys.items()}
        result[name] = {**ratios, **beside_acados(seconds, costs, unsolved)}
        for method, times in seconds.items():
            median, share = float(np.median(times)), costs[method] / costs["ipopt"]
            row = (f"{1e3 * median:.3f}", f"{1e3 * np.quantile(times, 0.99):.3f}", f"1/{unit / median:.1f}")
            table.add_row(name, method, *row, f"{share:.6f}")
            result[name][method] = {"ratio_to_dompc": median / unit, "relative_cost": share}
    Console(width=120).print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
