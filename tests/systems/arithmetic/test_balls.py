"""Midpoint-radius matrices hold every product of their members, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval


def exactly(matrix: np.ndarray) -> list[list[Fraction]]:
    return [[Fraction(a) for a in row] for row in matrix.tolist()]


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e150])
def test_products_hold_in_rational_arithmetic(scale: float) -> None:
    rng = np.random.default_rng(0)
    for trial in range(60):
        r, k, c = rng.integers(1, 7, 3)
        radius = 10.0 ** rng.uniform(-20, 0) if trial % 3 else 0.0
        A = Ball(rng.standard_normal((r, k)) * scale, np.full((r, k), radius * scale))
        B = Ball(rng.standard_normal((k, c)), np.full((k, c), radius))
        found = A @ B
        added = A + A
        for _ in range(3):
            a = A.mid + np.clip(rng.choice([-1.0, 1.0, 0.3], A.mid.shape), -1, 1) * A.rad * (1 - 1e-9)
            b = B.mid + rng.choice([-1.0, 1.0], B.mid.shape) * B.rad * (1 - 1e-9)
            if radius < 1e-15:  # then the sums above are rounded to the middle
                a, b = A.mid, B.mid
            x, y = exactly(a), exactly(b)
            for i in range(r):
                for j in range(c):
                    value = sum((x[i][q] * y[q][j] for q in range(k)), Fraction(0))
                    assert Fraction(found.lo[i, j]) <= value <= Fraction(found.hi[i, j])
                assert Fraction(added.lo[i, 0]) <= x[i][0] + x[i][0] <= Fraction(added.hi[i, 0])
        if radius == 0:
            assert (found.rad <= 1e-13 * (np.abs(A.mid) @ np.abs(B.mid)) + 1e-280).all()


def test_vectors_and_inner_products() -> None:
    rng = np.random.default_rng(1)
    A, x = rng.standard_normal((50, 4, 3)), rng.standard_normal((50, 3))
    product = Ball.of(A) @ Ball.of(x)
    assert product.shape == (50, 4)
    assert np.allclose(product.mid, np.einsum("bij,bj->bi", A, x))
    ball = Ball(x, np.full_like(x, 0.1))
    square = ball.dot(ball)
    corners = x + 0.1 * np.sign(x)
    assert (square.hi >= (corners**2).sum(-1)).all()
    assert (square.hi <= (corners**2).sum(-1) * (1 + 1e-9) + 0.5 * np.abs(x).sum(-1)).all()


def test_what_is_unknown_bounds_nothing() -> None:
    whole = Ball.of(Interval(np.full((1, 2, 2), -np.inf), np.full((1, 2, 2), np.inf)))
    for other in (Ball.of(np.zeros((1, 2, 2))), Ball.of(np.ones((1, 2, 2)))):
        for found in (whole @ other, other @ whole):
            assert (found.lo == -np.inf).all()
            assert (found.hi == np.inf).all()


def test_what_is_unknown_stays_unknown() -> None:
    """Also times zero, and as an interval; infinite is not the same."""
    one = Ball(np.ones(3), np.array([0.0, np.nan, np.inf]))
    found = one.interval
    assert found.undefined.tolist() == [False, True, False]
    assert (found.lo[1:] == -np.inf).all()
    assert Ball.of(found).rad[0] == 0 or Ball.of(found).rad[0] < 1e-15
    assert np.isnan(Ball.of(found).rad[1])
    assert np.isinf(Ball.of(found).rad[2])
    zero = Ball.of(np.zeros((2, 3)))
    for product in (one * 0.0, one.times(Ball.of(np.zeros(3))), zero @ one, one.dot(Ball.of(np.zeros(3)))):
        assert np.isnan(np.atleast_1d(product.rad)).any()
    assert Ball.of(np.ones(2)).interval.undefined is None
    assert Ball.of(np.ones(2)).without_value(None).rad.tolist() == [0.0, 0.0]
    marked = Ball.of(np.ones((2, 2))).without_value(np.array([[True], [False]]))
    assert np.isnan(marked.rad).tolist() == [[True, True], [False, False]]
