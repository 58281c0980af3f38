"""Four plants of teaching laboratories that the library does not hold, with the sample times used there.

A Furuta pendulum at 5 ms, a quadruple tank at 5 s, a double pendulum on a cart at 10 ms and a magnetic levitation at
2 ms: fast, slow, chaotic, and unstable with an input that enters as a square.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import casadi as ca

from systems import Box, Plant, Quadratic, SetPoint, Task, Uniform, Vector, equilibrium, signals

__all__ = ["PLANTS", "double_pendulum", "furuta", "magnetic_levitation", "quadruple_tank"]


Forces = Callable[[ca.SX, ca.SX], ca.SX]
Energies = Callable[[ca.SX, ca.SX], tuple[ca.SX, ca.SX]]


def accelerations(kinetic: ca.SX, potential: ca.SX, q: ca.SX, rate: ca.SX, forces: ca.SX) -> ca.SX:
    """The accelerations of Lagrange's equations, M(q) q'' = forces - V' - (M' q') q' + T'."""
    momentum = ca.gradient(kinetic, rate)
    bias = ca.jtimes(momentum, q, rate) - ca.gradient(kinetic, q) + ca.gradient(potential, q)
    return ca.solve(ca.jacobian(momentum, rate), forces - bias)


def mechanical(
    x: Vector, forces: Callable[[ca.SX, ca.SX], ca.SX], energies: Callable[[ca.SX, ca.SX], tuple[ca.SX, ca.SX]]
) -> ca.SX:
    """The derivative of a state [q, q'] of a mechanical system.

    Args:
        forces: (q, q') -> generalised forces. energies: (q, q') -> kinetic and potential energy.
    """
    count = len(x) // 2
    q, rate = ca.SX.sym("q", count), ca.SX.sym("rate", count)
    acceleration = accelerations(*energies(q, rate), q, rate, forces(q, rate))
    entries = ca.vertcat(*x)
    return ca.vertcat(entries[count:], ca.substitute(acceleration, ca.vertcat(q, rate), entries))


@dataclass(frozen=True)
class Furuta(Plant):
    """A pendulum on a rotating arm (Furuta, Yamakita & Kobayashi, 1992), the size of a small laboratory model."""

    arm_inertia: float = 2.3e-4
    arm_length: float = 0.085
    mass: float = 0.024
    distance: float = 0.0645
    inertia: float = 3.3e-5
    arm_damping: float = 1e-4
    damping: float = 5e-6
    gravity: float = 9.81
    max_torque: float = 0.05

    state = signals("arm [rad]", "angle [rad]", "arm_rate [rad/s]", "rate [rad/s]")
    input = signals("torque [N m]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> ca.SX:
        def forces(q: ca.SX, rate: ca.SX) -> ca.SX:
            return ca.vertcat(u.torque - self.arm_damping * rate[0], -self.damping * rate[1])

        return mechanical(x, forces, self.energies)

    def energies(self, q: ca.SX, rate: ca.SX) -> tuple[ca.SX, ca.SX]:
        """Kinetic and potential energy [J] for angles ``q`` and their rates."""
        along = self.arm_length * rate[0] + self.distance * ca.cos(q[1]) * rate[1]
        upwards, across = self.distance * ca.sin(q[1]) * rate[1], self.distance * ca.sin(q[1]) * rate[0]
        speed = along**2 + upwards**2 + across**2
        kinetic = 0.5 * (self.arm_inertia * rate[0] ** 2 + self.mass * speed + self.inertia * rate[1] ** 2)
        return kinetic, self.mass * self.gravity * self.distance * ca.cos(q[1])

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"torque": (-self.max_torque, self.max_torque)}


@dataclass(frozen=True)
class DoublePendulum(Plant):
    """Two rods, one on top of the other, on a cart; both angles are measured from upright."""

    cart: float = 0.6
    first_mass: float = 0.2
    second_mass: float = 0.2
    first_length: float = 0.5
    second_length: float = 0.5
    gravity: float = 9.81
    damping: float = 0.1
    max_force: float = 8.0

    state = signals(
        "position [m]", "first [rad]", "second [rad]", "speed [m/s]", "first_rate [rad/s]", "second_rate [rad/s]"
    )
    input = signals("force [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> ca.SX:
        def forces(q: ca.SX, rate: ca.SX) -> ca.SX:
            return ca.vertcat(u.force - self.damping * rate[0], 0, 0)

        return mechanical(x, forces, self.energies)

    def energies(self, q: ca.SX, rate: ca.SX) -> tuple[ca.SX, ca.SX]:
        """Kinetic and potential energy [J] for position and angles ``q`` and their rates."""
        kinetic, potential = 0.5 * self.cart * rate[0] ** 2, ca.SX(0)
        for mass, lower, upper in (
            (self.first_mass, 0.5 * self.first_length, 0.0),
            (self.second_mass, self.first_length, 0.5 * self.second_length),
        ):
            height = lower * ca.cos(q[1]) + upper * ca.cos(q[2])
            centre = ca.vertcat(q[0] + lower * ca.sin(q[1]) + upper * ca.sin(q[2]), height)
            kinetic += 0.5 * mass * ca.sumsqr(ca.jtimes(centre, q, rate))
            potential += mass * self.gravity * height
        first, second = self.first_length * rate[1], self.second_length * rate[2]
        return kinetic + (self.first_mass * first**2 + self.second_mass * second**2) / 24.0, potential

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"force": (-self.max_force, self.max_force)}


@dataclass(frozen=True)
class QuadrupleTank(Plant):
    """Two pumps and four tanks, of which the upper two drain into the lower two (Johansson, 2000), in the setting where
    its zeros are stable."""

    area: float = 28.0
    other_area: float = 32.0
    outlet: float = 0.071
    other_outlet: float = 0.057
    pump: float = 3.33
    other_pump: float = 3.35
    split: float = 0.70
    other_split: float = 0.60
    gravity: float = 981.0
    max_voltage: float = 10.0

    state = signals("h1 [cm]", "h2 [cm]", "h3 [cm]", "h4 [cm]")
    input = signals("v1 [V]", "v2 [V]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> tuple[ca.SX, ...]:
        outlets = (self.outlet, self.other_outlet, self.outlet, self.other_outlet)
        out = [a * ca.sqrt(2 * self.gravity * h) for a, h in zip(outlets, x, strict=True)]
        first, second = self.pump * u.v1, self.other_pump * u.v2
        return (
            (out[2] - out[0] + self.split * first) / self.area,
            (out[3] - out[1] + self.other_split * second) / self.other_area,
            ((1 - self.other_split) * second - out[2]) / self.area,
            ((1 - self.split) * first - out[3]) / self.other_area,
        )

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"v1": (0.0, self.max_voltage), "v2": (0.0, self.max_voltage)}


@dataclass(frozen=True)
class MagneticLevitation(Plant):
    """A steel ball below an electromagnet whose coil is driven by a voltage."""

    mass: float = 0.068
    force: float = 6.5e-5  # N m^2/A^2
    resistance: float = 11.0
    inductance: float = 0.4
    gravity: float = 9.81
    max_voltage: float = 24.0

    state = signals("gap [m]", "speed [m/s]", "current [A]")
    input = signals("voltage [V]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> tuple[ca.SX, ...]:
        attraction = self.force * (x.current / x.gap) ** 2
        return (
            x.speed,
            self.gravity - attraction / self.mass,
            (u.voltage - self.resistance * x.current) / self.inductance,
        )

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"voltage": (0.0, self.max_voltage)}


def furuta() -> Task:
    """Balance the pendulum and bring the arm back, from a tilt of up to 0.3 rad."""
    return Task(
        "furuta", Furuta(), dt=0.005, steps=400,
        cost=Quadratic(Q={"arm": 5.0, "angle": 20.0, "arm_rate": 0.1, "rate": 0.1}, R={"torque": 500.0}),
        constraints=(Box("arm range", {"arm": (-1.5, 1.5)}).soft(100.0),),
        initial=Uniform({"arm": -0.5, "angle": -0.3}, {"arm": 0.5, "angle": 0.3}),
    )  # fmt: skip


def quadruple_tank() -> Task:
    """Reach a set-point of four levels."""
    plant = QuadrupleTank()
    guess = {"h1": 12.0, "h2": 12.0, "h3": 1.5, "h4": 1.5}
    rest = equilibrium(plant, x=guess, u={"v1": 3.0, "v2": 3.0}, hold=("v1", "v2"))
    return Task(
        "quadruple-tank", plant, dt=5.0, steps=120,
        cost=Quadratic(Q={"h1": 1.0, "h2": 1.0, "h3": 0.1, "h4": 0.1}, R={"v1": 1.0, "v2": 1.0}),
        reference=SetPoint(rest.x, rest.u),
        constraints=(Box("levels", {f"h{i}": (0.2, 20.0) for i in range(1, 5)}),),
        initial=Uniform({"h1": 8.0, "h2": 8.0, "h3": 0.8, "h4": 0.8}, {"h1": 17.0, "h2": 17.0, "h3": 4.0, "h4": 4.0}),
    )  # fmt: skip


def double_pendulum() -> Task:
    """Balance two rods on a cart and return to the middle of the track."""
    return Task(
        "double-pendulum", DoublePendulum(), dt=0.01, steps=500,
        cost=Quadratic(
            Q={"position": 2.0, "first": 10.0, "second": 10.0, "speed": 0.1, "first_rate": 0.1, "second_rate": 0.1},
            R={"force": 0.1},
        ),
        constraints=(Box("track", {"position": (-1.0, 1.0)}).soft(100.0),),
        initial=Uniform(
            {"position": -0.3, "first": -0.1, "second": -0.1}, {"position": 0.3, "first": 0.1, "second": 0.1}
        ),
    )  # fmt: skip


def magnetic_levitation() -> Task:
    """Hold the ball 10 mm below the magnet."""
    plant = MagneticLevitation()
    current = 0.01 * (plant.mass * plant.gravity / plant.force) ** 0.5
    return Task(
        "magnetic-levitation", plant, dt=0.002, steps=500,
        cost=Quadratic(Q={"gap": 1e5, "speed": 100.0, "current": 0.1}, R={"voltage": 0.01}),
        reference=SetPoint({"gap": 0.01, "current": current}, {"voltage": plant.resistance * current}),
        constraints=(Box("gap range", {"gap": (0.002, 0.02)}),),
        initial=Uniform({"gap": 0.008, "current": current}, {"gap": 0.012, "current": current}),
    )  # fmt: skip


PLANTS: dict[str, tuple[Callable[[], Task], int]] = {
    "furuta": (furuta, 30),
    "quadruple_tank": (quadruple_tank, 30),
    "double_pendulum": (double_pendulum, 50),
    "magnetic_levitation": (magnetic_levitation, 30),
}
"""The tasks with the horizons used for them, in samples."""
