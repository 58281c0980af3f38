"""Tasks, certificates and policies of safety filters, for :mod:`benchmarks.filters` and the tests."""

from __future__ import annotations

import dataclasses
from functools import cache

import casadi as ca
import numpy as np

from ctrl import LQR
from ctrl.certify import BarrierCertificate, Certificate, certify, certify_barrier, disturbances
from ctrl.filters import with_hard_constraints
from ctrl.foreign import FunctionController
from ctrl.laws import SaturatedLinear
from systems import Inequality, Quadratic, SetPoint, Task, Uniform
from systems.library import braking, cartpole_track, lane_bound, planar_quadrotor


@cache
def disturbed_braking() -> Task:
    """Braking before the wall at 0, which must not be passed, while something pushes."""
    return dataclasses.replace(
        with_hard_constraints(braking()), disturbance=Uniform({"push": -0.1}, {"push": 0.1}), discount=0.9
    )


@cache
def braking_certificate() -> Certificate:
    """An invariant set of it around 1.2 m before the wall, which it almost touches."""
    cost = Quadratic(Q={"position": 0.2, "speed": 0.2}, R={"acceleration": 0.2})
    task = dataclasses.replace(disturbed_braking(), cost=cost, reference=SetPoint({"position": -1.2}))
    return certify(task, LQR(task).law, level=3.4, inner=2.9, disturbance=disturbances(task))


def can_stop(deceleration: float) -> Inequality:
    """Braking at a constant rate ends before the wall, and before 3.9 m from it on the way back."""

    def g(x, u):
        ahead, back = ca.fmax(x.speed, 0.0) ** 2, ca.fmin(x.speed, 0.0) ** 2
        return 0.01 + x.position + ahead / (2 * deceleration), -3.9 - x.position + back / (2 * deceleration)

    return Inequality("can stop", g)


def towards_the_middle() -> SaturatedLinear:
    """A law that brakes fully wherever that is needed."""
    return SaturatedLinear(np.array([[1.0, 2.0]]), np.array([-2.0, 0.0]), np.zeros(1), -np.ones(1), np.ones(1))


@cache
def stopping_certificate() -> BarrierCertificate:
    """Of the set from which braking at 0.85 m/s^2 suffices, 0.9 being what is left of 1 under the disturbance."""
    task = disturbed_braking()
    return certify_barrier(task, towards_the_middle(), [can_stop(0.85)], disturbance=disturbances(task))


def quadrotor_with_obstacle() -> Task:
    """Hover in gusts beside a disc that must not be entered."""
    disc = Inequality("obstacle", lambda x, u: 0.5**2 - (x.x - 0.7) ** 2 - (x.z - 0.3) ** 2)
    return dataclasses.replace(planar_quadrotor(), constraints=(disc,))


@cache
def certified(name: str) -> tuple[Task, Certificate]:
    """A task with hard constraints, and an invariant set within them."""
    if name == "cartpole-track":
        task = with_hard_constraints(cartpole_track())
        at = dataclasses.replace(task, reference=SetPoint({"position": -0.85}))
        return task, certify(at, LQR(at).law, level=7.0)
    if name == "braking":
        return disturbed_braking(), braking_certificate()
    if name == "lane-bound":
        task = with_hard_constraints(lane_bound())
        return task, certify(task, LQR(task).law, level=3.0)
    task = quadrotor_with_obstacle()
    return task, certify(task, LQR(task).law, level=0.5, inner=0.4, disturbance=disturbances(task))


def at_random(task: Task, seed: int = 0) -> FunctionController:
    """A policy that draws its inputs uniformly between the bounds."""
    rng, (low, high) = np.random.default_rng(seed), task.input_bounds
    return FunctionController(task, lambda observation: rng.uniform(low, high))


def starts_within(certificate: Certificate | BarrierCertificate, count: int, seed: int = 0) -> np.ndarray:
    """States (count, n) of the certified set, uniformly distributed in it."""
    box = certificate.box if isinstance(certificate, BarrierCertificate) else certificate.region.hull
    rng, (low, high) = np.random.default_rng(seed), box
    kept: list[np.ndarray] = []
    while sum(map(len, kept)) < count:
        x = rng.uniform(low, high, (4096, len(low)))
        kept.append(x[certificate.contains(x)])
    return np.concatenate(kept)[:count]
