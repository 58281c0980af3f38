"""Ellipsoids under saturation: closed forms in one state, simulation and branch and bound as judges in more."""

from __future__ import annotations

import dataclasses
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import ClosedLoop, SearchLimits, certify, largest_level, riccati
from ctrl.certify.semidefinite.ellipsoids import ellipsoid_region, largest_ellipsoid, widest_regulator
from ctrl.controller import NotApplicable
from ctrl.laws import Expression, SaturatedLinear
from ctrl.regulator import LQR
from systems import Box, InvalidValue, LinearPlant, Quadratic, Task, Uniform
from systems.library import cartpole, pendulum


def linear_task(A: Any, B: Any, limit: float, dt: float | None = None, half: float = 50.0) -> Task:
    plant = LinearPlant(A, B, dt=dt, input_limits=tuple((-limit, limit) for _ in np.atleast_2d(B)[0]))
    names = plant.state.names
    return Task(
        name="linear",
        plant=plant,
        dt=dt or 0.1,
        steps=100,
        cost=Quadratic(Q=dict.fromkeys(names, 1.0), R=dict.fromkeys(plant.input.names, 1.0)),
        initial=Uniform(dict.fromkeys(names, -1.0), dict.fromkeys(names, 1.0)),
        domain=Box("model", dict.fromkeys(names, (-half, half))),
    )


def border(V: Any, level: float, count: int = 2000) -> np.ndarray:
    z = np.random.default_rng(0).standard_normal((count, len(V.P)))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return V.middle + np.sqrt(level) * z @ np.linalg.inv(np.linalg.cholesky(V.P))


@pytest.mark.parametrize("gain", [0.4, 1.0])
def test_one_unstable_state_in_discrete_time(gain: float) -> None:
    """x+ = a x + sat(u): with full input the border keeps its rate where a |x| - 1 = sqrt(1 - rate) |x|."""
    task, rate = linear_task([[1.2]], [[1.0]], 1.0, dt=1.0), 0.05
    law = SaturatedLinear([[gain]], [0.0], [0.0], [-1.0], [1.0])
    V = largest_ellipsoid(ClosedLoop(task, law), rate)
    half = 1.0 / (1.2 - np.sqrt(1.0 - rate))
    assert 1.0 / np.sqrt(V.P[0, 0]) == pytest.approx(half, rel=1e-4)
    widest_law, W = widest_regulator(task, rate)
    assert 1.0 / np.sqrt(W.P[0, 0]) == pytest.approx(half, rel=1e-4)
    assert widest_law.K[0, 0] * half == pytest.approx(1.0, rel=1e-3)  # at its bound on the border, not before


def test_one_unstable_state_in_continuous_time() -> None:
    """x' = a x + sat(u): V decreases at the rate where a |x| - 1 = -rate / 2 |x|."""
    task, rate = linear_task([[0.5]], [[1.0]], 1.0), 0.1
    law = SaturatedLinear([[2.0]], [0.0], [0.0], [-1.0], [1.0])
    V = largest_ellipsoid(ClosedLoop(task, law, continuous=True), rate)
    assert 1.0 / np.sqrt(V.P[0, 0]) == pytest.approx(1.0 / (0.5 + 0.05), rel=1e-4)


def test_the_tightest_bound_counts() -> None:
    """Bounds of the law within those of the plant, not centred; and a domain smaller than what the input allows."""
    task = linear_task([[1.2]], [[1.0]], 1.0, dt=1.0)
    law = SaturatedLinear([[0.4]], [0.0], [0.0], [-0.5], [0.9])
    V = largest_ellipsoid(ClosedLoop(task, law), 0.05)
    assert 1.0 / np.sqrt(V.P[0, 0]) == pytest.approx(0.5 / (1.2 - np.sqrt(0.95)), rel=1e-4)
    small = linear_task([[1.2]], [[1.0]], 1.0, dt=1.0, half=1.5)
    V = largest_ellipsoid(ClosedLoop(small, law), 0.05)
    assert 1.0 / np.sqrt(V.P[0, 0]) == pytest.approx(1.5, rel=1e-4)


@pytest.mark.parametrize("continuous", [False, True])
def test_on_a_linear_plant_the_inequalities_are_right(continuous: bool) -> None:
    """Two inputs, one unstable mode: the rate holds all over the ellipsoid, and branch and bound agrees."""
    A, B = np.array([[0.3, 1.0], [0.0, -0.2]]), np.array([[0.0, 1.0], [1.0, 0.3]])
    task = linear_task(A, B, 1.0) if continuous else linear_task(np.eye(2) + 0.1 * A, 0.1 * B, 1.0, dt=0.1)
    gain = np.array([[0.2, 2.0], [2.0, 1.0]])
    law = SaturatedLinear(gain, [0, 0], [0, 0], [-1, -1], [1, 1])
    loop, rate = ClosedLoop(task, law, continuous), 0.05
    V = largest_ellipsoid(loop, rate)
    for level in (1.0, 0.5, 0.1):
        x = border(V, level)
        change = (V.gradient(x) * loop(x)).sum(axis=-1) if continuous else V(loop(x)) - V(x)
        assert (change <= -rate * level * (1.0 - 1e-4)).all()
    assert np.abs(border(V, 1.0) @ gain.T).max() > 1.5  # well into saturation
    assert certify(task, law, V, 1.0, continuous=continuous).is_proved


def test_units_do_not_matter() -> None:
    """The same plant with one state in thousandths."""
    A, B = np.array([[1.05, 0.1], [0.0, 1.0]]), np.array([[0.0], [0.1]])
    S = np.diag([1.0, 1000.0])
    K = np.array([[3.0, 3.0]])
    plain = largest_ellipsoid(ClosedLoop(linear_task(A, B, 1.0, dt=0.1, half=1e6), _law(K)))
    scaled_task = linear_task(S @ A @ np.linalg.inv(S), S @ B, 1.0, dt=0.1, half=1e6)
    scaled = largest_ellipsoid(ClosedLoop(scaled_task, _law(K @ np.linalg.inv(S))))
    assert np.allclose(S @ scaled.P @ S, plain.P, rtol=1e-3)


def _law(K: np.ndarray) -> SaturatedLinear:
    return SaturatedLinear(K, np.zeros(2), np.zeros(1), -np.ones(1), np.ones(1))


def test_the_pendulum_against_its_riccati_ellipse() -> None:
    task = pendulum()
    law = LQR(task).law
    plain = largest_level(task, law, riccati(task))
    wide = ellipsoid_region(task, law)
    assert wide.is_proved
    assert wide.volume > 2.0 * plain.volume
    loop = ClosedLoop(task, law)
    x = border(wide.V, wide.level)
    for _ in range(600):
        x = loop(x)
    assert np.abs(x).max() < 1e-3


def test_a_law_for_the_widest_ellipse_beats_the_regulator() -> None:
    task = pendulum()
    law, V = widest_regulator(task)
    widest = largest_level(task, law, V)
    assert widest.is_proved
    assert widest.volume > 1.5 * ellipsoid_region(task, LQR(task).law).volume


def test_in_continuous_time() -> None:
    task = pendulum()
    certificate = ellipsoid_region(task, LQR(task).law, kappa=0.01, continuous=True)
    assert certificate.is_proved
    assert certificate.kappa == 0.01
    assert certificate.volume > 20.0


@pytest.mark.slow
def test_the_cart_pole_against_its_riccati_ellipsoid() -> None:
    task = cartpole()
    law = LQR(task).law
    V = largest_ellipsoid(ClosedLoop(task, law))
    lower, upper = V.bounding_box(1.0)
    assert (lower >= task.domain_bounds[0] - 1e-5).all()
    assert (upper <= task.domain_bounds[1] + 1e-5).all()
    certificate = certify(task, law, V, 0.7, budget=SearchLimits(seconds=120))
    assert certificate.is_proved
    whole = riccati(task)
    reach = np.sqrt(np.diag(np.linalg.inv(whole.P)))
    inside = float(np.min((task.domain_bounds[1] / reach)[:2]) ** 2)  # the last Riccati ellipsoid in the domain
    assert certificate.volume > 2.5 * whole.volume(inside)


def test_what_has_no_largest_ellipsoid_is_refused() -> None:
    task = pendulum()
    x = ca.SX.sym("x", 2)
    smooth = Expression(ca.Function("u", [x], [-ca.tanh(x[0] + x[1])]))
    with pytest.raises(NotApplicable, match="SaturatedLinear"):
        largest_ellipsoid(ClosedLoop(task, smooth))
    with pytest.raises(NotApplicable, match="does not stabilise"):
        largest_ellipsoid(ClosedLoop(task, SaturatedLinear([[0.1, 0.0]], [0, 0], [0], [-1], [1])))
    for rate in (0.0, 1.0, -0.1):
        with pytest.raises(InvalidValue, match="rate"):
            largest_ellipsoid(ClosedLoop(task, LQR(task).law), rate)
    stable = dataclasses.replace(linear_task([[0.5]], [[1.0]], 1.0, dt=1.0), domain=None)
    with pytest.raises(NotApplicable, match="domain"):
        largest_ellipsoid(ClosedLoop(stable, SaturatedLinear([[0.2]], [0], [0], [-1], [1])))
    full = SaturatedLinear([[1.0, 1.0]], [0, 0], [1.0], [-1], [1])
    with pytest.raises(NotApplicable, match="at its bound"):
        largest_ellipsoid(ClosedLoop(task, full))
