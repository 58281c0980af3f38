"""Interval linear algebra against rational arithmetic and exact matrices."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_matrices import congruence, least_eigenvalue, matvec, product, quadratic_form, total


def exact_product(a: np.ndarray, b: np.ndarray) -> list[list[Fraction]]:
    return [[sum(Fraction(x) * Fraction(y) for x, y in zip(row, column, strict=True)) for column in b.T] for row in a]


def test_products_enclose_the_exact_ones_and_little_more() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = rng.standard_normal((3, 4)), rng.standard_normal((4, 2)) * 10.0 ** rng.integers(-8, 8)
        found, exact = product(a, b), exact_product(a, b)
        for i in range(3):
            for j in range(2):
                assert Fraction(found.lo[i, j]) <= exact[i][j] <= Fraction(found.hi[i, j])
        assert (found.hi - found.lo <= 1e-14 * (np.abs(a) @ np.abs(b))).all()
        column = matvec(a, b[:, 0])
        assert all(Fraction(column.lo[i]) <= exact[i][0] <= Fraction(column.hi[i]) for i in range(3))


def test_an_empty_sum_is_zero() -> None:
    nothing = total(Interval(np.zeros((3, 0)), np.zeros((3, 0))))
    assert (nothing.lo == 0).all()
    assert nothing.shape == (3,)


def test_a_quadratic_form_encloses_and_squares_its_squares() -> None:
    rng = np.random.default_rng(1)
    P = np.array([[2.0, -0.7], [-0.7, 1.0]])
    box = Interval(np.array([-1.0, 0.5]), np.array([2.0, 0.7]))
    points = rng.uniform(box.lo, box.hi, (10_000, 2))
    values = np.einsum("ki,ij,kj->k", points, P, points)
    found = quadratic_form(P, box)
    assert found.lo <= values.min()
    assert values.max() <= found.hi
    alone = quadratic_form(np.diag([1.0, 1.0]), Interval(np.array([-1.0, 0.0]), np.array([1.0, 0.0])))
    assert alone.lo >= -1e-300


def test_positive_definite_matrices_are_recognised() -> None:
    rng = np.random.default_rng(2)
    for n in (1, 2, 5):
        A = rng.standard_normal((20, n, n))
        P = A @ A.swapaxes(-1, -2) + 0.1 * np.eye(n)
        P = 0.5 * (P + P.swapaxes(-1, -2))
        assert (least_eigenvalue(Interval.of(P))[1] > 0.99).all()


@pytest.mark.parametrize(
    "P",
    [
        [[1.0, 1.0], [1.0, 1.0]],  # exactly singular
        [[1.0, 1.0], [1.0, 1.0 - 2.0**-53]],  # indefinite by one unit in the last place
        [[1.0, 0.0], [0.0, -1e-300]],
        [[0.0]],
        [[-1.0, 0.0], [0.0, -1.0]],
    ],
)
def test_no_matrix_that_is_not_positive_definite_passes(P: list[list[float]]) -> None:
    assert not least_eigenvalue(Interval.of(np.array(P)))[1] > 0


def test_an_interval_matrix_passes_only_with_all_its_members() -> None:
    centre, radius = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[0.1, 0.2], [0.2, 0.1]])
    assert least_eigenvalue(Interval(centre - radius, centre + radius))[1] > 0
    wide = Interval(centre - 3 * radius, centre + 3 * radius)  # holds [[1.4, 1.1], [1.1, 0.7]], which is indefinite
    assert not least_eigenvalue(wide)[1] > 0


def test_infinite_entries_prove_nothing() -> None:
    M = Interval(np.array([[-np.inf, 0.0], [0.0, 1.0]]), np.array([[np.inf, 0.0], [0.0, 1.0]]))
    T, G = congruence(M)
    assert (T == 0).all()
    assert not least_eigenvalue(M)[1] > 0
    assert not np.isnan(G.lo).any()
