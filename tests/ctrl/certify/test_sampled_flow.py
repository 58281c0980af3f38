"""Plants that are sampled exactly: what is proved is proved of the flow, not of a rounded exponential."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import casadi as ca
import flint
import numpy as np
import pytest
from scipy.linalg import expm

from ctrl.certify import ClosedLoop, QuadraticLyapunov, SearchLimits, certify, largest_level, riccati
from ctrl.certify.loops.sampled_flow import SampledFlow
from ctrl.laws import SaturatedLinear
from ctrl.regulator import LQR
from systems import Discretisation, InvalidValue, LinearPlant, Plant, Quadratic, SetPoint, Task, Uniform, signals
from systems.arithmetic.interval import Interval
from systems.library.double_integrator import double_integrator

IDLE = SaturatedLinear(np.zeros((1, 2)), np.zeros(2), np.zeros(1), -np.ones(1), np.ones(1))


def sampled(plant: Plant, dt: float = 1.0, **changes: Any) -> Task:
    n = len(plant.state)
    return Task(
        name="flow",
        plant=plant,
        dt=dt,
        steps=20,
        cost=Quadratic(np.eye(n), np.eye(len(plant.input))),
        initial=Uniform([-1] * n, [1] * n),
        integrator="exact",
        **changes,
    )


def swing(growth: float, rate: float) -> LinearPlant:
    return LinearPlant(
        np.array([[growth, rate], [-rate, growth]]), np.array([[0.0], [1.0]]), input_limits=((-1.0, 1.0),)
    )


@pytest.mark.parametrize("rate", [1482681.5959870704, 1221890.744862903])
def test_a_flow_that_grows_is_not_proved_because_its_exponential_is_short(rate: float) -> None:
    """exp(A) is longer than 1 by 1e-12 and scipy's shorter by 1e-9."""
    plant = swing(1e-12, rate)
    assert np.linalg.norm(expm(plant.A), 2) < 1 - 1e-10
    V = QuadraticLyapunov(np.eye(2), np.zeros(2))
    assert not certify(sampled(plant), IDLE, V, level=1.0, budget=SearchLimits(2000, 5)).is_proved
    decaying = certify(sampled(swing(-1e-3, rate)), IDLE, V, level=1.0, budget=SearchLimits(2000, 5))
    assert decaying.is_proved
    assert "its matrix exponential enclosed" in str(decaying)


@dataclass(frozen=True)
class Heater(Plant):
    """Affine, with coefficients that are no doubles, a disturbance and an offset."""

    capacity: float = 3.0
    loss: float = 0.7

    state = signals("inner", "outer")
    input = signals("power")
    disturbance = signals("weather")

    def ode(self, x, u, w):
        return (
            self.loss * (x.outer - x.inner) / self.capacity + u.power / self.capacity,
            ca.sqrt(2.0) * (x.inner - x.outer) + 0.1 * (w.weather - x.outer) + 0.3,
        )


@pytest.mark.parametrize("plant", [Heater(), swing(-0.1, 30.0), swing(2.0, 1.0)])
@pytest.mark.parametrize("dt", [0.1, 2.5])
def test_the_matrices_are_those_of_the_flow_and_of_the_simulation(plant: Plant, dt: float) -> None:
    flow = SampledFlow(Discretisation(plant, dt, "exact"))
    assert ((flow.entries.lo <= flow.numbers) & (flow.numbers <= flow.entries.hi)).all()
    assert (flow.entries.width <= 1e-12 * (1 + np.abs(flow.numbers))).all()
    n, m, q = len(plant.state), len(plant.input), len(plant.disturbance)
    rng = np.random.default_rng(0)
    for x, u, w in zip(rng.normal(size=(5, n)), rng.normal(size=(5, m)), rng.normal(size=(5, q)), strict=True):
        after = np.array(flow.equations(x, u, w, flow.numbers))[:, 0]
        known = np.array(Discretisation(plant, dt, "exact").function()(x, u, w, []))[:, 0]
        assert np.allclose(after, known, rtol=1e-14)
    if isinstance(plant, LinearPlant):
        flint.ctx.prec, A = 300, plant.A
        M = (flint.arb_mat([[flint.arb(a) for a in row] for row in A.tolist()]) * flint.arb(dt)).exp()
        for k, (i, j) in enumerate((i, j) for j in range(n) for i in range(n)):
            assert flint.arb(float(flow.entries.lo[k])) <= M[i, j] <= flint.arb(float(flow.entries.hi[k]))


def test_rest_is_that_of_the_flow() -> None:
    """No sample of a rounded exponential rests at this reference, but the flow does, exactly."""
    plant = LinearPlant(
        np.array([[-1.0, 1.0], [0.0, -2.0]]), np.array([[0.0], [2.0]]), dt=None, input_limits=((-3.0, 3.0),)
    )
    task = sampled(plant, 0.3, reference=SetPoint([1.5, 1.5], [1.5]))
    law = LQR(task).law
    loop = ClosedLoop(task, law)
    assert loop.drift(np.array([1.5, 1.5]))[0]
    assert not loop.drift(np.array([1.5, 1.25]))[0]
    found = largest_level(task, law, riccati(task), box=(np.full(2, -5.0), np.full(2, 8.0)))
    assert found.is_proved
    assert "equilibrium, exactly" in found.origin


def test_claims_of_library_tasks_stand() -> None:
    task = double_integrator()
    assert task.integrator == "exact"
    found = certify(task, LQR(task).law, level=1.9)
    assert found.is_proved
    assert ClosedLoop(task, LQR(task).law).is_sampled_exactly


def test_enclosures_hold_arbs_step() -> None:
    flint.ctx.prec = 200
    plant = swing(-0.2, 3.0)
    task = sampled(plant, 0.7)
    loop = ClosedLoop(task, IDLE)
    rng = np.random.default_rng(1)
    points = rng.normal(size=(20, 2))
    found = loop.enclose(Interval.of(points))
    dt = Fraction(0.7)
    M = flint.arb_mat(
        [[flint.arb(a) * flint.arb(flint.fmpq(dt.numerator, dt.denominator)) for a in row] for row in plant.A.tolist()]
    ).exp()
    for k, point in enumerate(points):
        for i in range(2):
            y = M[i, 0] * flint.arb(point[0]) + M[i, 1] * flint.arb(point[1])
            assert flint.arb(float(found.lo[k, i])) <= y <= flint.arb(float(found.hi[k, i]))


def test_uncertain_parameters_of_an_exact_sampling_are_refused_in_words() -> None:
    task = sampled(Heater(), 0.5)
    law = SaturatedLinear(np.zeros((1, 2)), np.zeros(2), np.zeros(1), -np.ones(1), np.ones(1))
    with pytest.raises(InvalidValue, match="exact discretisation has no symbolic parameters; use integrator='rk4'"):
        ClosedLoop(task, law, uncertain={"loss": (0.6, 0.8)})
    ClosedLoop(task, law, continuous=True, uncertain={"loss": (0.6, 0.8)})
