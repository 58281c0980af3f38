"""Maximal invariant sets: known ones, and the two properties that define them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from mpc.polyhedra import NoInvariantSet, Polyhedron, maximal_invariant_set
from systems import DimensionMismatch, InvalidValue

SQUARE = Polyhedron(np.vstack([np.eye(2), -np.eye(2)]), np.ones(4))


def test_a_contraction_keeps_the_whole_square() -> None:
    found = maximal_invariant_set(0.5 * np.eye(2), SQUARE)
    assert {tuple(row) for row in np.round(found.H / found.h[:, None], 12) + 0.0} == {(1, 0), (0, 1), (-1, 0), (0, -1)}


def test_a_shear_cuts_two_corners_off() -> None:
    # x1+ = (x1 + x2) / 2 stays within 1 on the square; x1+ = 0.5 x1 + x2 does not: |0.5 x1 + x2| <= 1 must be added,
    # and one step later |0.25 x1 + 0.75 x2| <= 1 follows from the square.
    found = maximal_invariant_set(np.array([[0.5, 1.0], [0.0, 0.25]]), SQUARE)
    rows = {tuple(row) for row in np.round(found.H / found.h[:, None], 12) + 0.0}
    assert rows == {(1, 0), (0, 1), (-1, 0), (0, -1), (0.5, 1), (-0.5, -1)}


@given(st.integers(0, 10**6), st.integers(2, 4))
@settings(max_examples=20)
def test_invariant_admissible_and_maximal(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n))
    A *= rng.uniform(0.3, 0.9) / np.abs(np.linalg.eigvals(A)).max()
    H = np.vstack([np.eye(n), -np.eye(n)])
    admissible = Polyhedron(H, rng.uniform(0.5, 2.0, 2 * n))
    found = maximal_invariant_set(A, admissible)
    x = 1.5 * rng.normal(size=(2000, n))
    inside = found.contains(x)
    assert found.contains(x[inside] @ A.T, tolerance=1e-7).all()
    ever = np.ones(len(x), dtype=bool)
    z = x
    for _ in range(300):  # stays admissible for ever, by brute force
        ever &= admissible.contains(z, tolerance=1e-7)
        z = z @ A.T
    sure = found.contains(x, tolerance=1e-6) == found.contains(x, tolerance=-1e-6)
    np.testing.assert_array_equal(inside[sure], ever[sure])


def farthest(H: np.ndarray, h: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """A vertex of the set, or a point far out where it is unbounded, by another solver."""
    found = linprog(-direction, H, h, bounds=(-1e4, 1e4), options={"presolve": False})
    assert found.status == 0
    return np.asarray(found.x)


def plants(count: int) -> Iterator[tuple[int, np.ndarray, Polyhedron]]:
    """Stable loops in odd units under few constraints, so that sets are unbounded at first, and one-sided ones."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 5))
        A = rng.normal(size=(n, n))
        A *= rng.uniform(0.2, 0.95) / np.abs(np.linalg.eigvals(A)).max()
        H = rng.normal(size=(int(rng.integers(1, n + 2)), n))
        H = np.vstack([H, -H]) if rng.random() < 0.8 else H
        units = 10.0 ** rng.integers(-3, 4, n) if rng.random() < 0.4 else np.ones(n)
        yield seed, A * units / units[:, None], Polyhedron(H * units, rng.uniform(0.3, 2.0, len(H)))


@pytest.mark.parametrize("count", [20, pytest.param(600, marks=pytest.mark.slow)])
def test_from_the_vertices_on_nothing_is_ever_violated(count: int) -> None:
    checked = 0
    for seed, A, admissible in plants(count):
        try:
            found = maximal_invariant_set(A, admissible)
        except NoInvariantSet:
            continue
        rng = np.random.default_rng(seed)
        directions = [*found.H, *rng.normal(size=(8, len(A))) * np.abs(found.H).max(axis=0)]
        for x in [farthest(found.H, found.h, direction) for direction in directions]:
            assert found.contains(A @ x, tolerance=1e-6), seed
            for _ in range(200):
                assert (admissible.H @ x <= admissible.h * (1.0 + 1e-6)).all(), seed
                x = A @ x
        checked += 1
    assert checked >= 0.9 * count


def test_the_support_of_a_set_with_fewer_rows_than_states() -> None:
    slab = Polyhedron(np.array([[-0.73, 0.51, 0.16], [0.73, -0.51, -0.16]]), np.ones(2))
    assert slab.support(np.array([0.24, 0.29, 0.54])) == np.inf
    assert slab.support(np.array([1.46, -1.02, -0.32])) == pytest.approx(2.0)


def test_an_empty_set_stays_empty() -> None:
    empty = Polyhedron(np.array([[1.0], [-1.0], [2.0]]), np.array([0.0, -3.0, 5.0]))
    assert empty.is_empty
    assert empty.minimal().is_empty
    assert not empty.minimal().contains(np.array([[0.0], [1.0], [4.0]])).any()
    assert not SQUARE.is_empty


def test_rows_of_zeros_and_parallel_rows_go() -> None:
    H = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    least = Polyhedron(H, np.array([1.0, 1.0, 1.0, 1.0, 0.5])).minimal()
    assert {tuple(row) for row in np.column_stack([least.H, least.h])} == {(2.0, 0.0, 1.0), (-1.0, 0.0, 0.5)}


def test_redundant_rows_go_and_the_set_stays() -> None:
    rng = np.random.default_rng(0)
    H = np.vstack([SQUARE.H, rng.normal(size=(20, 2)) * 0.1, SQUARE.H])
    full = Polyhedron(H, np.ones(len(H)))
    least = full.minimal()
    assert len(least.h) == 4
    x = rng.uniform(-2, 2, (500, 2))
    np.testing.assert_array_equal(full.contains(x), least.contains(x))


def test_support_of_unbounded_and_empty_sets() -> None:
    half = Polyhedron(np.array([[1.0, 0.0]]), np.ones(1))
    assert half.support(np.array([2.0, 0.0])) == pytest.approx(2.0)
    assert half.support(np.array([0.0, 1.0])) == np.inf
    assert Polyhedron(np.array([[1.0], [-1.0]]), -np.ones(2)).support(np.ones(1)) == -np.inf


def test_reasons_for_no_set() -> None:
    with pytest.raises(NoInvariantSet, match="not stable"):
        maximal_invariant_set(1.1 * np.eye(2), SQUARE)
    with pytest.raises(NoInvariantSet, match="interior"):
        maximal_invariant_set(0.5 * np.eye(2), Polyhedron(np.eye(2), np.array([1.0, 0.0])))
    with pytest.raises(NoInvariantSet, match="more than 4 rows"):
        maximal_invariant_set(np.array([[0.5, 1.0], [0.0, 0.25]]), SQUARE, max_rows=4)
    with pytest.raises(DimensionMismatch):
        maximal_invariant_set(np.eye(3) / 2, SQUARE)
    with pytest.raises(DimensionMismatch):
        Polyhedron(np.eye(2), np.ones(3))
    with pytest.raises(InvalidValue):
        Polyhedron(np.eye(2), np.array([1.0, np.nan]))
