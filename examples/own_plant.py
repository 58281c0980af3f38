"""A plant, a constraint and a controller of one's own, through every reader.

Run: python examples/own_plant.py, or: trivium compare examples/own_plant.py:task
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ctrl import LQR, Controller, Decision, compare
from ctrl.check import check_controller, check_task
from mpc import NonlinearMPC
from systems import Box, Plant, Quadratic, Task, Uniform, Vector, lower, nonnegative, positive, signals
from systems.arithmetic.interval import Interval


@dataclass(frozen=True)
class Mass(Plant):
    """A mass on a rail with quadratic drag."""

    mass: float = positive(1.0)  # kg
    drag: float = nonnegative(0.1)  # N s^2/m^2
    max_force: float = nonnegative(2.0)  # N

    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")
    disturbance = signals("wind [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        drag = self.drag * x.speed * (x.speed**2 + 1e-6) ** 0.5
        return x.speed, (u.force + w.wind - drag) / self.mass

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"force": (-self.max_force, self.max_force)}


task = Task(
    name="mass",
    plant=Mass(),
    dt=0.1,
    steps=100,
    cost=Quadratic(Q={"position": 1.0, "speed": 0.1}, R={"force": 0.1}),
    constraints=(Box("speed limit", {"speed": (-1.0, 1.0)}).soft(100.0),),
    initial=Uniform({"position": -2.0}, {"position": 2.0}),
    disturbance=Uniform({"wind": -0.1}, {"wind": 0.1}),
)


class Relay:
    """Full force against where the mass will be in half a second."""

    def __init__(self, task: Task) -> None:
        self.lower, self.upper = task.input_bounds

    def reset(self) -> None:
        """Nothing to forget."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        ahead = x[0] + 0.5 * x[1]
        return Decision(self.lower if ahead > 0 else self.upper)


def main() -> None:
    print(check_task(task))
    print(check_controller(Relay, task))

    # The same equations in other arithmetics.
    ode = task.plant.casadi()
    print("numpy:   ", lower(ode, to="numpy")(np.ones((3, 2)), np.ones((3, 1)), np.zeros((3, 1)), np.zeros(0)))
    box = Interval(np.array([0.9, 0.9]), np.array([1.1, 1.1]))
    print("interval:", lower(ode, to="interval")(box, np.ones(1), np.zeros(1), np.zeros(0)))

    controllers: dict[str, type[Controller]] = {"lqr": LQR, "nonlinear-mpc": NonlinearMPC, "relay": Relay}
    print(compare(task, controllers, starts=32))


if __name__ == "__main__":
    main()
