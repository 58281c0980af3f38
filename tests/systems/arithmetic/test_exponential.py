"""The enclosed matrix exponential holds what Arb finds, and little more."""

from __future__ import annotations

from fractions import Fraction

import flint
import numpy as np
import pytest

from systems.arithmetic.exponential import exponential
from systems.arithmetic.interval import Interval


def rational(A: np.ndarray) -> list[list[Fraction]]:
    return [[Fraction(a) for a in row] for row in A.tolist()]


def holds(E: Interval, A: np.ndarray) -> bool:
    before, flint.ctx.prec = flint.ctx.prec, 2000
    try:
        M = flint.arb_mat([[flint.arb(a) for a in row] for row in A.tolist()]).exp()
        n = len(A)
        return all(
            bool(flint.arb(float(E.lo[i, j])) <= M[i, j]) and bool(M[i, j] <= flint.arb(float(E.hi[i, j])))
            for i in range(n)
            for j in range(n)
        )
    finally:
        flint.ctx.prec = before


@pytest.mark.parametrize("size", [1e-8, 0.3, 3.0, 50.0, 400.0])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_of_numbers_to_the_last_digit(n: int, size: float) -> None:
    rng = np.random.default_rng(n)
    for _ in range(4):
        A = rng.normal(size=(n, n)) * size / n
        E = exponential(rational(A))
        assert holds(E, A)
        assert ((E.hi - E.lo) <= 4.5e-16 * np.abs(E.mid)).all()


SPECIAL = {
    "zero": np.zeros((3, 3)),
    "nilpotent": np.array([[0.0, 1e3, 0.0], [0.0, 0.0, 1e3], [0.0, 0.0, 0.0]]),
    "rotation": np.array([[0.0, 1e5], [-1e5, 0.0]]),
    "stiff": np.array([[-1e3, 999.0], [1.0, -2.0]]),
    "defective": np.array([[-2.0, 1.0], [0.0, -2.0]]),
    "growing": np.array([[300.0, 1.0], [0.0, -300.0]]),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_of_matrices_that_are_hard_for_floating_point(name: str) -> None:
    E = exponential(rational(SPECIAL[name]))
    assert holds(E, SPECIAL[name])
    assert ((E.hi - E.lo) <= 1e-13 * np.abs(E.mid).max(axis=1, keepdims=True)).all()


def test_of_intervals_holds_every_member() -> None:
    rng = np.random.default_rng(7)
    A = rng.normal(size=(3, 3))
    half = 1e-3 * rng.random((3, 3))
    E = exponential([[Interval(A[i, j] - half[i, j], A[i, j] + half[i, j]) for j in range(3)] for i in range(3)])
    for _ in range(60):
        member = A + half * rng.choice([-1.0, 1.0, 0.3], (3, 3))
        assert holds(E, np.clip(member, A - half, A + half))
    assert (E.hi - E.lo).max() < 0.05


def test_what_is_no_number_is_refused() -> None:
    for entry in (Interval(-np.inf, 0.0), Interval.of(np.nan)):
        with pytest.raises(ValueError, match="expected finite numbers"):
            exponential([[entry]])
