"""What a forecast is worth: a heat pump that plans over horizons of several lengths, under weather that is not quite
what was predicted.

Run: python examples/price_of_forecasts.py
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ctrl import simulate
from mpc import LinearMPC
from systems.library import heat_pump

HORIZONS = {"1 hour": 2, "4 hours": 8, "12 hours": 24}


def main(steps: int = 96, runs: int = 2) -> None:
    """Simulates the same runs with each horizon, and prints their mean bill.

    Args:
        steps: half hours.
        runs: with errors of the forecast drawn for each.
    """
    task = dataclasses.replace(heat_pump(preview=0), steps=steps)
    rng = np.random.default_rng(0)
    starts = task.initial.sample(task.plant.state, rng, (runs,))
    errors = task.disturbance.sample(task.plant.disturbance, rng, (runs, steps))
    for name, horizon in HORIZONS.items():
        run = simulate(task, LinearMPC(task, horizon), starts, errors)
        energy = 0.5 * run.inputs.sum() / runs
        cold = np.maximum(0.0, run.margins[:, :, -1]).sum() * 0.5 / runs
        print(f"plans {name:>8} ahead: {run.cost.mean():6.2f} EUR, {energy:5.1f} kWh, {cold:4.2f} K h too cold")


if __name__ == "__main__":
    main()
