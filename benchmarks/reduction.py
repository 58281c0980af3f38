"""How much faster is constraint generation than the full program of multi-modal MPC, and is anybody hit?

    python -m benchmarks.reduction [--scenes 200] [--runs 200]

1. Random scenes at the intersection, all 16 joint modes possible: the largest differences between the optimum of the
   full program and that of constraint generation, and the processor time of both, in turns. Generation begins with the
   active set of the sample before, or with nothing. A third program is a stronger opponent than the full one: it has
   the same optimum by hand-made algebra that holds for this task alone, in which the road users' feedback shares one
   bound per road user and sample, so that it needs two cones per mode instead of one per joint mode.
2. Closed loops with drawn intentions: collisions and entered ellipses of n runs, with 95 % intervals (Clopper-Pearson).
3. A network trained on recorded duals: cones and rounds of a sample, beside those of the last active set.

The last line is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import Any

import clarabel
import numpy as np
import scipy.sparse as sp
import tyro
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from ctrl import Decision, simulate
from mpc import DualRecorder, MultiModalMPC
from mpc.reduction.generation import solve_by_generation, solve_with
from mpc.reduction.predictors import LastActiveSet, Situation
from mpc.reduction.program import SampleProgram
from systems import Task
from systems.library import intersection
from systems.library.intersection import collided

NONE = np.zeros(0, dtype=int)


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        scenes: random scenes.
        runs: closed loops.
        recorded: closed loops whose duals train the network; 0 to leave it out.
    """

    scenes: int = 200
    runs: int = 200
    recorded: int = 100


@dataclass(frozen=True, eq=False)
class Scene:
    """The program of a sample, and the cones that were active one sample before, at their times."""

    program: SampleProgram
    last_active: np.ndarray


def scene(controller: MultiModalMPC, rng: np.random.Generator) -> Scene | None:
    """A random state near the intersection, one sample after another that was solved; None if that had no solution.

    All modes keep some probability in both samples, so that the full program has the cones of all joint modes.
    """
    x = rng.uniform([-28.0, 4.0, -28.0, 6.0, -28.0, 6.0, -12.0, 1.5], [-8.0, 10.0, 2.0, 10.0, 2.0, 10.0, 1.0, 5.0])
    gradients = np.tile(np.array([0.0, -2.0 * 9.0, 0.0]), (controller.horizon + 1, 1))
    likely = tuple(rng.dirichlet(np.full(len(p), 2.0)) * 0.9 + 0.1 / len(p) for p in controller.model.prior)
    given = controller.model, controller.responses
    for path in controller._paths(x, 0):
        first = SampleProgram(*given, x, likely, gradients, path)
        optimum = solve_by_generation(first, NONE)
        if optimum.status == "solved":
            break
    else:
        return None
    path, inputs = first.plan(optimum.z)
    task = controller.task
    after = np.array(task.dynamics.function()(x, inputs[0], rng.normal(size=3) * [1.0, 1.0, 0.5], []))[:, 0]
    moved = LastActiveSet().predict(Situation(after, likely, controller._shape, optimum.active, 1))
    around = controller._path(after, np.concatenate([inputs[1:], inputs[-1:]]))
    return Scene(SampleProgram(*given, after, likely, gradients, around), moved)


def compact(program: SampleProgram) -> tuple[float, float]:
    """The optimum of the full program, NaN if none was found, and the processor time of its solve, from one bound
    s_k,t on the deviation of the ego's position for all modes of road user k: |R_k,mode,t K| <= s_k,t, and
    |(a s_others, a R K + b F)| <= distance for each mode of road user i."""
    model, responses, N = program.model, program.responses, program.horizon
    agents, h, first = len(model.agents), responses.G.shape[2], program.size
    size = first + agents * N
    rows: list[np.ndarray] = []
    right: list[np.ndarray] = []
    kinds: list[Any] = [clarabel.NonnegativeConeT(len(program.d))]
    for k in range(agents):
        for mode, response in enumerate(responses.modes[k]):
            place = program._place[k, mode]
            joint = int(np.flatnonzero(program.joint[:, k] == mode)[0])
            for t in range(1, N + 1):
                bound = np.zeros((1 + t, size))
                bound[0, first + k * N + t - 1] = -1.0
                bound[1:, place] = -response.R[t][0, :t]
                rows.append(bound)
                right.append(np.zeros(1 + t))
                normal, quantile = program.normals[k, joint, t - 1], program._quantiles[k]
                cone = np.zeros((agents + t, size))
                cone[0, :h] = -(normal[model.ego] @ responses.G[t])
                for row, other in enumerate((i for i in range(agents) if i != k), start=1):
                    cone[row, first + other * N + t - 1] = -quantile * abs(normal[0])
                cone[agents:, place] = -quantile * normal[0] * response.R[t][0, :t]
                rows.append(cone)
                right.append(np.zeros(agents + t))
                right[-1][0] = program._clear[k, joint, t - 1]
                right[-1][agents:] = quantile * (normal[model.agents[k]] @ response.F[t])[:t]
                kinds += [clarabel.SecondOrderConeT(1 + t), clarabel.SecondOrderConeT(agents + t)]
    hard = sp.hstack([program.C, sp.csr_matrix((len(program.d), agents * N))])
    A = sp.csc_matrix(sp.vstack([hard, sp.csr_matrix(np.vstack(rows))]))
    settings = clarabel.DefaultSettings()
    settings.verbose, settings.presolve_enable = False, False
    P = sp.triu(sp.block_diag([program.P, sp.csc_matrix((agents * N,) * 2)]), format="csc")
    q, b = np.concatenate([program.q, np.zeros(agents * N)]), np.concatenate([program.d, *right])
    began = process_time()  # the matrices above are written for clarity, not for speed
    solution = clarabel.DefaultSolver(P, q, A, b, kinds, settings).solve()
    seconds = process_time() - began
    return (float(solution.obj_val) if str(solution.status) == "Solved" else np.nan), seconds


def timed(what: Callable[..., Any], *given: Any) -> tuple[Any, float]:
    began = process_time()
    return what(*given), process_time() - began


def compare_programs(controller: MultiModalMPC, scenes: int) -> dict[str, Any]:
    """Differences and processor times over the scenes that have a solution."""
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in ("full", "compact", "last active set", "nothing")}
    largest = dict.fromkeys(("objective", "input", "plan", "violation", "compact objective"), 0.0)
    same_status, infeasible, count, rounds, imposed, cones = 0, 0, 0, [], [], []
    while count < scenes:
        made = scene(controller, rng)
        if made is None:
            continue
        program, count = made.program, count + 1
        full, full_seconds = timed(solve_with, program, program.every, 100, np.inf)
        warm, warm_seconds = timed(solve_by_generation, program, made.last_active)
        cold, cold_seconds = timed(solve_by_generation, program, NONE)
        same_status += full.status == warm.status == cold.status
        if full.status != "solved":
            infeasible += full.status == "infeasible"
            continue
        value, compact_seconds = compact(program)
        for name, used in zip(seconds, (full_seconds, compact_seconds, warm_seconds, cold_seconds), strict=True):
            seconds[name].append(used)
        best = program.objective(full.z)
        scale = 1.0 + abs(best)
        largest["compact objective"] = max(largest["compact objective"], abs(value - best) / scale)
        for reduced in (warm, cold):
            gap = np.abs(program.plan(reduced.z)[1] - program.plan(full.z)[1])
            largest["objective"] = max(largest["objective"], abs(program.objective(reduced.z) - best) / scale)
            largest["input"] = max(largest["input"], float(gap[0].max()))
            largest["plan"] = max(largest["plan"], float(gap.max()))
            largest["violation"] = max(largest["violation"], float(program.violations(reduced.z).max()))
        rounds.append(warm.rounds)
        imposed.append(len(warm.imposed))
        cones.append(len(program.every))
    mean = {name: float(np.mean(values)) for name, values in seconds.items()}
    return {
        "scenes": count, "same status": same_status, "infeasible": infeasible, "largest difference": largest,
        "seconds": mean, "fraction": mean["last active set"] / mean["full"], "times faster": mean["full"] /
        mean["last active set"], "times faster than compact": mean["compact"] / mean["last active set"],
        "rounds": float(np.mean(rounds)), "cones": float(np.mean(imposed)), "of": float(np.mean(cones)),
    }  # fmt: skip


class Counted:
    """A controller that counts rounds and cones of its samples."""

    def __init__(self, controller: MultiModalMPC) -> None:
        self.controller, self.task = controller, controller.task
        self.rounds: list[int] = []
        self.cones: list[int] = []

    def reset(self) -> None:
        self.controller.reset()

    def step(self, x: np.ndarray, k: int) -> Decision:
        decision = self.controller.step(x, k)
        if self.controller.optimum is not None:
            self.rounds.append(self.controller.optimum.rounds)
            self.cones.append(len(self.controller.optimum.imposed))
        return decision


def closed_loops(task: Task, controller: Any, runs: int, seed: int) -> dict[str, Any]:
    """Collisions and entered ellipses of runs with drawn starts, intentions and noise."""
    rng = np.random.default_rng(seed)
    starts = task.initial.sample(task.plant.state, rng, (runs,))
    noise = task.disturbance.sample(task.plant.disturbance, rng, (runs, task.steps))
    began = process_time()
    run = simulate(task, controller, starts, noise, parameters=task.draw_parameters(rng, runs))
    seconds = process_time() - began
    hits = int(collided(run.states).any(axis=(1, 2)).sum())
    entered = run.margins[:, :, [c.name for c in task.constraints].index("gap")] > 0.0
    interval = binomtest(hits, runs).proportion_ci(method="exact")
    return {
        "runs": runs, "collisions": hits, "interval": [float(interval.low), float(interval.high)],
        "runs with an entered ellipse": int(entered.any(axis=1).sum()), "share of samples": float(entered.mean()),
        "cost": float(run.cost.mean()), "ms": 1e3 * seconds / (runs * task.steps),
    }  # fmt: skip


def network(task: Task, recorded: int) -> dict[str, Any]:
    """Rounds and cones of a sample with a trained network and with the last active set, on the same new runs."""
    from safe_rl import train_dual_network

    recorder = DualRecorder(MultiModalMPC(task))
    closed_loops(task, recorder, recorded, seed=7)
    predictor = train_dual_network(recorder)
    rows = {}
    for name, given in (("last active set", None), ("network", predictor)):
        counted = Counted(MultiModalMPC(task, predictor=given))
        result = closed_loops(task, counted, 20, seed=8)
        rows[name] = {
            "rounds": float(np.mean(counted.rounds)),
            "one round": float(np.mean(np.array(counted.rounds) == 1)),
            "cones": float(np.mean(counted.cones)),
            "ms": result["ms"],
            "cost": result["cost"],
        }
    return rows


def main(options: Options) -> None:
    """Prints the tables."""
    console, task = Console(), intersection()
    programs = compare_programs(MultiModalMPC(task), options.scenes)
    table = Table("program", "mean time [ms]", "of the full one", title=f"{programs['scenes']} scenes")
    for name, seconds in programs["seconds"].items():
        table.add_row(name, f"{1e3 * seconds:.1f}", f"{seconds / programs['seconds']['full']:.1%}")
    console.print(table)
    for name, value in programs["largest difference"].items():
        console.print(f"largest difference, {name}: {value:.1e}")
    loops = closed_loops(task, MultiModalMPC(task), options.runs, seed=1)
    low, high = loops["interval"]
    console.print(
        f"{loops['collisions']} collisions in {loops['runs']} runs (95 %: {low:.1%} to {high:.1%}), an ellipse entered "
        f"in {loops['runs with an entered ellipse']} runs and {loops['share of samples']:.2%} of the samples"
    )
    networks = network(task, options.recorded) if options.recorded else {}
    for name, row in networks.items():
        console.print(f"{name}: {row['rounds']:.2f} rounds, {row['cones']:.1f} cones, {row['ms']:.1f} ms a sample")
    print(json.dumps({"programs": programs, "loops": loops, "network": networks}))


if __name__ == "__main__":
    main(tyro.cli(Options))
