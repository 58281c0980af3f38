"""A heated room whose energy has a price: what each controller takes of that task, and what it costs.

    python examples/priced_heating.py

The price stands inside the stage cost, so the cheapest temperature is not the one that is wished for. The optimal
steady state is worked out from the task; every controller regulates to it, and says what of the task it approximates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ctrl import LQR, NotApplicable, compare
from mpc import LinearMPC, NonlinearMPC, StochasticMPC, TrackingMPC
from systems import Box, Nonlinear, Plant, SetPoint, Task, Uniform, signals

PRICE = 60.0  # per kW and sample, beside the square of what is missing to the wished temperature in K


@dataclass(frozen=True)
class Room(Plant):
    """dT/dt = (outside - T) / tau + gain heating + draught."""

    tau: float = 8.0  # h
    gain: float = 1.5  # K/h per kW
    outside: float = 5.0  # degC

    state = signals("temperature [degC]")
    input = signals("heating [kW]")
    disturbance = signals("draught [K/h]")

    def ode(self, x: Any, u: Any, w: Any) -> list[Any]:
        return [(self.outside - x.temperature) / self.tau + self.gain * u.heating + w.draught]

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"heating": (0.0, 3.0)}


def heating() -> Task:
    """A day in quarters of an hour; the room may be colder than 18 degC in a tenth of the samples."""

    def cost(x: Any, u: Any, x_ref: Any, u_ref: Any) -> Any:
        return (x.temperature - x_ref.temperature) ** 2 + PRICE * u.heating + 0.01 * u.heating**2

    return Task(
        name="heating",
        plant=Room(),
        dt=0.25,
        steps=96,
        cost=Nonlinear(cost),
        reference=SetPoint({"temperature": 21.0}),
        constraints=(Box("comfort", {"temperature": (18.0, np.inf)}).chance(0.9),),
        initial=Uniform([19.0], [22.0]),
        disturbance=Uniform([-0.5], [0.5]),
        domain=Box("model", {"temperature": (0.0, 40.0)}),
        integrator="exact",
    )


def main() -> None:
    task = heating()
    steady = task.reading.free_steady_state
    assert steady is not None
    print(f"wished {task.reading.start[0][0]:.2f} degC, cheapest {steady.x[0]:.3f} degC at {steady.u[0]:.3f} kW\n")
    kinds = {"lqr": LQR, "linear": LinearMPC, "nonlinear": NonlinearMPC, "stochastic": StochasticMPC,
             "tracking": TrackingMPC}  # fmt: skip
    for name, kind in kinds.items():
        try:
            said = kind(task).approximations
        except NotApplicable as reason:
            print(f"{name}: refused: {reason}")
        else:
            print(f"{name}: {'; '.join(said) or 'takes it as it is written'}")
    takes = {name: kind for name, kind in kinds.items() if name != "tracking"}
    print(compare(task, takes, starts=32))


if __name__ == "__main__":
    main()
