"""Bounded polytopes: their vertices against linear programs, thin, degenerate and repeated rows included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.explicit.polytopes import Polytope
from systems.linear_programs import maximise


def random_rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of length one with a point inside the cube, as near as 1e-7 to many of them; some on a grid, some twice."""
    rng = np.random.default_rng(seed)
    n, rows = int(rng.integers(1, 5)), int(rng.integers(1, 30))
    H = rng.normal(size=(rows, n))
    grid = rng.random() < 0.3
    if grid:
        H = np.round(H)
        H = H[np.abs(H).any(axis=1)]
    H /= np.linalg.norm(H, axis=1)[:, None]
    h = H @ rng.uniform(-0.8, 0.8, n) + rng.uniform(0.0, 1.0, len(H)) * rng.choice([1.0, 1e-3, 1e-7])
    if grid:
        h = np.round(4.0 * h) / 4.0
    if not len(H):
        H, h = np.eye(n), np.ones(n)
    return np.vstack([H, H[:2]]), np.append(h, h[:2])


@given(st.integers(0, 10**9))
@settings(max_examples=60)
def test_vertices_reach_as_far_as_the_rows_let_them(seed: int) -> None:
    H, h = random_rows(seed)
    n = H.shape[1]
    everything = np.vstack([H, np.eye(n), -np.eye(n)]), np.append(h, np.ones(2 * n))
    part = Polytope.cube(n).within(H, h)
    centre = maximise(
        np.append(np.zeros(n), 1.0), np.column_stack([everything[0], np.ones(len(everything[1]))]), everything[1]
    )
    if part is None:
        assert centre.value < 1e-12
        return
    assert (part.vertices @ everything[0].T <= everything[1] + 1e-12).all()
    assert (part.H @ part.middle < part.h).all()
    for direction in np.random.default_rng(seed).normal(size=(10, n)):
        assert (part.vertices @ direction).max() == pytest.approx(maximise(direction, *everything).value, abs=1e-10)
    facets = part.H[part.is_facet], part.h[part.is_facet]  # are all it takes
    for direction in np.random.default_rng(seed).normal(size=(5, n)):
        assert maximise(direction, *facets).value == pytest.approx((part.vertices @ direction).max(), abs=1e-10)


@given(st.integers(0, 10**9))
@settings(max_examples=40)
def test_what_is_left_and_what_is_taken_are_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    H, h = random_rows(seed)
    n = H.shape[1]
    whole = Polytope.cube(n).within(*random_cut(rng, n))
    assert whole is not None
    left = whole.minus(H, h)
    x = rng.uniform(-1.0, 1.0, (500, n))
    x = x[(x @ whole.H.T <= whole.h).all(axis=1)]
    margin = (x @ H.T - h).max(axis=1)
    parts = np.zeros(len(x), dtype=int)
    for part in left:
        parts += (x @ part.H.T <= part.h + 1e-12).all(axis=1)
    np.testing.assert_array_equal(parts[margin < -1e-9], 0)
    np.testing.assert_array_equal(parts[margin > 1e-9], 1)


def random_cut(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    H = rng.normal(size=(3, n))
    return H / np.linalg.norm(H, axis=1)[:, None], rng.uniform(0.2, 1.0, 3)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_facet_in_its_own_coordinates(n: int) -> None:
    cube = Polytope.cube(n)
    for i in range(2 * n):
        facet, origin, basis = cube.facet(i)
        assert basis.shape == (n, n - 1)
        back = origin + facet.vertices @ basis.T
        np.testing.assert_allclose(back @ cube.H[i], 1.0, atol=1e-14)
        assert {tuple(np.round(v, 9)) for v in back} == {tuple(v) for v in cube.vertices[cube.on[:, i]]}
        assert facet.depth == pytest.approx(1.0 if n > 1 else np.inf)


def test_parts_without_interior_are_none() -> None:
    square = Polytope.cube(2)
    assert square.cut(np.array([1.0, 0.0]), -1.0) is None
    assert square.cut(np.array([1.0, 0.0]), -1.5) is None
    assert square.cut(np.array([1.0, 0.0]), 1.0) is square
    thin = square.cut(np.array([1.0, 0.0]), -1.0 + 1e-9)
    assert thin is not None
    np.testing.assert_allclose(thin.depth, 5e-10, rtol=1e-6)
    np.testing.assert_allclose(square.cut(np.array([0.6, 0.8]), 0.0).depth, 0.3, atol=0.3)  # type: ignore[union-attr]
