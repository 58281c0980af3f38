"""Certificates in continuous time, and of Lyapunov functions that are written as expressions."""

from __future__ import annotations

import dataclasses

import casadi as ca
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import solve_continuous_lyapunov

from ctrl.certify import (
    ClosedLoop,
    Kind,
    QuadraticLyapunov,
    SearchLimits,
    SymbolicLyapunov,
    certify,
    largest_level,
    sampled_limit,
)
from ctrl.laws import Expression
from ctrl.regulator import LQR
from systems import Box, InvalidValue
from systems.library.pendulum import pendulum
from systems.library.van_der_pol import van_der_pol_reversed

TASK = van_der_pol_reversed()
IDLE = LQR(TASK).law  # no input
P = solve_continuous_lyapunov(np.array([[0.0, 1.0], [-1.0, -1.0]]), -np.eye(2))
QUADRATIC = QuadraticLyapunov((P + P.T) / 2, np.zeros(2))


def written(P: np.ndarray) -> SymbolicLyapunov:
    x = ca.SX.sym("x", 2)
    return SymbolicLyapunov(ca.Function("V", [x], [x.T @ ca.DM(P) @ x]), np.zeros(2))


def test_the_largest_ellipse_of_the_reversed_oscillator() -> None:
    """x'Px with A'P + PA = -I is known to decrease up to 2.3045, by sums of squares and by decision procedures."""
    certificate = largest_level(TASK, IDLE, QUADRATIC, continuous=True)
    assert certificate.is_proved
    assert 2.295 < certificate.level < 2.3045
    assert certificate.volume == pytest.approx(np.pi * certificate.level / np.sqrt(np.linalg.det(QUADRATIC.P)))
    assert certify(TASK, IDLE, QUADRATIC, 2.31, continuous=True).kind is Kind.REFUSED
    assert "continuous time" in str(certificate)


def test_an_expression_proves_what_the_matrix_proves() -> None:
    matrix = certify(TASK, IDLE, QUADRATIC, 2.29, continuous=True)
    expression = certify(TASK, IDLE, written(QUADRATIC.P), 2.29, continuous=True)
    assert matrix.is_proved
    assert expression.is_proved
    assert 0.99 * matrix.volume < expression.volume <= matrix.volume * (1 + 1e-9)
    assert certify(TASK, IDLE, written(QUADRATIC.P), 2.31, continuous=True).kind is Kind.REFUSED


def test_motions_from_a_certified_set_arrive() -> None:
    certificate = certify(TASK, IDLE, written(QUADRATIC.P), 1.5, continuous=True, kappa=0.05)
    assert certificate.is_proved
    loop = ClosedLoop(TASK, IDLE, continuous=True)
    rng = np.random.default_rng(0)
    for x in rng.uniform(-2, 2, (40, 2)):
        if not certificate.contains(x):
            continue
        run = solve_ivp(lambda t, z: loop(z), (0, 20), x, rtol=1e-9, atol=1e-12, dense_output=True)
        value = certificate.V(run.y.T)
        assert (np.diff(value) < 1e-9).all()
        assert value[-1] <= value[0] * np.exp(-0.05 * 20)


def test_a_rate_that_is_too_fast_is_refused() -> None:
    assert certify(TASK, IDLE, QUADRATIC, 0.5, continuous=True, kappa=0.3).is_proved
    assert certify(TASK, IDLE, QUADRATIC, 0.5, continuous=True, kappa=2.0).kind is Kind.REFUSED


def test_a_set_that_leaves_its_box_is_not_proved() -> None:
    """The ellipse at 2.29 reaches |x1| = 1.35; cut at 1.2, motions cross the cut outward."""
    cut = (np.array([-1.2, -3.5]), np.array([1.2, 3.5]))
    certificate = certify(TASK, IDLE, QUADRATIC, 2.29, continuous=True, box=cut)
    assert not certificate.is_proved
    assert "leave the region" in certificate.reason
    limit = sampled_limit(ClosedLoop(TASK, IDLE, continuous=True), QUADRATIC, box=cut).level
    assert limit < 2.2
    assert certify(TASK, IDLE, QUADRATIC, 0.99 * limit, continuous=True, box=cut).is_proved


def test_a_set_against_a_box_that_motions_cross_is_not_proved() -> None:
    """With a positive rate the angle grows through its bound, whatever the law does."""
    task = dataclasses.replace(pendulum(), domain=Box("model", {"angle": (-0.5, 0.5), "rate": (-0.4, 0.4)}))
    law = LQR(task).law
    V = QuadraticLyapunov(np.diag([1.0, 1.0]), np.zeros(2))
    wild = certify(task, law, V, 0.3, continuous=True)
    assert not wild.is_proved


def test_both_writings_agree_in_discrete_time() -> None:
    task = pendulum()
    law, P = LQR(task).law, LQR(task).P
    for level, kind in ((22.0, Kind.PROVED), (24.0, Kind.REFUSED)):
        assert certify(task, law, QuadraticLyapunov(P, np.zeros(2)), level).kind is kind
        assert certify(task, law, written(P), level).kind is kind


def test_a_candidate_that_is_not_positive_is_not_proved() -> None:
    x = ca.SX.sym("x", 2)
    for W in (x[0] ** 2 - 0.5 * x[1] ** 2, -(x[0] ** 2) - x[1] ** 2, 0 * x[0]):
        V = SymbolicLyapunov(ca.Function("V", [x], [W]), np.zeros(2))
        assert not certify(TASK, IDLE, V, 0.5, continuous=True).is_proved
        assert not certify(TASK, IDLE, V, continuous=True).is_proved
        assert not largest_level(TASK, IDLE, V, continuous=True, budget=SearchLimits(20_000, 2.0)).is_proved
        assert not certify(pendulum(), LQR(pendulum()).law, V, 0.5).is_proved


def test_what_cannot_be_searched_is_refused() -> None:
    unbounded = dataclasses.replace(TASK, domain=None)
    with pytest.raises(InvalidValue, match="bounded"):
        certify(unbounded, IDLE, written(QUADRATIC.P), 1.0, continuous=True)
    with pytest.raises(InvalidValue, match="box"):
        certify(TASK, IDLE, QUADRATIC, 1.0, continuous=True, box=(np.ones(2), -np.ones(2)))
    with pytest.raises(InvalidValue, match="kappa"):
        certify(TASK, IDLE, QUADRATIC, 1.0, continuous=True, kappa=-0.1)


def test_a_network_as_a_law_and_one_as_a_function() -> None:
    task, rng = pendulum(), np.random.default_rng(3)
    lqr = LQR(task)
    x = ca.SX.sym("x", 2)
    W1 = 0.2 * rng.standard_normal((6, 2))
    smooth = 0.75 * ca.tanh(-ca.DM(lqr.K) @ x / 0.75)
    law = Expression(ca.Function("u", [x], [smooth]))
    net = ca.sumsqr(ca.tanh(ca.DM(W1) @ x)) + x.T @ ca.DM(lqr.P) @ x
    certificate = largest_level(task, law, SymbolicLyapunov(ca.Function("V", [x], [net]), np.zeros(2)), resolution=0.05)
    assert certificate.is_proved
    assert certificate.volume > 5.0
