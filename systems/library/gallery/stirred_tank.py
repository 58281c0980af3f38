"""The stirred tank as in do-mpc's gallery, where the product and changes of the inputs are charged."""

from __future__ import annotations

from systems.constraints import Box
from systems.costs import Nonlinear
from systems.distributions import Fixed
from systems.equilibria import equilibrium
from systems.inputs import limit_changes
from systems.library.cstr import HOUR, StirredTank
from systems.references import SetPoint
from systems.task import Task

__all__ = ["stirred_tank_product"]


def stirred_tank_product() -> Task:
    """Lead the concentration of B to 0.6 mol/l with a reactor of at most 140 degC, in 50 samples of 18 s.

    Start, limits, weights and sample time are those of the example CSTR of do-mpc 5.1, which predicts 20 samples.
    """
    plant = StirredTank()
    rest = equilibrium(
        plant,
        x={"concentration_a": 1.0, "concentration_b": 0.6, "reactor_temperature": 134.0, "jacket_temperature": 130.0},
        u={"feed": 15.0, "heat": -4000.0},
        hold=("concentration_b", "reactor_temperature"),
    )
    task = Task(
        name="stirred-tank-product",
        plant=plant,
        dt=0.005 * HOUR,
        steps=50,
        cost=Nonlinear(
            lambda x, u, xr, ur: (x.concentration_b - xr.concentration_b) ** 2,
            lambda x, xr: (x.concentration_b - xr.concentration_b) ** 2,
        ),
        constraints=(
            Box("concentrations", {"concentration_a": (0.1, 2.0), "concentration_b": (0.1, 2.0)}),
            Box("temperatures", {"reactor_temperature": (50.0, float("inf")), "jacket_temperature": (50.0, 140.0)}),
            Box("hot reactor", {"reactor_temperature": (float("-inf"), 140.0)}).soft(100.0),
        ),
        reference=SetPoint(x=rest.x, u=rest.u),
        initial=Fixed([0.8, 0.5, 134.14, 130.0]),
        tolerance={"concentration_b": 0.02},
        substeps=2,
    )
    # do-mpc charges changes of inputs that are divided by 100 / h and 2000 kJ/h, from zero on.
    return limit_changes(
        task, weights={"feed": 0.1 / 100.0**2, "heat": 1e-3 / 2000.0**2}, previous={"feed": 0.0, "heat": 0.0}
    )
