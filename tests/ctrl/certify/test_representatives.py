"""Periodic states and laws that vary: what is proved is what the controller does, not what one formula of it would."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import ClosedLoop, QuadraticLyapunov, certify, proved_region, riccati
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.subdivision import Subdivision
from ctrl.certify.files.file import StoredClaim
from ctrl.certify.files.verification import recheck
from ctrl.commands.proofs import best_certificate
from ctrl.controller import NotApplicable
from ctrl.laws import SaturatedLinear
from ctrl.regulator import LQR
from systems import Box, InvalidValue, LinearPlant, Nonlinear, Plant, Quadratic, SetPoint, Sinusoid, Task, Uniform
from systems.signals import angle, quaternion, signals


@dataclass(frozen=True)
class Turning(Plant):
    """A pendulum with a motor that is strong enough for any angle, so that a linear law holds it from anywhere."""

    state = signals(angle("q [rad]"), "rate [rad/s]")
    input = signals("torque [N m]")

    def ode(self, x, u, w):
        return (x.rate, ca.sin(x.q) - 0.5 * x.rate + u.torque)


def turning(bounds: dict[str, tuple[float, float]] | None = None, q: float = 0.0) -> Task:
    return Task(
        name="turning",
        plant=Turning(),
        dt=0.05,
        steps=100,
        cost=Quadratic(np.eye(2), np.eye(1)),
        initial=Uniform([q - 2.0, -0.5], [q + 2.0, 0.5]),
        reference=SetPoint([q, 0.0], [-np.sin(q)]),
        domain=None if bounds is None else Box("d", bounds),
    )


WIDE = {"q": (-10.0, 10.0), "rate": (-20.0, 20.0)}


@pytest.mark.parametrize("q", [0.0, 3.0])
@pytest.mark.parametrize("bounds", [WIDE, None])
@pytest.mark.every(2)
def test_a_set_ends_where_the_controller_takes_another_turn(bounds: dict | None, q: float) -> None:
    """Beyond half a turn LQR goes the other way round, and the sum of squares that the formula brings down jumps."""
    task = turning(bounds, q)
    regulator = LQR(task)
    beyond = np.array([q + 4.0, 0.0])
    assert not np.allclose(regulator.step(beyond, 0).input, regulator.law(beyond))
    found = certify(task, regulator.law)
    assert found.is_proved
    lower, upper = found.region.hull
    assert upper[0] > q + 3.0, "and not before"
    assert lower[0] >= q - np.pi
    assert upper[0] <= q + np.pi
    rng = np.random.default_rng(0)
    x = rng.uniform(lower, upper, (1000, 2))
    x = x[found.contains(x)]
    step = task.dynamics.lower("numpy")
    for k in range(300):
        u = regulator.batch(x, k)
        assert np.array_equal(u, regulator.law(x))
        x = step(x, u, np.zeros((len(x), 0)), np.zeros(0))
        assert found.contains(x[np.abs(x - found.reference).max(axis=1) > 1e-6]).all()
    assert np.allclose(x, found.reference, atol=1e-2)


def test_a_box_beyond_half_a_turn_is_refused(tmp_path) -> None:
    task = turning(WIDE)
    law, V = LQR(task).law, riccati(task)
    with pytest.raises(InvalidValue, match=r"leaves q in \[-3.14159\d*, 3.14159\d*\], outside of which a controller"):
        certify(task, law, V, level=1000.0, box=(np.array([-6.0, -9.0]), np.array([6.0, 9.0])))
    within = certify(task, law, V, level=5.0, box=(np.array([-6.0, -9.0]), np.array([6.0, 9.0])))
    assert within.is_proved, "a set that does not reach so far needs no smaller box"
    proof = within.proof
    assert isinstance(proof, Subdivision)
    beyond = dataclasses.replace(within.region, level=1000.0)
    again = recheck(StoredClaim(Claim(ClosedLoop(task, law), beyond), proof))
    assert not again.holds
    assert "the region leaves q in" in again.reason


def test_a_domain_within_half_a_turn_is_left_as_it_is() -> None:
    task = turning({"q": (-3.0, 3.1), "rate": (-9.0, 9.0)})
    assert np.array_equal(ClosedLoop(task, LQR(task).law).domain, task.domain_bounds)
    found = certify(task, LQR(task).law, level=2000.0)
    assert "within the domain of the task (q in [-3.0, 3.1]" in found.claim


@dataclass(frozen=True)
class Attitude(Plant):
    """A quaternion that is drawn to a place that its own sign decides."""

    state = signals(*quaternion("qw", "qx", "qy", "qz"))
    input = signals("u")

    def ode(self, x, u, w):
        return (-x.qx * u.u, x.qw * u.u, -x.qy, -x.qz)


@pytest.mark.parametrize(("at", "bound"), [([1.0, 0, 0, 0], (0, 0)), ([0, 0, -1.0, 0], (1, 2))])
def test_attitudes_are_those_closer_to_the_reference_than_to_its_negative(at: list[float], bound: tuple) -> None:
    attitudes = Task(
        name="attitude",
        plant=Attitude(),
        dt=0.1,
        steps=10,
        cost=Nonlinear(lambda x, u, xr, ur: ca.sumsqr(x.column - xr.column) + u.u**2),
        initial=Uniform(np.array(at) - 0.1, np.array(at) + 0.1),
        reference=SetPoint(at, [0.0]),
    )
    idle = SaturatedLinear(np.zeros((1, 4)), np.array(at), np.zeros(1), -np.ones(1), np.ones(1))
    side, component = bound
    ends = ClosedLoop(attitudes, idle).domain
    expected = [np.full(4, -np.inf), np.full(4, np.inf)]
    expected[side][component] = 0.0
    assert np.array_equal(ends, expected)
    tilted = dataclasses.replace(
        attitudes, reference=SetPoint([0.6, 0.8, 0, 0], [0.0]), initial=Uniform([0.5, 0.7, 0, 0], [0.6, 0.8, 0, 0])
    )
    with pytest.raises(NotApplicable, match="qw, qx, qy, qz has 2 nonzero components"):
        _ = ClosedLoop(tilted, idle).domain


# ---- laws that vary ----

UNSTABLE = LinearPlant(np.array([[1.2]]), np.eye(1), dt=1.0, input_limits=((-1.0, 1.0),))


def held(**changes) -> Task:
    fields = {"cost": Quadratic(np.eye(1), np.eye(1)), "initial": Uniform([-1.0], [1.0])} | changes
    return Task(name="held", plant=UNSTABLE, dt=1.0, steps=5, **fields)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cost": Quadratic(np.eye(1), np.eye(1), P=100.0 * np.eye(1))}, "the task has a terminal cost"),
        ({"reference": Sinusoid(0.3, x_sine=[0.1])}, "the reference moves"),
    ],
)
def test_gains_that_vary_are_no_law(changes: dict, why: str) -> None:
    """What would be proved is the law of the first sample, which is not what runs at the second."""
    task = held(**changes)
    regulator = LQR(task)
    with pytest.raises(NotApplicable, match=f"{why}, so the gains of LQR vary with time"):
        _ = regulator.law
    assert proved_region(task, regulator) is None
    constant = held()
    assert proved_region(constant, LQR(constant)) == 1.0


# ---- words ----


@dataclass(frozen=True)
class Beside(Plant):
    """x+ = x / 2 towards a point beside zero."""

    offset: float
    dt: float = 1.0

    state = signals("x")
    input = signals("u")

    def step(self, x, u, w):
        return (0.5 * x.x + 0.5 * self.offset + 0 * u.u,)


def beside(offset: float, size: float) -> Task:
    return Task(
        name="beside",
        plant=Beside(offset),
        dt=1.0,
        steps=5,
        cost=Quadratic(np.eye(1), np.eye(1)),
        initial=Uniform([-size], [size]),
        domain=Box("d", {"x": (-1.0, 1.0)}),
    )


IDLE = SaturatedLinear(np.zeros((1, 1)), np.zeros(1), np.zeros(1), -np.ones(1), np.ones(1))


def test_a_point_is_the_reference_by_the_size_of_the_set() -> None:
    """9e-10 is nothing beside 0.1, and far beyond a set of 1e-10."""
    task, V = beside(9e-10, 1e-10), QuadraticLyapunov(np.eye(1), np.zeros(1))
    large = certify(task, IDLE, V, level=0.01)
    assert large.is_proved
    assert "converges to the reference [0] under" in large.claim
    small = certify(task, IDLE, V, level=1e-20)
    assert small.is_proved
    assert "the loop's own equilibrium [9e-10], within [9.009e-10] of the reference [0], under" in small.claim
    assert not small.is_at_reference
    assert not small.contains(np.zeros(1))


@pytest.mark.parametrize("offset", [0.0, 3e-10, 3e-9, 9e-9, 1e-6])
def test_a_loop_that_rests_close_to_the_reference_is_proved(offset: float) -> None:
    """Whatever counts as the reference up to rounding, and beyond."""
    found, said = best_certificate(beside(offset, 0.5), IDLE, 5.0, None, False)
    assert found.is_proved, found
    assert ("own equilibrium" in found.claim) == ("beside:" in said) == (offset > 1e-8)


def test_a_reference_a_turn_away_is_the_same_reference() -> None:
    """Its proof is that of the reference within half a turn of zero, as every controller takes it."""
    bounds = {"q": (-3.0, 3.0), "rate": (-9.0, 9.0)}
    levels = []
    for q in (0.0, 2.0 * np.pi, -4.0 * np.pi):
        task = dataclasses.replace(turning(bounds), reference=SetPoint({"q": q}))
        found = certify(task, LQR(task).law, riccati(task), 1.0)
        assert found.is_proved
        levels.append(found.region.V.centre.mid)
    np.testing.assert_allclose(levels, levels[0] * np.ones((3, 1)), atol=1e-12)
