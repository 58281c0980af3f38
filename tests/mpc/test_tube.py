"""The tube gain: against a closed form, the Lyapunov equation, and its neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from ctrl.regulator import NotStabilisable, lqr
from mpc import tube_gain
from systems import DimensionMismatch, LinearPlant

A, B = np.array([[1.0, 0.15], [1.13, 0.925]]), np.array([[0.0], [0.15]])
S = np.diag([0.02, 0.05])


def spread(K: np.ndarray) -> float:
    return float(np.trace(solve_discrete_lyapunov(A - B @ K, S)))


def test_it_is_the_narrowest_tube() -> None:
    K = tube_gain(A, B, S)
    regulator = lqr(LinearPlant(A, B, dt=0.1), np.eye(2), np.eye(1)).K
    assert spread(K) < spread(regulator)
    # The trace counts every state alike, so the regulator for Q = I and a vanishing price of inputs is just as narrow.
    cheap = lqr(LinearPlant(A, B, dt=0.1), np.eye(2), 1e-9 * np.eye(1)).K
    assert spread(K) == pytest.approx(spread(cheap), rel=1e-4)
    for change in np.random.default_rng(0).normal(size=(20, 1, 2)):
        assert spread(K + 0.05 * change) >= spread(K) * (1 - 1e-6)


def test_enough_inputs_leave_only_the_last_noise() -> None:
    K = tube_gain(A, np.array([[1.0, 0.2], [0.0, 1.0]]), S)
    np.testing.assert_allclose(A - np.array([[1.0, 0.2], [0.0, 1.0]]) @ K, 0.0, atol=1e-3)


def test_noise_in_few_directions_or_of_any_size() -> None:
    for covariance in (np.diag([0.0, 1e-8]), np.diag([1e6, 0.0]), np.zeros((2, 2))):
        assert np.abs(np.linalg.eigvals(A - B @ tube_gain(A, B, covariance))).max() < 1


def test_what_cannot_be_stabilised_is_refused() -> None:
    with pytest.raises(NotStabilisable):
        tube_gain(np.diag([1.5, 0.5]), np.array([[0.0], [1.0]]), S)
    with pytest.raises(DimensionMismatch):
        tube_gain(A, B, np.eye(3))
