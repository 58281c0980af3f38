"""Planar arm of two links with a payload, and the task of lifting it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.constraints import Box
from systems.costs import Quadratic
from systems.distributions import Uniform
from systems.drawing.shapes import Drawing, disc, segment
from systems.euler_lagrange import accelerations
from systems.parameters import nonnegative, positive
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["TwoLinkArm", "two_link_arm"]


@dataclass(frozen=True)
class TwoLinkArm(Plant):
    """Two uniform rods in a vertical plane, with a point mass at the end of the second.

    The textbook's planar manipulator (Spong, Hutchinson & Vidyasagar, 2006, section 7.3.2): the equations are derived
    from kinetic and potential energy. ``shoulder`` is the angle of the first link from hanging down, ``elbow`` that of
    the second to the first; both motors act on these angles. The numbers are ours, of a small robot.
    """

    upper_mass: float = positive(2.0)  # kg
    lower_mass: float = positive(1.5)  # kg
    upper_length: float = positive(0.4)  # m
    lower_length: float = positive(0.35)  # m
    payload: float = nonnegative(1.0)  # kg
    damping: float = nonnegative(0.2)  # N m s, of each joint
    gravity: float = nonnegative(9.81)  # m/s^2
    max_shoulder_torque: float = nonnegative(40.0)  # N m
    max_elbow_torque: float = nonnegative(15.0)  # N m

    state = signals("shoulder [rad]", "elbow [rad]", "shoulder_rate [rad/s]", "elbow_rate [rad/s]")
    input = signals("shoulder_torque [N m]", "elbow_torque [N m]")

    def energies(self, q: ca.SX) -> tuple[ca.SX, ca.SX]:
        """Mass matrix (2, 2) and potential [J] at the angles (2, 1)."""
        first, second = q[0], q[0] + q[1]
        along = [ca.vertcat(ca.sin(a), -ca.cos(a)) for a in (first, second)]  # horizontal and up
        elbow = self.upper_length * along[0]
        points = (  # where each mass is, and its moment of inertia about there, with the angle that turns it
            (self.upper_mass, 0.5 * elbow, self.upper_mass * self.upper_length**2 / 12.0, first),
            (self.lower_mass, elbow + 0.5 * self.lower_length * along[1],
             self.lower_mass * self.lower_length**2 / 12.0, second),
            (self.payload, elbow + self.lower_length * along[1], 0.0, second),
        )  # fmt: skip
        mass, potential = ca.SX(2, 2), ca.SX(0)
        for m, place, inertia, angle in points:
            by_angles, turn = ca.jacobian(place, q), ca.jacobian(angle, q)
            mass += m * by_angles.T @ by_angles + inertia * turn.T @ turn
            potential += m * self.gravity * place[1]
        return mass, potential

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        q, v = x.column[:2], x.column[2:]
        mass, potential = self.energies(q)
        return ca.vertcat(v, accelerations(q, v, mass, potential, u.column - self.damping * v))

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {
            "shoulder_torque": (-self.max_shoulder_torque, self.max_shoulder_torque),
            "elbow_torque": (-self.max_elbow_torque, self.max_elbow_torque),
        }

    def holding(self, shoulder: float, elbow: float) -> np.ndarray:
        """The torques (2,) that hold the arm at rest at these angles."""
        q = ca.SX.sym("q", 2)
        _, potential = self.energies(q)
        return np.array(ca.Function("hold", [q], [ca.gradient(potential, q)])([shoulder, elbow])).ravel()

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From the side: two links, the payload as a disc of its size."""
        first, second = float(x[0]), float(x[0] + x[1])
        elbow = self.upper_length * np.array([np.sin(first), -np.cos(first)])
        hand = elbow + self.lower_length * np.array([np.sin(second), -np.cos(second)])
        load = disc(hand, 0.04 * (0.5 + self.payload ** (1.0 / 3.0)))
        return Drawing(
            (segment((-0.1, 0.0), (0.1, 0.0), "ground"), segment((0.0, 0.0), elbow), segment(elbow, hand), load)
        )


def two_link_arm() -> Task:
    """Lift a payload of 1 kg from anywhere near hanging down to the stretched posture obliquely upward."""
    plant, shoulder, elbow = TwoLinkArm(), 2.0, 0.5
    return Task(
        name="two-link-arm",
        plant=plant,
        dt=0.02,
        steps=100,
        cost=Quadratic(
            Q={"shoulder": 20.0, "elbow": 20.0, "shoulder_rate": 0.5, "elbow_rate": 0.5},
            R={"shoulder_torque": 0.002, "elbow_torque": 0.01},
        ),
        initial=Uniform(
            {"shoulder": -0.5, "elbow": -0.5, "shoulder_rate": 0.0, "elbow_rate": 0.0},
            {"shoulder": 0.5, "elbow": 0.5, "shoulder_rate": 0.0, "elbow_rate": 0.0},
        ),
        reference=SetPoint(
            {"shoulder": shoulder, "elbow": elbow},
            dict(zip(plant.input.names, plant.holding(shoulder, elbow).tolist(), strict=True)),
        ),
        domain=Box("model", {"shoulder_rate": (-30.0, 30.0), "elbow_rate": (-30.0, 30.0)}),
        tolerance={"shoulder": 0.05, "elbow": 0.05, "shoulder_rate": 0.1, "elbow_rate": 0.1},
    )
