"""The closed loop: its enclosures hold numbers, CasADi's derivatives and Arb's values of the physics."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import ClosedLoop
from ctrl.controller import NotApplicable
from ctrl.laws import Expression, SaturatedLinear
from ctrl.regulator import LQR
from systems import Plant, Quadratic, Radau, SetPoint, Sinusoid, Task, Uniform, Vector, signals
from systems.arithmetic.interval import Interval
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum

TASKS = {
    "pendulum": pendulum(),
    "cartpole": cartpole(),
    "substeps": dataclasses.replace(cartpole(), substeps=2),
}


@pytest.mark.parametrize("name", TASKS)
def test_values_and_slopes_are_enclosed(name: str) -> None:
    task = TASKS[name]
    law = LQR(task).law
    loop = ClosedLoop(task, law)
    n = len(task.plant.state)
    rng = np.random.default_rng(0)
    middle, half = rng.uniform(-0.5, 0.5, (200, n)), 10.0 ** rng.uniform(-5, -1, (200, 1))
    box = Interval(middle - half, middle + half)
    value, jet = loop.enclose(box), loop.enclose_jacobian(box)
    step = task.dynamics.function()
    x, u = ca.SX.sym("x", n), ca.SX.sym("u", 1)
    after = step(x, u, 0, 0)
    slopes = ca.Function("slopes", [x, u], [ca.jacobian(after, x), ca.jacobian(after, u)])
    for point in (middle, rng.uniform(box.lo, box.hi)):
        y = loop(point)
        for enclosure in (value, jet.value):
            assert ((y >= enclosure.lo - 1e-12) & (y <= enclosure.hi + 1e-12)).all()
        for k in range(0, 200, 10):
            applied = law(point[k])
            by_state, by_input = (np.array(J) for J in slopes(point[k], applied))
            free = (np.abs(applied) < law.upper).astype(float)
            J = by_state + by_input @ (free[:, None] * -law.K)
            assert np.abs(J - np.clip(J, jet.jacobian.lo[k], jet.jacobian.hi[k])).max() < 1e-10
    thin = loop.enclose_jacobian(Interval.of(middle))
    assert (thin.value.hi - thin.value.lo).max() < 1e-12


def test_arb_agrees_on_the_pendulum() -> None:
    flint = pytest.importorskip("flint")
    task = pendulum()
    law = LQR(task).law
    loop = ClosedLoop(task, law)
    rng = np.random.default_rng(1)
    middle, half = rng.uniform([-2, -8], [2, 8], (300, 2)), 10.0 ** rng.uniform(-6, -1, (300, 1))
    box = Interval(middle - half, middle + half)
    found = loop.enclose(box)
    flint.ctx.prec = 200
    arb, plant = flint.arb, task.plant
    m, length, b, g = (arb(v) for v in (plant.mass, plant.length, plant.damping, plant.gravity))
    for k in range(300):
        for _ in range(10):
            angle, rate = (arb(float(v)) for v in rng.uniform(box.lo[k], box.hi[k]))
            u = -(arb(law.K[0, 0]) * angle + arb(law.K[0, 1]) * rate)
            u = min(max(u, arb(-plant.max_torque)), arb(plant.max_torque))
            acceleration = g / length * angle.sin() + (u - b * rate) / (m * length**2)
            for i, y in enumerate((angle + arb(task.dt) * rate, rate + arb(task.dt) * acceleration)):
                assert arb(found.lo[k, i]) <= y <= arb(found.hi[k, i])


def test_rest_is_shown_exactly() -> None:
    task = pendulum()
    law = LQR(task).law
    assert ClosedLoop(task, law).drift(np.zeros(2))[0]
    assert ClosedLoop(cartpole(), LQR(cartpole()).law).drift(np.zeros(4))[0]
    still, bound = ClosedLoop(task, law).drift(np.array([0.0, 1e-200]))
    assert not still
    assert 0 < bound < 1e-190
    pushed = SaturatedLinear(law.K, law.x_ref, [1e-3], law.lower, law.upper)
    assert not ClosedLoop(task, pushed).drift(np.zeros(2))[0]


def test_the_law_is_clipped_as_the_actuator_would() -> None:
    task = pendulum()
    x = ca.SX.sym("x", 2)
    strong = ClosedLoop(task, Expression(ca.Function("u", [x], [-100 * x[0]])))
    weak = ClosedLoop(task, Expression(ca.Function("u", [x], [ca.fmin(ca.fmax(-100 * x[0], -0.75), 0.75)])))
    points = np.random.default_rng(2).uniform(-1, 1, (100, 2))
    assert np.allclose(strong(points), weak(points))
    box = Interval(points - 0.01, points + 0.01)
    assert np.allclose(strong.enclose(box).hi, weak.enclose(box).hi)
    assert np.allclose(strong.enclose_jacobian(box).jacobian.lo, weak.enclose_jacobian(box).jacobian.lo)


@dataclass(frozen=True)
class Relay(Plant):
    state = signals("x")
    input = signals("u")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return (u.u - ca.if_else(x.x > 0.5, 1.0, 0.0),)


def test_what_has_no_jacobian_is_refused() -> None:
    task = Task("relay", Relay(), 0.1, 10, Quadratic({"x": 1.0}, {"u": 1.0}), Uniform([-1], [1]))
    with pytest.raises(NotApplicable, match="may be discontinuous"):
        ClosedLoop(task, SaturatedLinear([[1.0]], [0], [0], [-1], [1]))
    moving = dataclasses.replace(pendulum(), reference=Sinusoid(0.1, x_sine=[0.1, 0.0]))
    with pytest.raises(NotApplicable, match="reference changes with time"):
        ClosedLoop(moving, LQR(pendulum()).law)
    elsewhere = dataclasses.replace(pendulum(), reference=SetPoint([0.1, 0.0], [0.2]))
    assert np.allclose(ClosedLoop(elsewhere, LQR(pendulum()).law).reference, [0.1, 0.0])


def test_implicit_integrators_are_refused_by_name() -> None:
    """Their steps are what Newton's method made of them; continuous time asks for none."""
    task = dataclasses.replace(pendulum(), integrator=Radau(3))
    law = LQR(task).law
    with pytest.raises(
        NotApplicable, match="discretised by Radau of order 3, whose steps are computed by Newton's method"
    ):
        ClosedLoop(task, law)
    assert np.isfinite(ClosedLoop(task, law, continuous=True)(np.array([0.1, 0.0]))).all()
