"""Ball rolling on a plate that is tilted about two axes: the nonlinear plant, and its linearisation as used for MPC."""

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
from systems.equilibria import linearise
from systems.linear import LinearPlant
from systems.parameters import nonnegative, parameter
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Signals, Vector, signals
from systems.task import Task

__all__ = ["BallAndPlate", "ball_and_plate", "ball_and_plate_axis", "ball_and_plate_linear"]


@dataclass(frozen=True)
class BallAndPlate(Plant):
    """A solid ball rolls without slip on a plate whose two tilt angles are accelerated (Euler-Lagrange equations).

    p1'' = f (p1 w1^2 + p2 w1 w2 + g sin(tilt_1))        tilt_1' = w1,  w1' = acceleration_1
    p2'' = f (p2 w2^2 + p1 w1 w2 + g sin(tilt_2))        tilt_2' = w2,  w2' = acceleration_2

    f = m / (m + I / r^2), which is 5/7 for a solid ball whatever its mass and radius. The limits of the tilt
    acceleration and the bounds of the tasks are those of the ball-and-plate benchmark of the GepocToolbox.
    """

    rolling: float = parameter(5.0 / 7.0, above=0.0, most=1.0)  # -, m / (m + I / r^2)
    gravity: float = nonnegative(9.81)  # m/s^2
    max_acceleration: float = nonnegative(0.4)  # rad/s^2

    state = signals(
        "p1 [m]", "v1 [m/s]", "tilt_1 [rad]", "w1 [rad/s]",
        "p2 [m]", "v2 [m/s]", "tilt_2 [rad]", "w2 [rad/s]",
    )  # fmt: skip
    input = signals("acceleration_1 [rad/s^2]", "acceleration_2 [rad/s^2]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        f, g = self.rolling, self.gravity
        return (
            x.v1,
            f * (x.p1 * x.w1**2 + x.p2 * x.w1 * x.w2 + g * ca.sin(x.tilt_1)),
            x.w1,
            u.acceleration_1,
            x.v2,
            f * (x.p2 * x.w2**2 + x.p1 * x.w1 * x.w2 + g * ca.sin(x.tilt_2)),
            x.w2,
            u.acceleration_2,
        )

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return dict.fromkeys(self.input.names, (-self.max_acceleration, self.max_acceleration))

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """From above: the ball, and a line in the direction in which the plate is tilted, at 0.2 rad a metre long."""
        ball = x[[0, 4]]
        return Drawing((disc(ball, 0.06), segment(ball, ball + 5.0 * x[[2, 6]], "force")), across="p1", up="p2")


def _linear(axes: int) -> LinearPlant:
    """The plant linearised at rest in the middle; its two axes are then decoupled and alike."""
    plant = BallAndPlate()
    at_rest = linearise(plant, [0.0] * 8, [0.0] * 2)
    n, limits = 4 * axes, at_rest.input_limits[:axes]
    state, inputs = Signals(plant.state[:n]), Signals(plant.input[:axes])
    return LinearPlant(at_rest.A[:n, :n], at_rest.B[:n, :axes], state=state, input=inputs, input_limits=limits)


def _task(name: str, plant: Plant, targets: tuple[float, ...], linear: bool) -> Task:
    axes = [str(i + 1) for i in range(len(targets))]
    weights = {"p": 10.0, "v": 0.05, "tilt_": 0.05, "w": 0.05}
    return Task(
        name=name,
        plant=plant,
        dt=0.2,
        steps=60,
        cost=Quadratic(
            Q={signal + i: weight for i in axes for signal, weight in weights.items()},
            R={f"acceleration_{i}": 0.5 for i in axes},
        ),
        constraints=(
            Box("ball speed", {f"v{i}": (-0.5, 0.5) for i in axes}),
            Box("tilt", {f"tilt_{i}": (-ca.pi / 4, ca.pi / 4) for i in axes}),
        ),
        reference=SetPoint(x={f"p{i}": target for i, target in zip(axes, targets, strict=True)}),
        initial=Uniform({f"p{i}": -0.3 for i in axes}, {f"p{i}": 0.3 for i in axes}),
        domain=Box(
            "plate", {f"p{i}": (-4.0, 4.0) for i in axes} | {f"tilt_{i}": (-ca.pi / 2, ca.pi / 2) for i in axes}
        ),
        tolerance={f"p{i}": 0.02 for i in axes} | {f"v{i}": 0.02 for i in axes},
        integrator="exact" if linear else "rk4",
    )


def ball_and_plate() -> Task:
    """Roll the ball from rest near the middle to (1.8, 1.4) m at no more than 0.5 m/s per axis; the nonlinear plant.

    Saturation makes a linear regulator diverge from that far: the acceleration is small and must be planned.
    """
    return _task("ball-and-plate", BallAndPlate(), (1.8, 1.4), linear=False)


def ball_and_plate_linear() -> Task:
    """As ball-and-plate, with the plant linearised at the centre of the plate and sampled exactly."""
    return _task("ball-and-plate-linear", _linear(axes=2), (1.8, 1.4), linear=True)


def ball_and_plate_axis() -> Task:
    """One axis of the linearised plant, to 1.8 m: a chain of four integrators with a narrow speed limit."""
    return _task("ball-and-plate-axis", _linear(axes=1), (1.8,), linear=True)
