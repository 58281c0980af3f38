"""Sums of squares: candidates that branch and bound confirms, and ones that only look optimal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov

from ctrl.certify import ClosedLoop, QuadraticLyapunov, SymbolicLyapunov, certify, largest_level
from ctrl.certify.sos import PolynomialFlow, enlarged
from ctrl.controller import NotApplicable
from ctrl.regulator import LQR
from systems import InvalidValue
from systems.library.pendulum import pendulum
from systems.library.van_der_pol import van_der_pol_reversed

TASK = van_der_pol_reversed()
LAW = LQR(TASK).law
BOX = (np.array([-2.5, -3.5]), np.array([2.5, 3.5]))
P = solve_continuous_lyapunov(np.array([[0.0, 1.0], [-1.0, -1.0]]), -np.eye(2))
FLOW = PolynomialFlow.of(ClosedLoop(TASK, LAW, continuous=True), np.array([2.0, 2.7]))


@pytest.fixture(scope="module")
def candidate() -> SymbolicLyapunov:
    return enlarged(FLOW, QuadraticLyapunov((P + P.T) / 4.4, np.zeros(2)), degree=4, iterations=3)


def test_the_flow_is_found_by_interpolation() -> None:
    assert FLOW.f[0] == pytest.approx({(0, 1): -1.35})
    assert {e for e, c in FLOW.f[1].items() if abs(c) > 1e-9} == {(1, 0), (0, 1), (2, 1)}
    assert FLOW.f[1][2, 1] == pytest.approx(4.0)


def test_the_set_grows_and_is_confirmed(candidate: SymbolicLyapunov) -> None:
    certificate = largest_level(TASK, LAW, candidate, resolution=0.01, continuous=True, box=BOX)
    assert certificate.is_proved
    assert certificate.level > 0.98  # what the solver says holds at 1, to its tolerance
    assert certificate.volume > 1.2 * 6.475


def test_a_solver_is_not_believed(candidate: SymbolicLyapunov) -> None:
    """Of the same function: slightly too large a set; of a slightly other one: coefficients as a careless solver's."""
    for level in (1.1, 1.3, 3.0):
        assert not certify(TASK, LAW, candidate, level, continuous=True, box=BOX).is_proved
    x = np.random.default_rng(0).uniform(-0.3, 0.3, (2000, 2))
    (symbol,) = candidate.function.sx_in()
    import casadi as ca

    refused = 0
    for k, factor in enumerate((-1.0, 0.5, 3.0)):
        term = factor * symbol[0] ** 3 if k < 2 else factor * symbol[0] * symbol[1]
        W = SymbolicLyapunov(ca.Function("W", [symbol], [candidate.function(symbol) + term]), np.zeros(2))
        truly = (W.gradient(x) * ClosedLoop(TASK, LAW, continuous=True)(x)).sum(-1) > 1e-9
        certificate = certify(TASK, LAW, W, 1.0, continuous=True, box=BOX)
        if (truly & (W(x) <= 1.0)).any():
            assert not certificate.is_proved
            refused += 1
    assert refused >= 1


def test_what_is_no_polynomial_flow_is_refused() -> None:
    with pytest.raises(NotApplicable, match="polynomial"):
        PolynomialFlow.of(ClosedLoop(pendulum(), LQR(pendulum()).law, continuous=True), np.array([1.0, 4.0]))
    with pytest.raises(NotApplicable, match="continuous"):
        PolynomialFlow.of(ClosedLoop(TASK, LAW), np.ones(2))
    with pytest.raises(InvalidValue, match="lower level"):
        enlarged(FLOW, QuadraticLyapunov((P + P.T) / 2 / 20.0, np.zeros(2)), degree=4, iterations=1)
