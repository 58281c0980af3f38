"""A ball follows a figure-eight on a plate: the course is no harmonic, and is fitted by one at every sample.

Run: python examples/figure_eight.py
"""

from __future__ import annotations

import dataclasses

import matplotlib.pyplot as plt
import numpy as np

from ctrl.comparison.figure import STYLE
from ctrl.loop import simulate
from mpc import HarmonicMPC, TrackingMPC
from mpc.harmonic.artificial_reference_mpc import ArtificialReferenceMPC
from systems import Task, Trajectory
from systems.library import ball_and_plate

PERIOD, WIDTH, HEIGHT = 16.0, 0.7, 0.35  # s, m, m
HORIZON = 8


def figure_eight(task: Task, laps: float = 2.5) -> Task:
    """The task with p1 = WIDTH sin(t), p2 = HEIGHT sin(2 t) as its reference; the tilt that this takes on a flat plate
    follows from p'' = rolling gravity tilt. The course goes on for a lap beyond the run, which looks ahead."""
    w, gain = 2.0 * np.pi / PERIOD, task.plant.rolling * task.plant.gravity  # type: ignore[attr-defined]
    steps = int(laps * PERIOD / task.dt)
    t = task.dt * np.arange(steps + int(PERIOD / task.dt) + 1)
    x, u = [], []
    for amplitude, rate in ((WIDTH, w), (HEIGHT, 2.0 * w)):
        sine, cosine = amplitude * np.sin(rate * t), amplitude * np.cos(rate * t)
        x += [sine, rate * cosine, -(rate**2) * sine / gain, -(rate**3) * cosine / gain]
        u += [rate**4 * sine / gain]
    return dataclasses.replace(task, steps=steps, reference=Trajectory(np.array(x).T, np.array(u).T))


def main(file: str = "figure_eight.png") -> None:
    """Draws the course and the distance from it, on the nonlinear plant."""
    task = figure_eight(ball_and_plate())
    # The base frequency lies between those of the two axes, so neither is fitted exactly.
    base = 1.5 * 2.0 * np.pi / PERIOD * task.dt
    controllers: dict[str, ArtificialReferenceMPC] = {
        "harmonic MPC": HarmonicMPC(task, HORIZON, base),
        "tracking MPC": TrackingMPC(task, HORIZON),
    }
    wanted = task.reference.at(task.plant, np.arange(task.steps + 1))[0][:, [0, 4]]
    time = task.dt * np.arange(task.steps + 1)
    with plt.style.context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained", width_ratios=(1.2, 1.0))
        left.plot(*wanted.T, color="0.6", linewidth=3.0, label="course", zorder=0)
        for name, controller in controllers.items():
            run = simulate(task, controller, np.zeros((1, 8)), np.zeros((1, task.steps, 0)))
            path = run.states[0][:, [0, 4]]
            distance = 100.0 * np.linalg.norm(path - wanted, axis=1)
            left.plot(*path.T, label=name)
            right.plot(time, distance)
            settled, failed = distance[time >= PERIOD], int((run.statuses != 0).sum())
            print(
                f"{name}: at most {settled.max():.1f} cm from the moving target after a lap, {failed} samples unsolved"
            )
        left.plot(*wanted[0], "ko", markersize=3)
        left.set(xlabel="position 1 [m]", ylabel="position 2 [m]", title="Figure-eight from rest in the middle")
        left.set_aspect("equal")
        left.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.5, -0.22))
        right.set(
            xlabel="time [s]",
            ylabel="distance from the course [cm]",
            title="How far from it",
            yscale="log",
            ylim=(3e-3, 1e2),
        )
        figure.savefig(file)
    print(f"drawn in {file}")


if __name__ == "__main__":
    main()
