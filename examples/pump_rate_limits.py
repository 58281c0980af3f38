"""Four tanks, two pumps that change slowly and act late: limits and weights on the change of inputs, and dead time.

    python examples/pump_rate_limits.py

The plant is written once, with pumps that act at once. Two transformations of its task then say how the pumps really
act, and every controller takes them. Beside them runs a controller that does not know of the dead time.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from ctrl import LQR, Decision, compare
from mpc import LinearMPC, MoveBlocking, NonlinearMPC
from systems import Box, Plant, Quadratic, SetPoint, Task, Uniform, equilibrium, positive, signals
from systems.inputs import delay_inputs, limit_changes


@dataclass(frozen=True)
class QuadrupleTank(Plant):
    """Each pump fills a lower tank and, across, an upper one, which empties into the other lower tank.

    Johansson (2000), The quadruple-tank process, eq. (1), at its minimum-phase setting.
    """

    area_left: float = positive(28.0)  # cm^2, tanks 1 and 3
    area_right: float = positive(32.0)  # cm^2, tanks 2 and 4
    hole_left: float = positive(0.071)  # cm^2
    hole_right: float = positive(0.057)  # cm^2
    flow_left: float = positive(3.33)  # cm^3/s per V
    flow_right: float = positive(3.35)  # cm^3/s per V
    share_left: float = positive(0.7)  # of pump 1 that reaches tank 1
    share_right: float = positive(0.6)  # of pump 2 that reaches tank 2
    gravity: float = positive(981.0)  # cm/s^2

    state = signals("level1 [cm]", "level2 [cm]", "level3 [cm]", "level4 [cm]")
    input = signals("pump1 [V]", "pump2 [V]")

    def ode(self, x: Any, u: Any, w: Any) -> list[Any]:
        out = [ca.sqrt(2.0 * self.gravity * level) for level in x]
        left, right = self.flow_left * u.pump1, self.flow_right * u.pump2
        return [
            (self.hole_left * (out[2] - out[0]) + self.share_left * left) / self.area_left,
            (self.hole_right * (out[3] - out[1]) + self.share_right * right) / self.area_right,
            ((1.0 - self.share_right) * right - self.hole_left * out[2]) / self.area_left,
            ((1.0 - self.share_left) * left - self.hole_right * out[3]) / self.area_right,
        ]

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"pump1": (0.0, 6.0), "pump2": (0.0, 6.0)}


def levels() -> Task:
    """Bring the lower tanks to their levels, the second of them never above 13.5 cm."""
    plant = QuadrupleTank()
    rest = equilibrium(plant, u=[3.0, 3.0], x=[12.0, 13.0, 2.0, 1.5])
    return Task(
        name="four tanks",
        plant=plant,
        dt=5.0,
        steps=60,
        cost=Quadratic(Q={"level1": 1.0, "level2": 1.0}, R=[0.05, 0.05]),
        reference=SetPoint(rest.x.tolist(), rest.u.tolist()),
        constraints=(Box("overflow", {"level2": (0.0, 13.5)}).soft(100.0),),
        initial=Uniform(rest.x - np.array([4.0, 4.0, 0.5, 0.5]), rest.x + np.array([1.0, 0.5, 0.5, 0.5])),
        domain=Box("model", dict.fromkeys(plant.state.names, (0.1, 20.0))),
        substeps=2,
    )


class Unaware:
    """A controller of the plant without dead time, on the one with it.

    Args:
        known: the task that it knows.
    """

    def __init__(self, known: Task) -> None:
        self._controller, names = LinearMPC(known), known.plant.state.names
        self._names = names

    def reset(self) -> None:
        """A new run begins."""
        self._controller.reset()

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Sees the levels and the pumps' previous voltages alone."""
        return self._controller.step(np.concatenate([x[:4], x[-2:]]), k)


def slow_pumps(task: Task) -> Task:
    """Pumps that change by at most 0.05 V/s, at a price."""
    return limit_changes(task, {"pump1": 0.05, "pump2": 0.05}, {"pump1": 2.0, "pump2": 2.0})


def late_pumps() -> Task:
    """Pumps that also act 20 and 15 s late."""
    delayed = delay_inputs(levels(), {"pump1": 20.0, "pump2": 15.0})
    return dataclasses.replace(slow_pumps(delayed), name="four tanks, late pumps")


def main(starts: int = 16) -> None:
    task, at_once = late_pumps(), slow_pumps(levels())
    print(f"states: {', '.join(task.plant.state.names)}\n")
    blocks = MoveBlocking((1, 1, 2, 4, 8))
    print(
        compare(
            task,
            {
                "lqr": LQR,
                "linear-mpc": LinearMPC,
                "held over blocks": lambda task: LinearMPC(task, blocking=blocks),
                "nonlinear-mpc": lambda task: NonlinearMPC(task, 20),
                "unaware of dead time": lambda task: Unaware(at_once),
            },
            starts=starts,
            workers=1,
        )
    )


if __name__ == "__main__":
    main()
