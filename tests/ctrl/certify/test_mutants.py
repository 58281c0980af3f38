"""Closed loops that do not do what is claimed of them: every one is refused or left undecided, none is proved.

Each mutant is broken on purpose, and that it is broken is shown by a run or a point of its own before the certificate
is asked for: a mutant that happens to be harmless would prove nothing about the verifier.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import (
    ClosedLoop,
    Lyapunov,
    QuadraticLyapunov,
    SearchLimits,
    SymbolicLyapunov,
    certify,
    riccati,
    sampled_limit,
)
from ctrl.laws import Network, SaturatedLinear
from ctrl.laws.law import Law
from ctrl.regulator import LQR
from systems import Task, Vector
from systems.library.cartpole import CartPole, cartpole
from systems.library.path_tracking import PathTracking, path_tracking
from systems.library.pendulum import Pendulum, pendulum

BUDGET = SearchLimits(200_000, 20.0)


@dataclass(frozen=True)
class WrongPendulum(Pendulum):
    """The torque enters with the wrong sign."""

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        first, second = super().ode(x, u, w)
        return first, second - 2.0 * u.torque / (self.mass * self.length**2)


@dataclass(frozen=True)
class LaggingPendulum(Pendulum):
    """The angle drifts the wrong way."""

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        first, second = super().ode(x, u, w)
        return -first, second


@dataclass(frozen=True)
class WrongCartPole(CartPole):
    """The cart is pushed back by its own speed."""

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        position, angle, velocity, rate = super().ode(x, u, w)
        return position, angle, velocity + 10.0 * x.velocity, rate


@dataclass(frozen=True)
class WrongPath(PathTracking):
    """The angle counts the other way."""

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        offset, angle = super().ode(x, u, w)
        return -offset, angle


@dataclass(frozen=True)
class Mutant:
    name: str
    task: Task
    law: Law
    V: Lyapunov
    level: float


def _like(task: Task, law: SaturatedLinear, **changes: Any) -> SaturatedLinear:
    return dataclasses.replace(law, **changes)


def _mutants() -> Iterator[Mutant]:
    rng = np.random.default_rng(0)
    for task, wrong in (
        (pendulum(), (WrongPendulum(), LaggingPendulum())),
        (path_tracking(), (WrongPath(),)),
        (cartpole(), (WrongCartPole(),)),
    ):
        law, V = LQR(task).law, riccati(task)
        limit = sampled_limit(ClosedLoop(task, law), V).level
        n, m = law.K.shape[1], law.K.shape[0]
        name = task.name
        for level in limit * np.array([1.02, 1.1, 1.5, 2.0, 4.0, 8.0, 20.0, 1.03, 1.05, 1.2, 3.0, 6.0]):
            yield Mutant(f"{name}, level x {level / limit:.3g}", task, law, V, float(level))
        for level in limit * np.geomspace(1e-4, 0.95, 6):
            yield Mutant(f"{name}, sign of K, level {level:.2g}", task, _like(task, law, K=-law.K), V, float(level))
            none = _like(task, law, K=0.0 * law.K)
            yield Mutant(f"{name}, no feedback, level {level:.2g}", task, none, V, float(level))
            for plant in wrong:
                wronged = dataclasses.replace(task, truth=plant)
                yield Mutant(f"{name}, {type(plant).__name__}, level {level:.2g}", wronged, law, V, float(level))
            slow = dataclasses.replace(task, dt=task.dt * 14)
            yield Mutant(f"{name}, dt x 14, level {level:.2g}", slow, law, V, float(level))
            for i in range(n):
                K = law.K.copy()
                K[:, i] *= -4.0
                yield Mutant(
                    f"{name}, sign of gain {i}, level {level:.2g}", task, _like(task, law, K=K), V, float(level)
                )
            for factor in (0.02, 40.0):
                scaled = _like(task, law, K=law.K * factor)
                yield Mutant(f"{name}, K x {factor}, level {level:.2g}", task, scaled, V, float(level))
            shift = 10.0 ** rng.uniform(-6, -1, n) * rng.choice([-1, 1], n)
            moved = _like(task, law, x_ref=law.x_ref + shift)
            yield Mutant(f"{name}, law around {shift}, level {level:.2g}", task, moved, V, float(level))
            pushed = _like(task, law, u_ref=law.u_ref + 10.0 ** rng.uniform(-6, -1, m))
            yield Mutant(f"{name}, law with an offset, level {level:.2g}", task, pushed, V, float(level))
            beside = QuadraticLyapunov(V.P, V.middle + shift)
            yield Mutant(f"{name}, V around {shift}, level {level:.2g}", task, law, beside, float(level))
            if n == 2:
                net = Network((np.vstack([law.K, -law.K]), np.ones((m, 2))), (np.zeros(2), np.zeros(m)), ("relu",) * 2)
                yield Mutant(f"{name}, a network of one sign, level {level:.2g}", task, net, V, float(level))
        if n == 2:
            for k in range(6):
                x = ca.SX.sym("x", n)
                d = x - ca.DM(V.middle)
                twisted = d.T @ ca.DM(V.P) @ d + 10.0 ** rng.uniform(1, 3) * d[0] ** 3
                W = SymbolicLyapunov(ca.Function("W", [x], [twisted]), V.middle)
                yield Mutant(f"{name}, V with a cubic, {k}", task, law, W, 0.9 * limit)


def _truly_broken(mutant: Mutant) -> bool:
    """Whether the claim is false, found by sampling in floating point with room to spare."""
    loop, V = ClosedLoop(mutant.task, mutant.law), mutant.V
    reference = loop.reference
    if np.abs(V.middle - reference).max() > 1e-8:
        return True
    if np.abs(loop(reference) - reference).max() > 1e-8:
        return True
    rng = np.random.default_rng(1)
    lower, upper = loop.domain
    if isinstance(V, QuadraticLyapunov):
        z = rng.standard_normal((60_000, len(reference)))
        z *= rng.random((len(z), 1)) ** (0.5 / len(reference)) / np.linalg.norm(z, axis=1, keepdims=True)
        x = V.middle + np.sqrt(mutant.level) * z @ np.linalg.inv(np.linalg.cholesky(V.P))
    else:
        x = rng.uniform(lower, upper, (60_000, len(reference)))
        x = np.concatenate([x, V.middle + 0.1 * (x - V.middle)])
    x = x[((x >= lower) & (x <= upper)).all(axis=1) & (V(x) <= mutant.level)]
    if not len(x):
        return False
    after = loop(x)
    leaves = ((after < lower) | (after > upper)).any(axis=1)
    grows = V(after) - V(x) > 1e-9 * (1e-12 + np.abs(V(x)))
    if (leaves | grows).any():
        return True
    found = sampled_limit(loop, V, ceiling=mutant.level)
    return found.violation is not None


MUTANTS = list(_mutants())


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_no_mutant_is_proved() -> None:
    broken = 0
    for mutant in MUTANTS:
        if not _truly_broken(mutant):
            continue
        broken += 1
        certificate = certify(mutant.task, mutant.law, mutant.V, mutant.level, budget=BUDGET)
        assert not certificate.is_proved, mutant.name
    assert broken >= 200, f"only {broken} of {len(MUTANTS)} mutants are truly broken"


def test_a_sample_of_the_mutants_is_not_proved() -> None:
    broken = 0
    for mutant in MUTANTS[:: len(MUTANTS) // 24]:
        if not _truly_broken(mutant):
            continue
        broken += 1
        certificate = certify(mutant.task, mutant.law, mutant.V, mutant.level, budget=SearchLimits(20_000, 5.0))
        assert not certificate.is_proved, mutant.name
    assert broken >= 15
