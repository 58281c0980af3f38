"""A tank in which acid is neutralised: the pH follows from an equilibrium, a differential-algebraic plant of index 1.

    python examples/ph_neutralisation.py

Concentrations change slowly; the pH that belongs to them is there at once, as the solution of a charge balance. The
equations are written as they stand. Every controller takes the plant for an ordinary one, whose cost may read the pH.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import casadi as ca
import numpy as np

from ctrl import LQR, compare
from mpc import NonlinearMPC
from systems import (
    DifferentialAlgebraicPlant,
    Inequality,
    Nonlinear,
    Radau,
    SetPoint,
    Task,
    Uniform,
    equilibrium,
    positive,
    signals,
)


@dataclass(frozen=True)
class Neutralisation(DifferentialAlgebraicPlant):
    """Acid, buffer and base flow into a tank of constant volume.

    Hall & Seborg (1989); numbers of Henson & Seborg (1994), Adaptive nonlinear control of a pH neutralization process.
    The states are reaction invariants, which mixing alone changes: charge, and dissolved carbonate.
    """

    volume: float = positive(2900.0)  # ml
    acid: float = positive(16.6)  # ml/s
    buffer: float = positive(0.55)  # ml/s

    state = signals("charge [mmol/l]", "carbonate [mmol/l]")
    algebraic = signals("ph [-]")
    input = signals("base [ml/s]")
    newton_iterations: ClassVar[int] = 12

    def derivative(self, x: Any, z: Any, u: Any, w: Any) -> Any:
        flows = ((self.acid, 3.0, 0.0), (self.buffer, -30.0, 30.0), (u.base, -3.05, 0.05))
        return (
            sum(flow * (charge - x.charge) for flow, charge, _ in flows) / self.volume,
            sum(flow * (carbonate - x.carbonate) for flow, _, carbonate in flows) / self.volume,
        )

    def algebraic_equations(self, x: Any, z: Any, u: Any, w: Any) -> Any:
        bicarbonate, both = 10.0 ** (z.ph - 6.35), 10.0 ** (2.0 * z.ph - 6.35 - 10.25)
        charges = (bicarbonate + 2.0 * both) / (1.0 + bicarbonate + both)  # per molecule of carbonate
        water = 1e3 * (10.0 ** (z.ph - 14.0) - 10.0 ** (-z.ph))
        return [x.charge + water + x.carbonate * charges]

    def guess(self, x: Any, u: Any) -> Any:
        """Close to the pH at which the carbonate alone balances the charge, or has all of its charges, or none."""
        charges = -x.charge / x.carbonate
        charges = 1.0 + 0.5 * (ca.hypot(charges, 0.03) - ca.hypot(charges - 2.0, 0.03))  # from 0 to 2, smooth
        return [8.3 + ca.log10(charges / (2.0 - charges)) + 1.95 * ca.tanh(4.0 * (charges - 1.0))]

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"base": (0.0, 30.0)}


def neutralise(steps: int = 40) -> Task:
    """Bring the pH to 7 and keep it there, never above 8.5."""
    plant = Neutralisation()
    rest = equilibrium(plant, x=[-0.43, 0.53], u=[15.6])
    at_rest = float(plant.algebraic_values(rest.x, rest.u)[0])

    def cost(x: Any, u: Any, xr: Any, ur: Any) -> Any:
        return (plant.solve_algebraic(x, u).ph - at_rest) ** 2 + 0.002 * (u.base - ur.base) ** 2

    return Task(
        name="neutralisation",
        plant=plant,
        dt=10.0,
        steps=steps,
        cost=Nonlinear(cost, lambda x, xr: 100.0 * ((x.charge - xr.charge) ** 2 + (x.carbonate - xr.carbonate) ** 2)),
        reference=SetPoint(rest.x.tolist(), rest.u.tolist()),
        constraints=(Inequality("basic", lambda x, u: plant.solve_algebraic(x, u).ph - 8.5).soft(10.0),),
        initial=Uniform([-0.6, 0.4], [0.2, 0.7]),
        integrator=Radau(3),
    )


def main(starts: int = 8) -> None:
    task = neutralise()
    comparison = compare(task, {"lqr": LQR, "nonlinear-mpc": lambda task: NonlinearMPC(task, 20)}, starts, workers=1)
    print(comparison)
    plant = task.plant
    assert isinstance(plant, DifferentialAlgebraicPlant)
    for name, runs in comparison.runs.items():
        ph = [plant.algebraic_values(x, [0.0])[0] for x in runs.states[0, ::8]]
        print(f"{name:14} pH of the first run every 80 s: {np.round(ph, 2)}")


if __name__ == "__main__":
    main()
