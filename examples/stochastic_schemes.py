"""One law of the noise, several schemes: from how far each works, what it pays, and how often it leans too far.

Run: python examples/stochastic_schemes.py
"""

from __future__ import annotations

import math

import numpy as np

from ctrl.loop import simulate
from mpc import StochasticMPC, nominal_mpc, robust_mpc
from mpc.feasible import plot_sections
from systems import Box
from systems.library.segway import segway


def main(runs: int = 150, file: str = "stochastic_schemes.svg") -> None:
    """Prints the table of the schemes on the segway task and draws their feasible sets."""
    task = segway()
    schemes = {
        "nominal": nominal_mpc(task),
        "indirect feedback": StochasticMPC(task, recondition_every=math.inf),
        "re-conditioned every 3 samples": StochasticMPC(task, recondition_every=3),
        "robust-stochastic": StochasticMPC(task, recondition_every=1),
        "robust": robust_mpc(task),
    }
    far, bound = np.deg2rad(60.0), np.deg2rad(25.0)
    within = Box("asked about", {"angle": (-far, far), "rate": (-far, far)})
    starts = np.tile(np.deg2rad([25.0, -20.0]), (runs, 1))
    noise = task.disturbance.sample(task.plant.disturbance, np.random.default_rng(0), (runs, 6))
    sections = {}
    print(f"{'scheme':32s} {'area deg^2':>10s} {'cost':>9s} {'violated':>9s} {'infeasible':>11s}   (allowed: 20 %)")
    for name, scheme in schemes.items():
        sections[name] = scheme.feasible_set(within).section(("angle", "rate"), directions=32)
        run = simulate(task, scheme, starts, noise)
        after = run.states[:, 1:]
        worst = max((after > bound).mean(axis=0).max(), (after < -bound).mean(axis=0).max())
        area, failed = sections[name].area * np.rad2deg(1.0) ** 2, int((run.statuses != 0).sum())
        print(f"{name:32s} {area:10.1f} {run.costs.sum(axis=1).mean():9.1f} {worst:8.1%} {failed:11d}")
    plot_sections(sections).savefig(file)
    print(f"feasible sets drawn in {file}")


if __name__ == "__main__":
    main()
