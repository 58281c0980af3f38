"""Continuous stirred-tank reactor with van de Vusse's reactions, and the task of holding the desired product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca

from systems.constraints import Box
from systems.costs import Quadratic
from systems.distributions import Uniform
from systems.equilibria import equilibrium
from systems.parameters import nonnegative, parameter, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["StirredTank", "stirred_tank"]

HOUR = 3600.0  # s; the literature counts in hours, plants here in seconds
KELVIN = 273.15  # K at 0 degC


@dataclass(frozen=True)
class StirredTank(Plant):
    """Cooled reactor in which A -> B -> C and 2 A -> D (Engell & Klatt, 1993; Chen, Kremling & Allgoewer, 1995).

    Per hour, with F = feed, k_i = k_i0 exp(-E_i / (T + 273.15)) and T, T_K the temperatures of reactor and jacket:

    c_A' = F (c_A0 - c_A) - k_AB c_A - k_AD c_A^2
    c_B' = -F c_B + k_AB c_A - k_BC c_B
    T'   = F (T_in - T) - (k_AB c_A H_AB + k_BC c_B H_BC + k_AD c_A^2 H_AD) / (rho C_p)
           + K_w A_R (T_K - T) / (rho C_p V_R)
    T_K' = (heat + K_w A_R (T - T_K)) / (m_K C_pK)

    where k_AB is multiplied by ``rate_factor`` (beta) and E_AD by ``energy_factor`` (alpha), the two uncertain numbers
    of the stirred-tank example in the gallery of do-mpc, from which the default values and limits are taken. ``ode``
    is per second.
    """

    rate_factor: float = positive(1.0)  # -, beta
    energy_factor: float = positive(1.0)  # -, alpha
    inlet_concentration: float = nonnegative(5.1)  # mol/l
    inlet_temperature: float = parameter(130.0, above=-273.15)  # degC
    k_ab: float = nonnegative(1.287e12)  # 1/h
    k_bc: float = nonnegative(1.287e12)  # 1/h
    k_ad: float = nonnegative(9.043e9)  # l/(mol h)
    energy_ab: float = nonnegative(9758.3)  # K, activation energy over the gas constant
    energy_bc: float = nonnegative(9758.3)  # K
    energy_ad: float = nonnegative(8560.0)  # K
    enthalpy_ab: float = 4.2  # kJ/mol
    enthalpy_bc: float = -11.0  # kJ/mol
    enthalpy_ad: float = -41.85  # kJ/mol
    density: float = positive(0.9342)  # kg/l
    heat_capacity: float = positive(3.01)  # kJ/(kg K)
    jacket_heat_capacity: float = positive(2.0)  # kJ/(kg K)
    jacket_mass: float = positive(5.0)  # kg
    wall_area: float = nonnegative(0.215)  # m^2
    wall_transfer: float = nonnegative(4032.0)  # kJ/(h m^2 K)
    volume: float = positive(10.01)  # l

    state = signals(
        "concentration_a [mol/l]", "concentration_b [mol/l]", "reactor_temperature [degC]", "jacket_temperature [degC]"
    )
    input = signals("feed [1/h]", "heat [kJ/h]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        a, b, reactor, jacket = x
        kelvin = reactor + KELVIN
        ab = self.rate_factor * self.k_ab * ca.exp(-self.energy_ab / kelvin) * a
        bc = self.k_bc * ca.exp(-self.energy_bc / kelvin) * b
        ad = self.k_ad * ca.exp(-self.energy_factor * self.energy_ad / kelvin) * a**2
        stored = self.density * self.heat_capacity
        reaction = ab * self.enthalpy_ab + bc * self.enthalpy_bc + ad * self.enthalpy_ad
        through_wall = self.wall_transfer * self.wall_area * (reactor - jacket)
        hourly = (
            u.feed * (self.inlet_concentration - a) - ab - ad,
            ab - bc - u.feed * b,
            u.feed * (self.inlet_temperature - reactor) - reaction / stored - through_wall / (stored * self.volume),
            (u.heat + through_wall) / (self.jacket_mass * self.jacket_heat_capacity),
        )
        return tuple(rate / HOUR for rate in hourly)

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"feed": (5.0, 100.0), "heat": (-8500.0, 0.0)}


def stirred_tank() -> Task:
    """Hold c_B = 0.6 mol/l with a reactor of at most 140 degC, sampled every 18 s, as in the gallery of do-mpc.

    The gallery weights changes of the input; here its distance from the steady state nearest to a feed of 15 / h and
    134 degC is weighted instead, so that the cost is a function of state and input.
    """
    plant = StirredTank()
    rest = equilibrium(
        plant,
        x={"concentration_a": 1.0, "concentration_b": 0.6, "reactor_temperature": 134.0, "jacket_temperature": 130.0},
        u={"feed": 15.0, "heat": -4000.0},
        hold=("concentration_b", "reactor_temperature"),
    )
    return Task(
        name="stirred-tank",
        plant=plant,
        dt=0.005 * HOUR,
        steps=100,
        cost=Quadratic(
            Q={"concentration_b": 100.0, "concentration_a": 1.0, "reactor_temperature": 1e-3},
            R={"feed": 1e-4, "heat": 1e-8},
        ),
        constraints=(
            Box("concentrations", {"concentration_a": (0.1, 2.0), "concentration_b": (0.1, 2.0)}),
            Box("jacket", {"jacket_temperature": (50.0, 140.0)}),
            Box("hot reactor", {"reactor_temperature": (50.0, 140.0)}).soft(100.0),
        ),
        reference=SetPoint(x=rest.x, u=rest.u),
        initial=Uniform([0.7, 0.4, 130.0, 125.0], [1.1, 0.7, 138.0, 135.0]),
        domain=Box(
            "model",
            {
                "concentration_a": (0.0, 5.1),
                "concentration_b": (0.0, 5.1),
                "reactor_temperature": (0.0, 200.0),
                "jacket_temperature": (0.0, 200.0),
            },
        ),
        tolerance={"concentration_b": 0.02},
        substeps=2,
    )
