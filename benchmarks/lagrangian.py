"""Lagrangian-predictive control: which multipliers, and how many problems per second.

``python -m benchmarks.lagrangian`` prints two tables and one line of JSON.

1. Iterations and accumulated violation until the optimality residual is 1e-6, from a cold start, with the same primal
   steps and integral, PID and predictive multipliers. The gains of the first two are swept over a grid, with gains in
   units of the problem (1 over the largest dual curvature). The best of each sweep, per problem and over all problems
   at once, counts: fewest iterations in total, a run that does not arrive counting as the limit.
2. The batch of 1,024 cart-pole problems in torch against fatrop, one problem after the other from a cold start, and
   against the same descent one problem after the other. Both sides are asked whether they arrived, and how far their
   inputs are apart.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ctrl.controller import Status
from ctrl.multipliers import PID, GivenModel, Integral, MultiplierController, Predictive
from mpc.lagrangian.batch import LagrangianBatch
from mpc.lagrangian.descent import Descent, Maker, dead_beat
from mpc.lagrangian.shooting import CasadiShooting
from mpc.nonlinear.transcription import transcribe
from mpc.solvers.fatrop import Fatrop
from systems import Box, Task
from systems.library.cartpole import cartpole
from systems.library.double_integrator import double_integrator
from systems.library.pendulum import pendulum

LIMIT = 400
PROBLEMS: dict[str, tuple[Task, int, list[list[float]]]] = {
    "double integrator": (double_integrator(), 25, [[-3.0, 0.45], [4.0, 0.75]]),
    "pendulum": (
        dataclasses.replace(pendulum(), constraints=(Box("rate limit", {"rate": (-0.4, 0.4)}),)),
        20,
        [[-0.4, 0.3], [0.5, -0.2]],
    ),
    "cart-pole": (
        dataclasses.replace(cartpole(), constraints=(Box("track", {"position": (-2.4, 2.4)}),)),
        10,
        [[2.2, -0.1, 0.7, 0.0], [-2.2, 0.1, -0.6, 0.0]],
    ),
}
BATCH, HORIZON = 1024, 10

Kind = Callable[[float, tuple[int, int], np.ndarray], MultiplierController]


def kinds() -> dict[str, dict[str, Kind]]:
    """The sweeps: family, then setting. The first argument of each is 1 over the largest dual curvature."""
    found: dict[str, dict[str, Kind]] = {"integral": {}, "PID": {}, "predictive": {}}
    for ki in np.logspace(-1.0, 2.0, 10):
        found["integral"][f"ki {ki:.3g}"] = lambda unit, n, top, ki=ki: Integral(ki * unit, n, top)  # type: ignore[misc]
    for ki, kp, kd in itertools.product(np.logspace(0.0, 1.5, 4), (0.03, 0.3, 1.0), (0.0, 0.3)):
        found["PID"][f"ki {ki:.3g}, kp {kp} ki, kd {kd} ki"] = lambda unit, n, top, ki=ki, kp=kp, kd=kd: PID(  # type: ignore[misc]
            kp * ki * unit, ki * unit, kd * ki * unit, n, top
        )
    found["predictive"]["dead-beat"] = lambda unit, n, top: dead_beat(n, top)
    for N, r in itertools.product((1, 3), (1e-3, 1e-1)):
        found["predictive"][f"N {N}, r {r:.0e}"] = lambda unit, n, top, N=N, r=r: Predictive(  # type: ignore[misc]
            GivenModel(0.0, 0.0, n), N, r=r / unit**2, maximum=top
        )
    return found


def sweep() -> dict[str, dict[str, dict[str, tuple[float, float, float]]]]:
    """Family, setting, problem: iterations, accumulated violation, seconds, each summed over the starts."""
    found: dict[str, dict[str, dict[str, tuple[float, float, float]]]] = {}
    for family, settings in kinds().items():
        found[family] = {}
        for setting, kind in settings.items():
            row = found[family].setdefault(setting, {})
            for name, (task, horizon, starts) in PROBLEMS.items():
                shooting = CasadiShooting(task, horizon)
                x_ref, u_ref = (np.array(a) for a in task.reference.at(task.plant, np.arange(horizon + 1)))
                total = np.zeros(3)
                for x in starts:
                    shooting.place(np.array(x), x_ref, u_ref)
                    guess = np.zeros((1, shooting.d))
                    J = shooting.evaluate(guess, np.array([0])).jacobian[0]
                    unit = 1.0 / np.linalg.eigvalsh(J @ np.linalg.solve(shooting.metric, J.T)).max()
                    make: Maker = lambda n, top, kind=kind, unit=unit: kind(unit, n, top)  # type: ignore[misc] # noqa: E731
                    descent = Descent(shooting, make, max_iterations=LIMIT)
                    began = time.perf_counter()
                    end = descent.solve(guess, np.zeros((1, len(shooting.weight))))
                    total += end.iterations[0], end.accumulated[0], time.perf_counter() - began
                row[name] = (float(total[0]), float(total[1]), float(total[2]))
    return found


def starts() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform([-1.8, -0.25, -0.6, -0.6], [1.8, 0.25, 0.6, 0.6], (BATCH, 4))


def batch() -> dict[str, float]:
    task = PROBLEMS["cart-pole"][0]
    x0, batch = starts(), LagrangianBatch(task, HORIZON)
    seconds = []
    for _ in range(2):  # the first warms up
        began = time.perf_counter()
        found = batch.solve(x0)
        seconds.append(time.perf_counter() - began)
    control = transcribe(task, HORIZON)
    solver = Fatrop(control.program, 200)
    guess, points, solved = np.zeros(len(control.program.lower)), [], []
    solver.solve(guess, x0[0])
    began = time.perf_counter()
    for x in x0:
        guess[control.state_at] = x * np.linspace(1.0, 0.0, HORIZON + 1)[:, None]
        end = solver.solve(guess, x)
        points.append(end.point[control.input_at].ravel())
        solved.append(end.status is Status.SOLVED)
    sequential = time.perf_counter() - began
    single = CasadiShooting(task, HORIZON)
    descent = Descent(single)
    zeros = np.zeros((HORIZON + 1, 4)), np.zeros((HORIZON + 1, 1))
    began = time.perf_counter()
    for x in x0[:100]:
        single.place(x, *zeros)
        descent.solve(np.zeros((1, single.d)), np.zeros((1, len(single.weight))))
    alone = (time.perf_counter() - began) * BATCH / 100
    arrived = found.residual <= 1e-6
    both = arrived & np.array(solved)
    gap = np.abs(found.inputs - np.array(points)).max(1)[both]
    return {
        "batch_seconds": seconds[1],
        "fatrop_seconds": sequential,
        "one_by_one_seconds": alone,
        "batch_solved": float(arrived.mean()),
        "fatrop_solved": float(np.mean(solved)),
        "largest_gap": float(gap.max()),
        "share_within_1e-4": float((gap <= 1e-4 * 10.0).mean()),
        "mean_iterations": float(found.iterations.mean()),
    }


def main() -> None:
    torch.set_num_threads(1)  # fatrop has one
    found, names = sweep(), list(PROBLEMS)
    console, summary = Console(width=160), {}
    for family, settings in found.items():
        table = Table(f"{family}: iterations / accumulated violation / ms", *names)
        for setting, row in settings.items():
            table.add_row(setting, *(f"{row[n][0]:.0f} / {row[n][1]:.3g} / {1e3 * row[n][2]:.0f}" for n in names))
        console.print(table)
        per = [min((row[n] for row in settings.values()), key=lambda r: r[0]) for n in names]
        least = [
            min(row[n][1] for row in settings.values() if row[n][0] < 2 * LIMIT)
            if any(row[n][0] < 2 * LIMIT for row in settings.values())
            else None
            for n in names
        ]
        best = min(settings, key=lambda s: sum(settings[s][n][0] for n in names))
        summary[family] = {
            "best_per_problem": [[r[0], round(r[1], 4), round(1e3 * r[2], 1)] for r in per],
            "least_violation_of_arrived": [None if v is None else round(v, 4) for v in least],
            "best_over_all": best,
            "iterations_over_all": sum(settings[best][n][0] for n in names),
            "violation_over_all": round(sum(settings[best][n][1] for n in names), 4),
        }
    numbers = batch()
    table = Table(f"{BATCH} cart-pole problems", "seconds", "solved")
    table.add_row("one torch batch", f"{numbers['batch_seconds']:.2f}", f"{numbers['batch_solved']:.1%}")
    table.add_row("fatrop, one by one", f"{numbers['fatrop_seconds']:.2f}", f"{numbers['fatrop_solved']:.1%}")
    table.add_row("the same descent, one by one", f"{numbers['one_by_one_seconds']:.2f}", "")
    console.print(table)
    ratio = numbers["fatrop_seconds"] / numbers["batch_seconds"]
    print(json.dumps({"ratio_fatrop_to_batch": round(ratio, 3), "batch": numbers, "multipliers": summary}))


if __name__ == "__main__":
    main()
