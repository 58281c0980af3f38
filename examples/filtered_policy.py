"""A policy that drives at a wall, behind three safety filters: it stops before the wall, at a cost that a table shows.

    python -m examples.filtered_policy
    python -m examples.filtered_policy --starts 32

The policy is the regulator of a task whose constraint, the wall, it does not know of, while something pushes by up to
0.1 m/s^2. Behind a shield it acts as long as the next state surely lies in a certified set; behind a barrier filter the
nearest input acts from which braking still suffices, which is proved as well; behind a predictive filter every input
begins a plan that has been simulated to end in that set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import casadi as ca
import numpy as np
import tyro

from ctrl import LQR, Comparison, Controller, compare
from ctrl.certify import BarrierCertificate, Certificate, certify, certify_barrier, disturbances
from ctrl.filters import BarrierFilter, Filtered, Shield, with_hard_constraints
from ctrl.laws import SaturatedLinear
from mpc.filters import PredictiveFilter
from systems import Inequality, Quadratic, SetPoint, Task, Uniform, Vector
from systems.library import braking


@dataclass(frozen=True)
class Options:
    """A policy behind safety filters, before a wall."""

    starts: int = 16
    """Number of initial states."""
    seed: int = 0
    """Of initial states and disturbances."""


def pushed() -> Task:
    """Stop at a wall that must not be passed. The starts are those from which that is easy."""
    return dataclasses.replace(
        with_hard_constraints(braking()),
        disturbance=Uniform({"push": -0.1}, {"push": 0.1}),
        initial=Uniform({"position": -1.8, "speed": 0.0}, {"position": -0.8, "speed": 0.5}),
    )


def ellipsoid(task: Task) -> Certificate:
    """A proved invariant set of a regulator that stands 1.2 m before the wall."""
    cost = Quadratic(Q={"position": 0.2, "speed": 0.2}, R={"acceleration": 0.2})
    away = dataclasses.replace(task, cost=cost, reference=SetPoint({"position": -1.2}))
    return certify(away, LQR(away).law, level=3.4, inner=2.9, disturbance=disturbances(task))


def stopping_distance(task: Task) -> BarrierCertificate:
    """The states from which braking at 0.85 m/s^2 suffices, before the wall and 3.9 m from it: proved invariant."""

    def g(x: Vector, u: Vector) -> tuple[ca.SX, ca.SX]:
        ahead, back = ca.fmax(x.speed, 0.0) ** 2, ca.fmin(x.speed, 0.0) ** 2
        return 0.01 + x.position + ahead / (2 * 0.85), -3.9 - x.position + back / (2 * 0.85)

    law = SaturatedLinear(np.array([[1.0, 2.0]]), np.array([-2.0, 0.0]), np.zeros(1), -np.ones(1), np.ones(1))
    return certify_barrier(task, law, [Inequality("can stop", g)], disturbance=disturbances(task))


def controllers(task: Task) -> dict[str, Callable[[Task], Controller]]:
    """The policy alone, and behind each filter."""
    certificate, barrier = ellipsoid(task), stopping_distance(task)
    return {
        "policy": LQR,
        "shield": lambda task: Filtered(LQR(task), Shield(task, certificate)),
        "barrier": lambda task: Filtered(
            LQR(task), BarrierFilter(task, barrier.barriers, rate=5.0, backup=Shield(task, barrier))
        ),
        "predictive": lambda task: Filtered(LQR(task), PredictiveFilter(task, certificate)),
    }


def main(options: Options) -> Comparison:
    task = pushed()
    print(Shield(task, ellipsoid(task)).claim, stopping_distance(task).claim, sep="\n\n")
    comparison = compare(task, controllers(task), options.starts, options.seed, workers=1)
    print(comparison)
    return comparison


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
