"""Polynomials fitted to a basin: what they prove of the reversed oscillator, whose limit cycle is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ctrl.certify import ClosedLoop, SearchLimits, largest_level
from ctrl.certify.candidates.fit import Basin, fitted, sampled_basin
from ctrl.certify.candidates.polynomials import Monomials
from ctrl.laws import SaturatedLinear
from ctrl.regulator import LQR
from systems import InvalidValue
from systems.library.van_der_pol import VanDerPol, van_der_pol, van_der_pol_reversed

TASK = van_der_pol_reversed()
LAW = LQR(TASK).law
LOOP = ClosedLoop(TASK, LAW, continuous=True)
BOX = (np.array([-2.5, -3.5]), np.array([2.5, 3.5]))


def limit_cycle() -> np.ndarray:
    """One turn of the oscillator's own cycle (k, 2), by an integrator of scipy's in forward time."""
    f = VanDerPol(mu=1.0).casadi()

    def flow(t: float, x: np.ndarray) -> np.ndarray:
        return np.array(f(x, 0, 0, 0))[:, 0]

    settled = solve_ivp(flow, (0, 40), [1.0, 0.0], rtol=1e-8, atol=1e-10).y[:, -1]
    run = solve_ivp(flow, (0, 7.5), settled, rtol=1e-8, atol=1e-10, max_step=0.02).y.T
    angle = np.unwrap(np.arctan2(run[:, 1], run[:, 0]))
    return run[np.abs(angle - angle[0]) < 2 * np.pi]


def test_polynomials_and_their_slopes() -> None:
    rng = np.random.default_rng(0)
    monomials = Monomials.up_to(5, np.array([0.3, -0.1]), np.array([2.0, 0.5]))
    assert len(monomials) == 18
    c, x, v = rng.standard_normal(18), rng.standard_normal((20, 2)), rng.standard_normal((20, 2))
    f = monomials.function(c)
    assert np.allclose([float(f(p)) for p in x], monomials.values(x) @ c)
    ahead, behind = monomials.values(x + 1e-6 * v), monomials.values(x - 1e-6 * v)
    assert np.allclose(monomials.slopes(x, v), (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_basin_ends_at_the_limit_cycle() -> None:
    basin = sampled_basin(LOOP, *BOX, rays=60, steps=1500)
    cycle = limit_cycle()
    angle = np.arctan2(cycle[:, 1], cycle[:, 0])
    order = np.argsort(angle)
    ends = basin.points(1.0)
    radius = np.interp(
        np.arctan2(ends[:, 1], ends[:, 0]), angle[order], np.linalg.norm(cycle, axis=1)[order], period=2 * np.pi
    )
    assert np.abs(np.linalg.norm(ends, axis=1) / radius - 1.0).max() < 0.01


@pytest.mark.slow
def test_a_fitted_polynomial_beats_the_ellipse() -> None:
    basin = sampled_basin(LOOP, *BOX, rays=60, steps=1500)
    V = fitted(LOOP, 4, basin, share=0.9, rounds=5)
    certificate = largest_level(TASK, LAW, V, resolution=0.02, continuous=True, box=BOX)
    assert certificate.is_proved
    assert certificate.volume > 1.2 * 6.475  # the best ellipse with A'P + PA = -I
    cycle = limit_cycle()
    assert not certificate.contains(1.001 * cycle).any()  # beyond the cycle nothing arrives


@pytest.mark.slow
def test_nine_tenths_of_the_true_region_are_proved() -> None:
    basin = sampled_basin(LOOP, *BOX)
    V = fitted(LOOP, 6, basin, share=0.97, rounds=8)
    certificate = largest_level(TASK, LAW, V, continuous=True, box=BOX, budget=SearchLimits(seconds=60))
    assert certificate.volume > 0.9 * 13.7222  # the area inside the limit cycle
    assert not certificate.contains(1.0001 * limit_cycle()).any()


def test_what_cannot_be_fitted_is_refused() -> None:
    idle = SaturatedLinear(np.zeros((1, 2)), [0, 0], [0], [-1], [1])
    unstable = ClosedLoop(van_der_pol(), idle, continuous=True)
    directions = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.7, 0.7], [-0.7, 0.7]])
    with pytest.raises(InvalidValue, match="degree 2"):
        fitted(unstable, 2, Basin(np.zeros(2), directions, np.full(6, 0.9)))
