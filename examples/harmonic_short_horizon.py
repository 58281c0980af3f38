"""Harmonic MPC against MPC for tracking at the same short horizon: from how far they work, and how fast they arrive.

Run: python examples/harmonic_short_horizon.py
"""

from __future__ import annotations

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from ctrl.comparison.figure import STYLE
from ctrl.loop import simulate
from mpc import EqualityMPC, HarmonicMPC, TrackingMPC
from mpc.harmonic.artificial_reference_mpc import ArtificialReferenceMPC
from systems import SetPoint, Task
from systems.library import ball_and_plate_axis

MEAN, ACTION = [600.0, 50.0, 50.0, 50.0], [0.3]  # what both pay for a distant artificial reference


def harmonic(task: Task, horizon: int) -> HarmonicMPC:
    return HarmonicMPC(task, horizon, 0.3254, Te=MEAN, Th=MEAN, Se=ACTION, Sh=[0.15])


def tracking(task: Task, horizon: int) -> TrackingMPC:
    return TrackingMPC(task, horizon, T=MEAN, S=ACTION)


def draw_feasible_sets(axes: Axes, task: Task, horizon: int) -> None:
    """Sections in speed and tilt, of the ball at rest in the middle with the set-point there."""
    there = dataclasses.replace(task, reference=SetPoint())
    controllers: dict[str, ArtificialReferenceMPC] = {
        "harmonic": harmonic(there, horizon),
        "tracking": tracking(there, horizon),
        "terminal equality": EqualityMPC(there, horizon),
    }
    print(f"feasible set at horizon {horizon}, in m/s rad:")
    for name, controller in controllers.items():
        section = controller.feasible_set().section(("v1", "tilt_1"), directions=48)
        corners = np.vstack([section.corners, section.corners[:1]])
        (line,) = axes.plot(*corners.T, label=f"{name}: {section.area:.5f}")
        axes.fill(*corners.T, color=line.get_color(), alpha=0.2)
        print(f"  {name:20s} {section.area:.5f}")
    axes.set(xlabel="speed [m/s]", ylabel="tilt [rad]", title=f"Feasible set, horizon {horizon}", ylim=(-0.44, 0.28))
    axes.legend(title="area [m/s rad]", title_fontsize=7, loc="lower left", borderaxespad=0.0)


def main(file: str = "harmonic_short_horizon.png") -> None:
    """Draws the feasible sets, and the runs to 1.8 m."""
    task = ball_and_plate_axis()
    loops: dict[str, tuple[ArtificialReferenceMPC, str]] = {
        "harmonic, horizon 5": (harmonic(task, 5), "C0-"),
        "tracking, horizon 5": (tracking(task, 5), "C1-"),
        "tracking, horizon 10": (tracking(task, 10), "C1--"),
    }
    with plt.style.context(STYLE):
        figure = plt.figure(figsize=(7.2, 3.2), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.25))
        draw_feasible_sets(left.subplots(), task, 5)
        above, middle, below = right.subplots(3, 1, sharex=True)
        time = task.dt * np.arange(task.steps + 1)
        for name, (controller, style) in loops.items():
            run = simulate(task, controller, np.zeros((1, 4)), np.zeros((1, task.steps, 0)))
            states = run.states[0]
            above.plot(time, states[:, 0], style)
            middle.plot(time, states[:, 1], style, label=name)
            below.step(time[:-1], run.inputs[0, :, 0], style, where="post")
            print(f"{name:22s} cost {run.costs.sum():8.1f}   position after {time[-1]:.0f} s: {states[-1, 0]:.3f} m")
        above.axhline(1.8, color="black", linewidth=0.6, linestyle=":")
        middle.axhline(0.5, color="black", linewidth=0.6, linestyle=":")
        below.axhline(0.4, color="black", linewidth=0.6, linestyle=":")
        below.axhline(-0.4, color="black", linewidth=0.6, linestyle=":")
        above.set(ylabel="position\n[m]", title="Run to 1.8 m, bounds dotted")
        middle.set(ylabel="speed\n[m/s]")
        below.set(ylabel="acceleration\n[rad/s²]", xlabel="time [s]")
        middle.legend(loc="center right", bbox_to_anchor=(1.0, 0.6))
        right.align_ylabels()
        figure.savefig(file)
    print(f"drawn in {file}")


if __name__ == "__main__":
    main()
