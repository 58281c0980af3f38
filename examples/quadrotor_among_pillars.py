"""A planar quadrotor flies past round pillars in gusts, planned by sampling (MPPI, cross-entropy) and by derivatives.

Run: python examples/quadrotor_among_pillars.py
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress

import numpy as np

from ctrl import simulate
from mpc import MPPI, CrossEntropyMPC, NonlinearMPC
from systems import Inequality, Task, Uniform
from systems.library import planar_quadrotor
from systems.lowering.c_backend import CompilerMissing
from systems.statistics import wilson

PILLARS = ((1.0, 0.05, 0.35), (1.1, 0.9, 0.3), (0.9, -0.75, 0.3))  # centre x, centre z, radius [m]


def among_pillars(wind: float = 0.3) -> Task:
    """Hover at the origin, beginning behind the pillars.

    Args:
        wind: largest force of a gust, in newtons.
    """
    pillars = Inequality("pillars", lambda x, u: [r**2 - (x.x - cx) ** 2 - (x.z - cz) ** 2 for cx, cz, r in PILLARS])
    return dataclasses.replace(
        planar_quadrotor(),
        name="quadrotor-among-pillars",
        constraints=(pillars,),
        initial=Uniform({"x": 1.9, "z": -0.4}, {"x": 2.3, "z": 0.4}),
        disturbance=Uniform({"wind": -wind}, {"wind": wind}),
    )


def main(steps: int = 200, runs: int = 5) -> None:
    """Flies the same runs with each controller, and prints what they cost and in how many a pillar was hit.

    Args:
        steps: samples of 20 ms. runs: with starts and gusts drawn for each.
    """
    task = dataclasses.replace(among_pillars(), steps=steps)
    rng = np.random.default_rng(0)
    starts = task.initial.sample(task.plant.state, rng, (runs,))
    gusts = task.disturbance.sample(task.plant.disturbance, rng, (runs, steps))
    controllers: dict[str, NonlinearMPC | MPPI | CrossEntropyMPC] = {
        "nonlinear MPC": NonlinearMPC(task, 30),
        "MPPI": MPPI(task, 30),
        "cross-entropy": CrossEntropyMPC(task, 30),
    }
    for name, controller in controllers.items():
        with suppress(CompilerMissing):  # the same numbers in a third of the time
            controller.compile()
        run = simulate(task, controller, starts, gusts)
        hits = int((run.margins[:, :, 0].max(axis=1) > 1e-3).sum())
        low, high = wilson(hits, runs)
        print(
            f"{name:>14}: cost {run.cost.mean():6.2f}, {hits} of {runs} runs hit a pillar by more than 1 mm "
            f"(95 %: {low:.0%} to {high:.0%}), {1e3 * np.nanmedian(run.seconds):.1f} ms a step"
        )


if __name__ == "__main__":
    main()
