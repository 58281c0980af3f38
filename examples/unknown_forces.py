"""A cart follows a sine against forces that its model does not have, and learns them on the way.

Run: python examples/unknown_forces.py
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from ctrl import Controller, simulate
from mpc import AdaptiveMPC, NonlinearMPC
from systems import Fixed, Plant, Quadratic, Sinusoid, Task, Vector, signals
from systems.identification.online import FourierFeatures, OnlineRule, ProjectedGradient, RecursiveLeastSquares

DT = 0.05  # s
RATE = 2 * np.pi / 5.0  # rad/s


@dataclass(frozen=True)
class Cart(Plant):
    """A unit mass; the true one is pushed, by a force that depends on its place, and has drag."""

    constant: float = 0.0  # N
    ripple: float = 0.0  # N
    drag: float = 0.0  # N s^2/m^2

    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        push = self.constant + self.ripple * ca.sin(3 * x.position)
        return x.speed, u.force + push - self.drag * x.speed * ca.fabs(x.speed)

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"force": (-5.0, 5.0)}


def cart(steps: int = 400) -> Task:
    """The cart on a sine of 1 m; its true plant differs from the nominal one."""
    reference = Sinusoid(RATE * DT, x_sine=(1, 0), x_cosine=(0, RATE), u_sine=(-(RATE**2),))
    return Task(
        "cart", Cart(), DT, steps, Quadratic({"position": 10.0, "speed": 1.0}, {"force": 0.01}),
        Fixed([0.0, RATE]), reference=reference, truth=Cart(1.5, 1.0, 0.3),
    )  # fmt: skip


def learning(task: Task, rule: OnlineRule, features: int = 200) -> AdaptiveMPC:
    """The controller that learns what force and place change within a sample."""
    basis = FourierFeatures({"position": 0.5, "speed": 1.0}, count=features)
    sizes = {"position": 0.008, "speed": 0.3}
    return AdaptiveMPC(task, basis, sizes, rule, functools.partial(NonlinearMPC, horizon=15))


def run(task: Task, controller: Controller) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the position [m], and costs, at the samples of one run."""
    runs = simulate(task, controller, task.initial.mean(task.plant.state)[None])
    x_ref, _ = task.reading.window(0, task.steps)
    return runs.states[0, :-1, 0] - x_ref[:, 0], runs.costs[0]


def main(steps: int = 400, features: int = 200) -> None:
    """Prints the tracking error of each controller, and its regret: the cost above that with the true plant known.

    Args:
        steps: samples of the run.
        features: number of random features.
    """
    task = cart(steps)
    known = dataclasses.replace(task, plant=task.truth, truth=None)
    controllers: dict[str, Controller] = {
        "true plant known": NonlinearMPC(known, horizon=15),
        "nominal": NonlinearMPC(task, horizon=15),
        "recursive least squares": learning(task, RecursiveLeastSquares(), features),
        "gradient": learning(task, ProjectedGradient(), features),
    }
    best = None
    for name, controller in controllers.items():
        errors, costs = run(task, controller)
        best = costs if best is None else best
        regret = np.cumsum(costs - best)
        print(
            f"{name:24s} error {1e3 * np.sqrt((errors**2).mean()):6.2f} mm   "
            f"regret {regret[len(regret) // 2 - 1]:8.4f} after half of the run, {regret[-1]:8.4f} at its end"
        )


if __name__ == "__main__":
    main()
