"""Sums of squares: published levels, regions that branch and bound confirms, and candidates that only look optimal."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import ClosedLoop, Kind, QuadraticLyapunov, SymbolicLyapunov, certify, largest_level, sos_region
from ctrl.certify.files.audit import audit
from ctrl.certify.files.file import read, save
from ctrl.certify.files.verification import recheck
from ctrl.certify.semidefinite.squares import lyapunov_equation, sos_candidate, sos_level
from ctrl.controller import NotApplicable
from ctrl.laws import Expression, SaturatedLinear
from ctrl.regulator import LQR
from systems import Box, InvalidValue, Plant, Quadratic, Task, Uniform, signals
from systems.library.pendulum import pendulum
from systems.library.van_der_pol import ReversedVanDerPol, van_der_pol, van_der_pol_reversed
from tests.ctrl.certify.test_fit import limit_cycle

TASK = van_der_pol_reversed()
LAW = LQR(TASK).law
LOOP = ClosedLoop(TASK, LAW, continuous=True)
TRUE_AREA = 13.7222  # inside the limit cycle for mu = 1, by integration


@dataclass(frozen=True)
class Asymmetric(Plant):
    """Quadratic terms, so that V has odd terms, too."""

    state = signals("x", "y")
    input = signals()

    def ode(self, x: Any, u: Any, w: Any) -> Any:
        return -x.x + x.y**2 + x.x * x.y, -x.y + x.x**2


def unforced(plant: Plant, half: float) -> Task:
    names = plant.state.names
    return Task(
        name="unforced",
        plant=plant,
        dt=0.05,
        steps=100,
        cost=Quadratic(Q=dict.fromkeys(names, 1.0), R={}),
        initial=Uniform(dict.fromkeys(names, -1.0), dict.fromkeys(names, 1.0)),
        domain=Box("model", dict.fromkeys(names, (-half, half))),
    )


@pytest.fixture(scope="module")
def quartic() -> SymbolicLyapunov:
    return sos_candidate(LOOP, degree=4)


def test_the_published_level_of_the_ellipse() -> None:
    """A'P + PA = -I: the level 2.3045 of sums of squares, just above what exact decision procedures prove."""
    V = lyapunov_equation(LOOP)
    assert np.allclose(V.P, [[1.5, -0.5], [-0.5, 1.0]])
    rho = sos_level(LOOP, V)
    assert rho == pytest.approx(2.3045, abs=2e-4)
    assert certify(TASK, LAW, V, 0.999 * rho, continuous=True).is_proved
    assert certify(TASK, LAW, V, 1.001 * rho, continuous=True).kind is Kind.REFUSED


def test_the_level_does_not_depend_on_how_v_is_scaled() -> None:
    V = lyapunov_equation(LOOP)
    rho = sos_level(LOOP, V)
    for factor in (1e-2, 30.0):
        scaled = sos_level(LOOP, QuadraticLyapunov(factor * V.P, V.centre))
        assert scaled == pytest.approx(factor * rho, rel=1e-3)


@pytest.mark.slow
def test_a_quartic_proves_more_than_four_fifths_of_the_true_region(quartic: SymbolicLyapunov) -> None:
    certificate = largest_level(TASK, LAW, quartic, continuous=True)
    assert certificate.is_proved
    assert 0.84 * TRUE_AREA < certificate.volume < TRUE_AREA
    assert not certificate.contains(1.001 * limit_cycle()).any()  # beyond the cycle nothing arrives


@pytest.mark.slow
def test_a_sextic_proves_nearly_all_of_it() -> None:
    certificate = sos_region(TASK, LAW, degree=6)
    assert certificate.is_proved
    assert certificate.volume > 0.97 * TRUE_AREA
    assert not certificate.contains(1.0001 * limit_cycle()).any()


@pytest.mark.slow
def test_the_stiff_oscillator() -> None:
    """Of the region inside the cycle for mu = 3, 20.4906 by integration, 70.93 % were published for degree 6."""
    box = Box("model", {"x1": (-2.5, 2.5), "x2": (-9.0, 9.0)})
    task = dataclasses.replace(TASK, plant=ReversedVanDerPol(mu=3.0), domain=box)
    certificate = sos_region(task, LQR(task).law, degree=6)
    assert certificate.volume > 0.9 * 20.4906


@pytest.mark.slow
def test_a_solver_is_not_believed(quartic: SymbolicLyapunov) -> None:
    """The candidate is tight at level 1: what is larger, or of other coefficients, is wrong, and refused."""
    limit = largest_level(TASK, LAW, quartic, continuous=True).level
    assert limit > 0.99
    for level in (1.005, 1.05, 1.5):
        assert certify(TASK, LAW, quartic, level, continuous=True).kind is Kind.REFUSED
    (x,) = quartic.function.sx_in()
    x1, x2 = x[0], x[1]
    grid = np.stack(np.meshgrid(np.linspace(-2.5, 2.5, 251), np.linspace(-3.5, 3.5, 351)), axis=-1).reshape(-1, 2)
    for wrong in (0.2 * x1 * x2, -0.1 * x1**2, 0.05 * x1**4, 0.3 * x1**3, -0.05 * x2**4, 0.1 * x1**3 * x2):
        W = SymbolicLyapunov(ca.Function("W", [x], [quartic.function(x) + wrong]), np.zeros(2))
        truly = (W(grid) < limit) & ((W.gradient(grid) * LOOP(grid)).sum(axis=-1) > 1e-6)
        assert truly.any()
        assert not certify(TASK, LAW, W, limit, continuous=True).is_proved


@pytest.mark.parametrize("accuracy", [0.03])
def test_a_careless_solver_is_caught(accuracy: float) -> None:
    """At a loose tolerance the candidate claims {V <= 1}, wrongly; a level is proved that is lower."""
    careless = sos_candidate(LOOP, degree=4, accuracy=accuracy)
    assert certify(TASK, LAW, careless, 1.0, continuous=True).kind is Kind.REFUSED
    certificate = sos_region(TASK, LAW, degree=4, accuracy=accuracy)
    assert certificate.is_proved
    assert certificate.level < 0.99


@pytest.mark.slow
def test_terms_of_odd_degree() -> None:
    task = unforced(Asymmetric(), 3.0)
    law = LQR(task).law
    ellipse = largest_level(task, law, lyapunov_equation(ClosedLoop(task, law, continuous=True)), continuous=True)
    certificate = sos_region(task, law, degree=4)
    assert certificate.is_proved
    assert certificate.volume > 4.0 * ellipse.volume
    # Another equilibrium lies where x = y^2 / (1 - y) and y = x^2; a region of attraction does not hold it.
    y = np.linspace(0.01, 0.99, 100_000)
    y = y[np.argmin(np.abs(np.sqrt(y) - y**2 / (1.0 - y)))]
    assert not certificate.contains(np.array([np.sqrt(y), y]))


@pytest.mark.slow
def test_a_candidate_stays_where_the_law_is_linear() -> None:
    """Beyond the bounds of the force the polynomials do not describe the loop."""
    task = van_der_pol()
    law = LQR(task).law
    V = sos_candidate(ClosedLoop(task, law, continuous=True), degree=2)
    border = np.linspace(-1.5, 1.5, 301)
    grid = np.stack(np.meshgrid(border, border), axis=-1)
    inside = grid[V(grid) <= 1.0]
    assert len(inside) > 1000
    assert np.abs(inside @ law.K.T).max() <= 1.0 + 1e-3


def test_a_law_in_polynomials() -> None:
    task = van_der_pol()
    x = ca.SX.sym("x", 2)
    cubic = Expression(ca.Function("u", [x], [-3.0 * x[1] + x[0] ** 2 * x[1]]))
    V = lyapunov_equation(ClosedLoop(task, cubic, continuous=True))
    A = np.array([[0.0, 1.0], [-1.0, -2.0]])
    assert np.allclose(A.T @ V.P + V.P @ A, -np.eye(2))
    smooth = Expression(ca.Function("u", [x], [-ca.tanh(x[1])]))
    with pytest.raises(NotApplicable, match="law u is not polynomial: it contains the tanh"):
        sos_candidate(ClosedLoop(task, smooth, continuous=True))


def test_what_is_not_polynomial_is_refused() -> None:
    task = pendulum()
    with pytest.raises(NotApplicable, match=r"plant Pendulum is not polynomial: it contains the sin.*riccati"):
        sos_region(task, LQR(task).law)
    with pytest.raises(NotApplicable, match="continuous=True"):
        sos_candidate(ClosedLoop(TASK, LAW))
    x = ca.SX.sym("x", 2)
    V = SymbolicLyapunov(ca.Function("V", [x], [ca.sumsqr(ca.tanh(x))]), np.zeros(2))
    with pytest.raises(NotApplicable, match="V is not polynomial"):
        sos_level(LOOP, V)


def test_what_is_no_start_is_refused() -> None:
    idle = SaturatedLinear(np.zeros((1, 2)), [0, 0], [0], [-1], [1])
    with pytest.raises(NotApplicable, match="not stable"):
        sos_candidate(ClosedLoop(van_der_pol(), idle, continuous=True))
    pushed = SaturatedLinear(np.zeros((1, 2)), [0, 0], [0.5], [-1], [1])
    with pytest.raises(NotApplicable, match="not an equilibrium"):
        sos_candidate(ClosedLoop(van_der_pol(), pushed, continuous=True))
    for degree, rounds in ((3, 5), (0, 5), (4, 0)):
        with pytest.raises(InvalidValue, match="even degree"):
            sos_candidate(LOOP, degree, rounds)


@pytest.mark.slow
def test_a_sextic_survives_its_file_and_a_second_arithmetic(tmp_path: Path) -> None:
    certificate = sos_region(TASK, LAW, degree=6, rounds=3)
    stored = read(save(certificate, TASK, LAW, "van-der-pol-reversed", tmp_path / "sextic"), TASK)
    again = recheck(stored)
    assert again.holds, again.reason
    assert audit(stored, again.low, again.high, points=60).failure is None
