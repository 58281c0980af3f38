"""Definiteness in any units: scaling rows and columns changes no answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from systems import Ellipsoid, Gaussian, InvalidValue, LinearPlant, Quadratic
from systems.semidefinite import is_positive_definite, is_positive_semidefinite, is_symmetric

UNITS = st.lists(st.integers(-12, 12), min_size=3, max_size=3)


def matrix_of(least: float, seed: int) -> np.ndarray:
    """A matrix of correlations (3, 3) whose smallest eigenvalue is as given, up to its scaling to ones."""
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    M = Q @ np.diag([least, 1.0, 1.5]) @ Q.T
    M = 0.5 * (M + M.T)
    return M


@given(UNITS, st.integers(0, 50))
@example(powers=[0, 4, 0], seed=7)
def test_units_change_nothing(powers: list[int], seed: int) -> None:
    unit = 2.0 ** np.array(powers, dtype=float)
    for least, semidefinite, definite in ((0.3, True, True), (-0.01, False, False)):
        M = unit[:, None] * matrix_of(least, seed) * unit
        assert is_symmetric(M)
        assert is_positive_semidefinite(M) is semidefinite
        assert is_positive_definite(M) is definite
    skew = unit[:, None] * (matrix_of(0.3, seed) + 1e-6 * np.triu(np.ones((3, 3)), 1)) * unit
    assert not is_symmetric(skew)


@given(UNITS, st.integers(0, 50))
def test_products_are_semidefinite_whatever_their_rank(powers: list[int], seed: int) -> None:
    root = np.random.default_rng(seed).normal(size=(2, 3)) * 10.0 ** np.array(powers, dtype=float)
    M = root.T @ root
    assert is_positive_semidefinite(M)
    assert is_symmetric(M)


@pytest.mark.parametrize(
    ("matrix", "semidefinite"),
    [
        (np.zeros((3, 3)), True),
        (np.zeros((0, 0)), True),
        ([[1e6, 0.0], [0.0, -1e-9]], False),
        ([[1.0, 0.0], [0.0, -1e-16]], True),
        ([[1.0, 0.0], [0.0, -2e-15]], False),
        ([[1.0, 1e-9], [1e-9, -1e-15]], True),
        ([[1.0, 1e-9], [1e-9, -1e-13]], False),
        ([[1e6, 3.0], [3.0, 0.0]], False),
        ([[1e6, 0.047], [0.047, 1e-9]], False),
        ([[1e6, 0.031], [0.031, 1e-9]], True),
        ([[-1.0, 0.0], [0.0, 0.0]], False),
        ([[0.0, 1.0], [1.0, 0.0]], False),
    ],
)
def test_known_matrices(matrix, semidefinite: bool) -> None:
    assert is_positive_semidefinite(np.array(matrix)) is semidefinite
    assert (
        not is_positive_definite(np.array(matrix) * (1.0 if len(matrix) else np.nan))
        or len(matrix) == 0
        or (np.linalg.eigvalsh(np.array(matrix)).min() > 0)
    )


def test_noise_is_relative_to_the_largest_entry() -> None:
    M = np.array([[1.0, 0.0], [0.0, -1e-10]])
    assert not is_positive_semidefinite(M)
    assert is_positive_semidefinite(M, 1e-9)
    assert is_positive_semidefinite(1e-12 * M, 1e-9)
    assert not is_positive_semidefinite(1e-12 * M, 1e-11)
    slanted = np.array([[1.0, 1e-5], [1e-5, 1e-11]])
    assert not is_positive_semidefinite(slanted)
    assert is_positive_semidefinite(slanted, 1e-9)
    assert not is_positive_semidefinite(slanted, 1e-12)


SMALL = np.array([[1e6, 0.0, 0.0], [0.0, 1e-8, 2e-8], [0.0, 2e-8, 1e-8]])
"""A large signal beside two small ones whose correlation is 2: an eigenvalue of -1e-14 of the largest entry."""


def test_matrices_of_users_are_tested_in_any_units() -> None:
    with pytest.raises(InvalidValue, match="none of which may exceed 1"):
        Gaussian(covariance_matrix=SMALL)
    for weights in ((SMALL, [1.0]), ([1.0], SMALL), ([1.0], [1.0], SMALL)):
        with pytest.raises(InvalidValue, match="not positive semidefinite"):
            Quadratic(*weights)
    with pytest.raises(InvalidValue, match="positive definite"):
        Ellipsoid("set", ["a", "b", "c"], SMALL)
    fine = np.diag([1e12, 1e-12])
    assert Ellipsoid("set", ["a", "b"], fine).support({"b": 1.0}) == pytest.approx(1e6)
    Gaussian(covariance_matrix=np.diag([1e12, 1e-12]))


def test_regulators_need_inputs_that_cost_something_in_any_units() -> None:
    from ctrl.regulator import lqr

    plant = LinearPlant(np.array([[0.5]]), np.ones((1, 3)), dt=1.0)
    with pytest.raises(InvalidValue, match="R must be positive definite"):
        lqr(plant, np.eye(1), SMALL)
    assert np.isfinite(lqr(plant, np.eye(1), np.diag([1e6, 1e-8, 1e-8])).K).all()
