"""Largest of smallest: values, enclosures, slopes, rational arithmetic, and the network."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrl.laws import relu_network
from ctrl.laws.lattice import Lattice, MaxMin
from systems import DimensionMismatch, InvalidValue
from systems.arithmetic.interval import Interval


def random_law(seed: int) -> Lattice:
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 4), rng.integers(1, 3)
    inputs = []
    for _ in range(m):
        pieces = int(rng.integers(1, 7))
        terms = tuple(
            tuple(int(i) for i in rng.choice(pieces, rng.integers(1, pieces + 1), replace=False))
            for _ in range(rng.integers(1, 6))
        )
        inputs.append(MaxMin(rng.standard_normal((pieces, n)), rng.standard_normal(pieces), terms))
    return Lattice(tuple(inputs))


def written_out(law: Lattice, x: np.ndarray) -> list[float]:
    return [max(min(float(f.A[i] @ x + f.b[i]) for i in term) for term in f.terms) for f in law.inputs]


@given(st.integers(0, 10_000))
def test_value_network_and_rational_value_agree(seed: int) -> None:
    law = random_law(seed)
    n = law.inputs[0].A.shape[1]
    x = np.random.default_rng(seed).standard_normal((5, n))
    expected = np.array([written_out(law, row) for row in x])
    np.testing.assert_allclose(law(x), expected, atol=1e-12)
    np.testing.assert_allclose(law(x[0]), expected[0], atol=1e-12)
    hidden = x
    *layers, (W_last, b_last) = relu_network(law)
    for W, b in layers:
        hidden = np.maximum(hidden @ W.T + b, 0.0)
    np.testing.assert_allclose(hidden @ W_last.T + b_last, expected, atol=1e-11)
    np.testing.assert_allclose(np.array(law.casadi(x[0])).ravel(), expected[0], atol=1e-12)
    exact = law.exact([Fraction(v) for v in x[0].tolist()])
    np.testing.assert_allclose([float(v) for v in exact or ()], expected[0], atol=1e-12)


@given(st.integers(0, 10_000), st.floats(1e-3, 3.0))
def test_enclosures_hold_values_and_chords(seed: int, width: float) -> None:
    law = random_law(seed)
    n = law.inputs[0].A.shape[1]
    rng = np.random.default_rng(seed)
    middle = rng.standard_normal((3, n))
    box = Interval(middle - width, middle + width)
    value, slope = law.enclose(box), law.enclose_jacobian(box)
    for _ in range(20):
        a, b = (middle + width * rng.uniform(-1, 1, middle.shape) for _ in range(2))
        u = law(a)
        assert ((value.lo <= u) & (u <= value.hi)).all()
        # The mean value theorem: u(b) - u(a) = J (b - a) for a J in the enclosure.
        d = (b - a)[:, None, :]
        low = np.minimum(slope.lo * d, slope.hi * d).sum(axis=-1)
        high = np.maximum(slope.lo * d, slope.hi * d).sum(axis=-1)
        change = law(b) - u
        assert (low - 1e-12 <= change).all()
        assert (change <= high + 1e-12).all()


def test_a_piece_that_cannot_count_does_not_widen_the_slope() -> None:
    law = Lattice((MaxMin(np.array([[1.0], [0.0], [0.0]]), np.array([0.0, 1.0, -1.0]), ((0, 1), (2,))),))
    slope = law.enclose_jacobian(Interval(np.array([[-0.5], [2.0], [0.5]]), np.array([[0.5], [3.0], [1.5]])))
    np.testing.assert_array_equal(slope.lo.ravel(), [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(slope.hi.ravel(), [1.0, 0.0, 1.0])


def test_misuse_is_refused() -> None:
    with pytest.raises(DimensionMismatch):
        MaxMin(np.zeros((2, 1)), np.zeros(3), ((0,),))
    with pytest.raises(InvalidValue, match="at least one"):
        MaxMin(np.zeros((2, 1)), np.zeros(2), ((),))
    with pytest.raises(InvalidValue, match="finite"):
        MaxMin(np.full((2, 1), np.nan), np.zeros(2), ((0,),))


def test_a_piece_beyond_all_doubles_marks_the_law() -> None:
    law = Lattice((MaxMin(np.array([[1e300], [1.0]]), np.zeros(2), ((0,), (1,))),))
    found = law.enclose(Interval(np.array([[1e9], [1.0]]), np.array([[2e9], [2.0]])))
    assert found.undefined.tolist() == [[True], [False]]
