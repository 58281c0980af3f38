"""Driving among others: optimisation that plans with the others' reactions, beside drivers who keep the lane
or change it by rules.

Writes a picture and a film of one run of each. Run: python examples/driving.py
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from ctrl import Controller, simulate
from mpc import NonlinearMPC
from safe_rl.driving import LaneChanging, LaneKeeping
from systems.library.driving import driving, driving_record, film, picture


def main(seconds: float = 20.0, horizon: int = 20, seed: int = 0, folder: str = ".") -> None:
    """Prints how fast and how safely each controller drove from the same start, and draws it."""
    task = driving()
    rng, samples = np.random.default_rng(seed), round(seconds / task.dt)
    start = task.initial.sample(task.plant.state, rng, (1,))
    inattention = task.disturbance.sample(task.plant.disturbance, rng, (1, samples))
    began = time.perf_counter()
    optimising = NonlinearMPC(task, horizon=horizon, max_iterations=60)
    print(f"problem of {len(optimising.problem.program.lower)} variables made in {time.perf_counter() - began:.0f} s")
    controllers: dict[str, Controller] = {
        "lane-keeping": LaneKeeping(task),
        "lane-changing": LaneChanging(task),
        "nonlinear-mpc": optimising,
    }
    for name, controller in controllers.items():
        runs = simulate(task, controller, start, inattention)
        print(f"{name}: cost {runs.cost[0]:.1f}, {1e3 * np.nanmedian(runs.seconds):.1f} ms per step")
        print(f"  {driving_record(task, runs)}")
        page = Path(folder) / f"driving-{name}.png"
        picture(task, runs).savefig(page)
        print(f"  drawn in {page} and {film(task, runs, page.with_suffix('.gif'))}")


if __name__ == "__main__":
    main()
