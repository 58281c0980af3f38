"""An industrial semi-batch polymerisation reactor, and the task of making polymer quickly at a safe temperature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca

from systems.constraints import Box
from systems.costs import Nonlinear
from systems.distributions import Fixed
from systems.implicit import Radau
from systems.inputs import limit_changes
from systems.parameters import nonnegative, parameter, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["PolymerisationReactor", "polymerisation"]

HOUR = 3600.0  # s
KELVIN = 273.15  # K at 0 degC
GAS = 8.314  # kJ/(kmol K)


@dataclass(frozen=True)
class PolymerisationReactor(Plant):
    """Monomer fed with water, polymerised in a jacketed reactor and in an external heat exchanger (Lucia et al., 2014).

    Masses of water W, monomer A and polymer P; temperatures of reactor R, steel S, jacket M, contents of the exchanger
    EK and its coolant AWT; monomer fed so far; and the temperature that the reactor reaches if cooling fails and all
    monomer reacts, T_ad = T_R + m_A H / (m c_R). Per hour, with m = m_W + m_A + m_P, U = m_P / (m_A + m_P),
    k(T) = k_0 exp(-E / (R T)) (k_1 (1 - U) + k_2 U), r_R = k(T_R) (m_A - m_A m_AWT / m) and
    r_EK = k(T_EK) m_A m_AWT / m:

    m_W' = 0.333 feed,  m_A' = 0.667 feed - r_R - r_EK,  m_P' = r_R + r_EK
    T_R' = (feed c_F (T_F - T_R) - k_K A (T_R - T_S) - F_AWT c_R (T_R - T_EK) + H r_R) / (c_R m)
    T_S' = k_K A (T_R - 2 T_S + T_M) / (c_S m_S)
    T_M' = (F_M c_W (T_M,in - T_M) + k_K A (T_S - T_M)) / (c_W m_M)
    T_EK' = (F_AWT c_R (T_R - T_EK) - a (T_EK - T_AWT) + H r_EK) / (c_R m_AWT)
    T_AWT' = (F_C c_W (T_EK,in - T_AWT) - a (T_AWT - T_EK)) / (c_W m_C)

    and k_K the transfer coefficient of the contents, the mean of those of W, A and P by mass. The default values and
    limits are those of the example industrial_poly in the gallery of do-mpc. ``ode`` is per second.
    """

    enthalpy: float = positive(950.0)  # kJ/kg, H
    rate_constant: float = positive(7.0)  # 1/h, k_0
    energy: float = positive(8500.0)  # kJ/kmol, E
    rate_monomer: float = nonnegative(4.0)  # k_1
    rate_polymer: float = nonnegative(32.0)  # k_2
    water_share: float = parameter(0.333, least=0.0, most=1.0)  # of the feed
    monomer_share: float = parameter(0.667, least=0.0, most=1.0)  # of the feed
    feed_temperature: float = positive(25.0 + KELVIN)  # K, T_F
    wall_area: float = nonnegative(65.0)  # m^2, A
    wall_water: float = nonnegative(17280.0)  # kJ/(h m^2 K), transfer from water to steel
    wall_monomer: float = nonnegative(3600.0)  # kJ/(h m^2 K)
    wall_polymer: float = nonnegative(360.0)  # kJ/(h m^2 K)
    jacket_mass: float = positive(5000.0)  # kg, m_M
    jacket_flow: float = nonnegative(300000.0)  # kg/h, F_M
    coolant_mass: float = positive(1000.0)  # kg, m_C, in the exchanger
    coolant_flow: float = nonnegative(100000.0)  # kg/h, F_C
    exchanger_mass: float = positive(200.0)  # kg, m_AWT, contents of the exchanger
    exchanger_flow: float = nonnegative(20000.0)  # kg/h, F_AWT
    exchanger_transfer: float = nonnegative(3600000.0)  # kJ/(h K), a
    steel_mass: float = positive(39000.0)  # kg, m_S
    heat_water: float = positive(4.2)  # kJ/(kg K), c_W
    heat_steel: float = positive(0.47)  # kJ/(kg K), c_S
    heat_feed: float = positive(3.0)  # kJ/(kg K), c_F
    heat_contents: float = positive(5.0)  # kJ/(kg K), c_R

    state = signals(
        "water [kg]",
        "monomer [kg]",
        "polymer [kg]",
        "reactor [K]",
        "steel [K]",
        "jacket [K]",
        "exchanger [K]",
        "coolant [K]",
        "fed [kg]",
        "adiabatic [K]",
    )
    input = signals("feed [kg/h]", "jacket_inlet [K]", "coolant_inlet [K]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        mass = x.water + x.monomer + x.polymer
        conversion = x.polymer / (x.monomer + x.polymer)
        factor = self.rate_constant * (self.rate_monomer * (1.0 - conversion) + self.rate_polymer * conversion)
        outside = x.monomer * self.exchanger_mass / mass
        in_reactor = factor * ca.exp(-self.energy / (GAS * x.reactor)) * (x.monomer - outside)
        in_exchanger = factor * ca.exp(-self.energy / (GAS * x.exchanger)) * outside
        transfer = self.wall_area / mass * (
            x.water * self.wall_water + x.monomer * self.wall_monomer + x.polymer * self.wall_polymer
        )  # fmt: skip
        to_steel, to_jacket = transfer * (x.reactor - x.steel), transfer * (x.steel - x.jacket)
        circulated = self.exchanger_flow * self.heat_contents * (x.reactor - x.exchanger)
        to_coolant = self.exchanger_transfer * (x.exchanger - x.coolant)
        water, monomer = u.feed * self.water_share, u.feed * self.monomer_share - in_reactor - in_exchanger
        polymer = in_reactor + in_exchanger
        fed = u.feed * self.heat_feed * (self.feed_temperature - x.reactor)
        reactor = (fed - to_steel - circulated + self.enthalpy * in_reactor) / (self.heat_contents * mass)
        share = x.monomer / mass
        rise = self.enthalpy / self.heat_contents * (monomer - share * (water + monomer + polymer)) / mass
        jacket = self.jacket_flow * self.heat_water * (u.jacket_inlet - x.jacket) + to_jacket
        exchanger = circulated - to_coolant + self.enthalpy * in_exchanger
        coolant = self.coolant_flow * self.heat_water * (u.coolant_inlet - x.coolant) + to_coolant
        hourly = (
            water,
            monomer,
            polymer,
            reactor,
            (to_steel - to_jacket) / (self.heat_steel * self.steel_mass),
            jacket / (self.heat_water * self.jacket_mass),
            exchanger / (self.heat_contents * self.exchanger_mass),
            coolant / (self.heat_water * self.coolant_mass),
            u.feed,
            rise + reactor,
        )
        return tuple(rate / HOUR for rate in hourly)

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"feed": (0.0, 3.0e4), "jacket_inlet": (333.15, 373.15), "coolant_inlet": (333.15, 373.15)}


def polymerisation() -> Task:
    """Make polymer quickly at 90 +- 2 degC, below 109 degC even if cooling fails, in 100 samples of 50 s.

    Start, limits, weights and sample time are those of the example industrial_poly of do-mpc 5.1, which predicts 20
    samples and charges -m_P in each.
    """
    plant, infinity = PolymerisationReactor(), float("inf")
    hot, cold = 90.0 + KELVIN, 35.0 + KELVIN
    water, monomer, polymer = 10000.0, 853.0, 26.5
    adiabatic = monomer * plant.enthalpy / ((water + monomer + polymer) * plant.heat_contents) + hot
    start = [water, monomer, polymer, hot, hot, hot, cold, cold, 300.0, adiabatic]
    task = Task(
        name="polymerisation",
        plant=plant,
        dt=50.0,
        steps=100,
        cost=Nonlinear(lambda x, u, xr, ur: -x.polymer, lambda x, xr: -x.polymer),
        constraints=(
            Box(
                "masses",
                {
                    "water": (0.0, infinity),
                    "monomer": (0.0, infinity),
                    "polymer": (26.0, infinity),
                    "fed": (0.0, 30000.0),
                },
            ),
            Box("reactor", {"reactor": (hot - 2.0, hot + 2.0)}),
            Box(
                "temperatures",
                {"steel": (298.0, 400.0), "jacket": (298.0, 400.0), "exchanger": (288.0, 400.0),
                 "coolant": (288.0, 400.0)},
            ),
            Box("cooling fails", {"adiabatic": (-infinity, 382.15)}),
        ),
        initial=Fixed(start),
        reference=SetPoint(start, [0.0, hot, hot]),
        tolerance={},
        integrator=Radau(3, iterations=3),  # temperatures in the exchanger settle within a second
    )  # fmt: skip
    # do-mpc charges changes of a feed that is divided by 100 kg/h, and of all inputs from zero on.
    return limit_changes(
        task,
        weights={"feed": 0.002 / 100.0**2, "jacket_inlet": 0.004, "coolant_inlet": 0.002},
        previous={"feed": 0.0, "jacket_inlet": 0.0, "coolant_inlet": 0.0},
    )
