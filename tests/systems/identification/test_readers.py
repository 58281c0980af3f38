"""Fitted plants are read like hand-written ones: by chance constraints, tubes and proofs, with their errors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest
from scipy.stats import norm

from ctrl import LQR
from ctrl.certify import certify, disturbances
from mpc import StochasticMPC
from systems import Box, Distribution, Gaussian, Plant, Quadratic, Task, Uniform, Vector, signals
from systems.identification import RandomFeatures, fit_linear, fit_residual
from tests.systems.identification.plants import simulated


@dataclass(frozen=True)
class Tank(Plant):
    """x+ = 0.9 x + bend sin(x) + u."""

    bend: float = 0.0
    dt: float = 0.1

    state = signals("level [m]")
    input = signals("flow [m]")

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        return (0.9 * x.level + self.bend * ca.sin(x.level) + u.flow,)

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"flow": (-0.5, 0.5)}


def learned() -> Task:
    """A task with a plant that was fitted to a tank with bend 0.2, starting from one without."""
    rng = np.random.default_rng(0)
    starts, inputs = rng.uniform(-1.0, 1.0, (30, 1)), rng.uniform(-0.5, 0.5, (30, 5, 1))
    data = simulated(Tank(0.2), 0.1, starts, inputs, process=0.002)
    fit = fit_residual(Tank(), data, RandomFeatures(40), ("level",), ("level",))
    return fit.task(Task("tank", Tank(), 0.1, 30, Quadratic([1.0], [1.0]), Uniform([-0.3], [0.3])), bounded=True)


def test_a_region_is_proved_for_the_errors_of_a_fit() -> None:
    task = learned()
    assert task.truth is None
    _, high = task.disturbance.support(task.plant.disturbance)
    assert 0.002 < high[0] < 0.02
    law = LQR(task).law
    proved = certify(task, law, level=0.05, disturbance=disturbances(task), inner=0.01)
    assert proved.is_proved, str(proved)
    # Errors ten times as large break what was proved, so the proof did read them.
    wide = {name: (20.0 * low, 20.0 * most) for name, (low, most) in disturbances(task).items()}
    assert not certify(task, law, level=0.05, disturbance=wide, inner=0.01).is_proved


def test_chance_constraints_and_tubes_tighten_by_the_errors_of_a_fit() -> None:
    rng = np.random.default_rng(0)
    starts, inputs = rng.uniform(-1.0, 1.0, (8, 1)), rng.uniform(-0.5, 0.5, (8, 25, 1))
    fit = fit_linear(simulated(Tank(), 0.1, starts, inputs, process=0.05))

    def margin(disturbance: Distribution, tightening: Any) -> float:
        task = Task(
            "linear", fit.plant, 0.1, 20, Quadratic([1.0], [1.0]), Uniform([-0.1], [0.1]),
            constraints=(Box("high", {"level": (-np.inf, 3.0)}).chance(0.9),), disturbance=disturbance,
        )  # fmt: skip
        controller = StochasticMPC(task, recondition_every=math.inf, tightening=tightening)
        return float(controller.margins.after(np.array([1])).max())

    # One sample after the measurement, the margin is the quantile of level_error itself.
    deviation = np.sqrt(fit.covariance[0, 0])
    assert margin(fit.disturbance, "exact") == pytest.approx(norm.ppf(0.9) * deviation)
    wider = Gaussian(covariance_matrix=4.0 * fit.covariance)
    assert margin(wider, "exact") == pytest.approx(2.0 * margin(fit.disturbance, "exact"))
    assert margin(fit.bounded_disturbance, "worst-case") == pytest.approx(fit.largest[0])
