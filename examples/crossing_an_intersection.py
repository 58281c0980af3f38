"""A car crosses an intersection among road users whose intentions it must infer; beside it, a driver who ignores them.

Run: python examples/crossing_an_intersection.py
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ctrl import Controller, Decision, Source, Status, simulate
from mpc import MultiModalMPC
from systems import Task
from systems.library import intersection
from systems.library.intersection import SPEED, collided
from systems.statistics import wilson


class Ignoring:
    """Keeps the desired speed, whatever the others do.

    Args:
        task: the intersection.
    """

    def __init__(self, task: Task) -> None:
        self.lower, self.upper = task.input_bounds

    def reset(self) -> None:
        """Nothing to forget."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Half of the error in speed per second."""
        u = np.clip([0.5 * (SPEED - x[1])], self.lower, self.upper)
        return Decision(u, Status.SOLVED, Source.OPTIMAL, 0, 0.0, 0.0)


def main(steps: int = 50, runs: int = 20) -> None:
    """Drives the same runs with both, and prints costs and collisions.

    Args:
        steps: samples of 0.2 s. runs: with starts, intentions and noise drawn for each.
    """
    task = dataclasses.replace(intersection(), steps=steps)
    rng = np.random.default_rng(0)
    starts = task.initial.sample(task.plant.state, rng, (runs,))
    noise = task.disturbance.sample(task.plant.disturbance, rng, (runs, steps))
    intentions = task.draw_parameters(rng, runs)
    controllers: dict[str, Controller] = {"multi-modal MPC": MultiModalMPC(task), "ignoring": Ignoring(task)}
    for name, controller in controllers.items():
        run = simulate(task, controller, starts, noise, parameters=intentions)
        hits = int(collided(run.states).any(axis=(1, 2)).sum())
        low, high = wilson(hits, runs)
        print(
            f"{name:>15}: cost {run.cost.mean():6.1f}, {hits} of {runs} runs with a collision "
            f"(95 %: {low:.0%} to {high:.0%}), {1e3 * np.nanmedian(run.seconds):.1f} ms a step"
        )


if __name__ == "__main__":
    main()
