"""A planar quadrotor learns the wind in flight and keeps off the pillars: cross-entropy alone, and with barriers.

Run: python examples/quadrotor_in_wind.py
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress

import numpy as np

from ctrl import simulate
from mpc import CrossEntropyMPC
from mpc.sampling import Intervention
from systems.identification.online import ProcessResidual
from systems.library import quadrotor_in_wind
from systems.lowering.c_backend import CompilerMissing
from systems.statistics import wilson


def main(steps: int = 150, runs: int = 5) -> dict[str, int]:
    """Flies the same runs with each controller, and prints in how many a pillar was hit.

    Args:
        steps: samples of 20 ms. runs: with starts, winds and gusts drawn for each.

    Returns:
        The number of runs with a collision, by controller.
    """
    task = dataclasses.replace(quadrotor_in_wind(), steps=steps)
    rng = np.random.default_rng(0)
    starts = task.initial.sample(task.plant.state, rng, (runs,))
    gusts = task.disturbance.sample(task.plant.disturbance, rng, (runs, steps))
    assert task.variation is not None
    winds = task.variation.sample(task.varied, rng, (runs,))
    # What the plant leaves out: accelerations of about 4 m/s^2 that vary over 0.7 m.
    wind = ProcessResidual({"x": 0.7, "z": 0.7}, {"x_rate": 4.0, "z_rate": 4.0})
    intervention = Intervention(wind, levels=4, rate=10.0)
    controllers = {
        "cross-entropy": CrossEntropyMPC(task, 30, 200, 3),
        "with barriers": CrossEntropyMPC(task, 30, 200, 3, intervention=intervention),
    }
    collisions = {}
    for name, controller in controllers.items():
        with suppress(CompilerMissing):  # the same numbers in less time
            controller.compile()
        run = simulate(task, controller, starts, gusts, parameters=winds)
        hits = collisions[name] = int((run.margins[:, :, 0].max(axis=1) > 0.0).sum())
        low, high = wilson(hits, runs)
        print(
            f"{name:>14}: cost {run.cost.mean():6.2f}, {hits} of {runs} runs hit a pillar (95 %: {low:.0%} to "
            f"{high:.0%}), {1e3 * np.nanmedian(run.seconds):.1f} ms a step"
        )
    safety = controllers["with barriers"].safety
    assert safety is not None
    mean, deviation = safety.process.predict(run.states[-1, -1:, :2])
    learned = ", ".join(f"{4.0 * m:.2f} +- {8.0 * deviation[0]:.2f}" for m in mean[0])
    print(f"wind learned where the last run ended, in m/s^2: {learned}")
    return collisions


if __name__ == "__main__":
    main()
