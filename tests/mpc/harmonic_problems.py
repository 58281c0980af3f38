"""The problems on which harmonic MPC is tested, with the weights of their sources."""

from __future__ import annotations

import dataclasses

import numpy as np

from mpc import HarmonicMPC, TrackingMPC
from mpc.harmonic.artificial_reference_mpc import ConeBackEnd
from systems import SetPoint, Task, exact
from systems.library import ball_and_plate_axis, oscillating_masses

MASSES_FREQUENCY = 3 * 1.627 * 0.2
AXIS_FREQUENCY = 0.3254
AXIS_WEIGHTS = ([600.0, 50.0, 50.0, 50.0], [0.3])
START = np.full(6, 0.02)


def masses() -> Task:
    """Three oscillating masses without the bound of 1000 m/s, which says nothing."""
    task = oscillating_masses()
    return dataclasses.replace(task, constraints=tuple(c for c in task.constraints if c.name == "positions"))


def masses_controller(solver: ConeBackEnd = "interior-point") -> HarmonicMPC:
    return HarmonicMPC(masses(), 10, MASSES_FREQUENCY, solver=solver)


def axis(target: float = 1.8) -> Task:
    """One axis of the linearised ball and plate."""
    return dataclasses.replace(ball_and_plate_axis(), reference=SetPoint(x={"p1": target}))


def axis_controller(
    task: Task, horizon: int = 5, frequency: float = AXIS_FREQUENCY, solver: ConeBackEnd = "interior-point"
) -> HarmonicMPC:
    state, inputs = AXIS_WEIGHTS
    half = [0.5 * weight for weight in inputs]
    return HarmonicMPC(task, horizon, frequency, Te=state, Th=state, Se=inputs, Sh=half, solver=solver)


def axis_tracking(task: Task, horizon: int = 5) -> TrackingMPC:
    state, inputs = AXIS_WEIGHTS
    return TrackingMPC(task, horizon, T=state, S=inputs)


def resting(task: Task, u: np.ndarray) -> SetPoint:
    """The equilibrium of a linear plant under a constant input."""
    plant = exact(task.plant, task.dt)
    return SetPoint(np.linalg.solve(np.eye(len(plant.A)) - plant.A, plant.B @ u), u)
