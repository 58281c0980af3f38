"""Two groups of carts, whose places are known as distributions, arrive as one normal distribution within their limits.

Run: python examples/steer_a_distribution.py
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import binomtest

from ctrl import simulate
from mpc import CovarianceSteering, GaussianMixture
from systems import Box, Fixed, Gaussian, LinearPlant, Quadratic, Task, signals

STEPS = 12


def carts() -> Task:
    """Force and place are limited with 95 %; a gust moves every cart a little in each sample."""
    plant = LinearPlant(
        [[1.0, 0.4], [0.0, 1.0]], [[0.08], [0.4]], E=[[0.0], [1.0]], dt=0.4, state=signals("place [m]", "speed [m/s]"),
        input=signals("force [N]"), disturbance=signals("gust [m/s]"),
    )  # fmt: skip
    limits = Box("force", {"force": (-1.6, 1.6)}).chance(0.95), Box("wall", {"place": (-6.0, 4.5)}).chance(0.95)
    return Task(
        "carts", plant, 0.4, STEPS, Quadratic({"place": 0.0}, {"force": 1.0}), Fixed(), limits,
        disturbance=Gaussian({"gust": 0.05}),
    )  # fmt: skip


def main(runs: int = 2000) -> None:
    """Prints the law of the last state, and how often each limit was broken in the worst sample, with and without it.

    Args:
        runs: of the Monte Carlo simulation.
    """
    task = carts()
    start = GaussianMixture([0.4, 0.6], [[-4.0, 0.0], [3.0, 1.0]], [np.diag([0.4, 0.1]), np.diag([0.2, 0.2])])
    target = Gaussian(covariance_matrix=np.diag([0.15, 0.1]))
    rng = np.random.default_rng(0)
    starts = start.sample(rng, runs)
    gusts = task.disturbance.sample(task.plant.disturbance, rng, (runs, STEPS))
    for name, planned in (("without limits", dataclasses.replace(task, constraints=())), ("with limits", task)):
        steering = CovarianceSteering(planned, target, start)
        run = simulate(task, steering, starts, gusts)
        last = run.states[:, -1]
        print(f"{name}: expected cost {steering.expected_cost:.3f}, in {runs} runs {run.cost.mean():.3f}")
        print(f"  at the end: mean {last.mean(axis=0).round(3)}, variances {last.var(axis=0).round(3)}")
        for i, constraint in enumerate(task.constraints):
            broken = (run.margins[:, :, i] > 0.0).sum(axis=0)
            worst = int(broken.argmax())
            interval = binomtest(int(broken[worst]), runs).proportion_ci(method="exact")  # Clopper and Pearson
            print(
                f"  {constraint.name} broken by {broken[worst]} of {runs} in sample {worst}, the worst: "
                f"{interval.low:.1%} to {interval.high:.1%}, of 5 % allowed"
            )


if __name__ == "__main__":
    main()
