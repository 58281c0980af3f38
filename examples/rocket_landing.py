"""Landing a rocket: a linear regulator as the guide it can be, and optimisation. Writes a picture of each.

Run: python examples/rocket_landing.py
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from ctrl import LQR, Controller, simulate
from mpc import NonlinearMPC
from systems import Soft
from systems.library import rocket_landing
from systems.library.rocket_landings import landings


def main(runs: int = 20, folder: str = ".") -> None:
    """Prints how many runs arrive and how many keep the constraints, and draws them."""
    task = rocket_landing()
    rng = np.random.default_rng(0)
    starts = task.initial.sample(task.plant.state, rng, (runs,))
    wind = task.disturbance.sample(task.plant.disturbance, rng, (runs, task.steps))
    # Far up, the regulator's cost-to-go outweighs what a learner is charged for a violation: optimisation is told more.
    dear = tuple(dataclasses.replace(constraint, requirement=Soft(100.0)) for constraint in task.constraints)
    mpc = NonlinearMPC(dataclasses.replace(task, constraints=dear))
    controllers: dict[str, Controller] = {"lqr": LQR(task), "nonlinear-mpc": mpc}
    for name, controller in controllers.items():
        done = simulate(task, controller, starts, wind)
        arrived = task.arrived(done.states[:, -1], task.steps)
        kept = (done.margins <= 1e-3).all(axis=(1, 2))
        page = Path(folder) / f"landing-{name}.png"
        landings(task, done).savefig(page)
        print(
            f"{name:14s} cost {done.cost.mean():6.1f}, arrived {arrived.sum()} of {runs}, constraints kept in "
            f"{kept.sum()}, {1e3 * np.nanmedian(done.seconds):.2f} ms per step; drawn in {page}"
        )


if __name__ == "__main__":
    main()
