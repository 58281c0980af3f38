"""What is simplified or joined when it is recorded is what numpy computes, and hides nothing that is presumed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_functions import fmax, fmin
from systems.arithmetic.rounding import LIBRARY, MAX, TINY, ULP, above, below
from systems.tape.recorded import Recorded
from systems.tape.trace import NotTraceable

X = np.array([0.0, -0.0, 1.0, -2.5, 3e-310, 1e-300, MAX, -MAX, np.inf, -np.inf, np.nan, 0.3, -7.0])
Y = X[::-1].copy()


def expect_same(function: Any, *given: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        results, doubt = Recorded(function, *(x.shape[1:] for x in given))(*given)
        reference = function(*given)
    for found, expected in zip(results, reference, strict=True):
        fine = (found == expected) | (np.isnan(found) & np.isnan(expected)) | doubt
        assert fine.all()
    assert not doubt.all()


@pytest.mark.parametrize("number", [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, np.inf, -np.inf, np.nan])
def test_operations_with_special_numbers(number: float) -> None:
    rules = (np.add, np.subtract, np.multiply, np.divide, np.minimum, np.maximum, np.fmin, np.fmax)
    for rule in rules:
        if rule is np.multiply and number == 0.0:  # what is not finite is doubtful then
            continue
        expect_same(lambda x: [rule(x, number), rule(number, x), rule(-x, number), rule(number, -x)], X)  # noqa: B023


def test_zero_times_what_is_not_finite_is_doubtful() -> None:
    for function in (lambda x: [x * 0.0], lambda x: [0.0 * x], lambda x: [-0.0 * x]):
        with np.errstate(all="ignore"):
            _, doubt = Recorded(function, ())(X)
        np.testing.assert_array_equal(doubt, ~np.isfinite(X))


def test_signs_move_through_sums_and_products() -> None:
    expect_same(
        lambda x, y: [
            x + -y,
            -x + y,
            -x + -y,
            x - np.negative(y),
            -x - y,
            np.negative(-x),
            abs(-x),
            abs(abs(y)),
            0.0 - x,
        ],
        X,
        Y,
    )
    expect_same(lambda x, y: [x * y + x, x - x * y, x * y - x, abs(x) * y + x, x * 3.0 + y, y - x * 3.0, x - 3.0], X, Y)


def test_truths_with_constants() -> None:
    yes, no = np.True_, np.False_

    def joined(x: Any, y: Any) -> list[Any]:
        low = x < y
        return [low & yes, yes & low, low & no, no & low, low | yes, yes | low, low | no, no | low, low == (x <= y),
                np.where(yes, x, y), np.where(no, x, y), np.where(low, x, x), ~low]  # fmt: skip

    expect_same(joined, X, Y)


@pytest.mark.parametrize("move", [below, above])
@pytest.mark.parametrize(("relative", "absolute"), [(ULP, 0.0), (ULP, TINY), (ULP, 1e-3), (LIBRARY, TINY), (0.5, 0.0)])
def test_bounds_are_moved_by_what_is_given(move: Any, relative: float, absolute: float) -> None:
    expect_same(
        lambda x, y: [move(v, relative, absolute) for v in (x + y, x - y, x * y, x + 3.0, -x, abs(y), x.copy())], X, Y
    )


def test_what_only_looks_like_a_moved_bound_is_none() -> None:
    def near(x: Any, y: Any) -> list[Any]:
        return [
            np.minimum(x, MAX) - abs(y) * ULP,
            np.minimum(x, MAX) + abs(x) * ULP,
            np.minimum(x, -MAX) - abs(x) * ULP,
            np.minimum(x, MAX) - x * ULP,
            np.minimum(x, MAX) - (abs(x) * ULP + y),
            np.maximum(x, -MAX) + abs(y) * ULP,
            np.maximum(x, -MAX) - abs(x) * ULP,
            np.maximum(x, -MAX) + (abs(x) * LIBRARY + TINY),
            np.minimum(np.fmin(np.fmin(x * y, x * x), np.fmin(y * y, x * 2.0)), MAX) - (abs(x) * ULP + TINY),
        ]

    expect_same(near, X, Y)


def test_products_of_intervals_whose_corners_repeat() -> None:
    def products(a: Any, b: Any, c: Any, d: Any) -> list[Any]:
        x, y = Interval(a, b), Interval(c, d)
        return [side for v in (x * y, x * x, x * -x, (x + y) * (x + y), -x * y) for side in (v.lo, v.hi)]

    rng = np.random.default_rng(0)
    a, c = rng.normal(size=(2, 200))
    expect_same(products, a, a + rng.random(200), c, c + rng.random(200))


@pytest.mark.parametrize(
    "hides",
    [
        lambda x: 1.0 / (x * x),
        lambda x: fmin(x * x, 5.0) + 1.0,
        lambda x: fmax(-(x * x), -5.0) + 1.0,
        lambda x: fmin(x + x * 1e10, 5.0) * 2.0,
        lambda x: Interval.of(2.0) / (x.sq() * 1e5),
    ],
)
def test_an_overflow_is_seen_behind_what_is_finite_again(hides: Any) -> None:
    def bounds(low: Any, high: Any) -> list[Any]:
        value = hides(Interval(low, high))
        return [value.lo, value.hi]

    low = np.array([1.0, 1e300, 2.0])
    _, doubt = Recorded(bounds, (), ())(low, low * 1.5)
    assert doubt.tolist() == [False, True, False]


def test_whether_an_array_is_zero_is_known_of_constants_alone() -> None:
    def product(mid: Any, rad: Any) -> list[Any]:
        result = Ball(mid, rad) @ Ball(mid, rad)
        exact = Ball(mid, np.zeros_like(rad)) @ Ball(mid, rad)
        return [result.mid, result.rad, exact.rad]

    rng = np.random.default_rng(1)
    mid, rad = rng.normal(size=(5, 2, 2)), rng.random((5, 2, 2))
    results, doubt = Recorded(product, (2, 2), (2, 2))(mid, rad)
    for found, expected in zip(results, product(mid, rad), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert not doubt.any()


def test_a_way_is_not_chosen_by_single_boxes() -> None:
    for choose in (lambda x: (x > 0.0).all(axis=-1), lambda x: ~(x > 0.0).all(), lambda x: (x > 0.0).any(axis=1)):
        with pytest.raises(NotTraceable):
            Recorded(lambda x: [x if choose(x) else -x], (1,))  # noqa: B023


def test_ways_chosen_by_all_boxes_are_conditions_of_each() -> None:
    def chosen(x: Any, y: Any) -> list[Any]:
        if ((x > 0.0) & ~(y > 5.0)).all() and not ((x > 9.0) | (y < 0.0)).any() and not ((x > 3.0) & (y > 3.0)).any():
            return [x + y]
        return [x - y]

    x = np.array([1.0, -1.0, 1.0, 10.0, 1.0, 4.0, 4.0])
    y = np.array([1.0, 1.0, 6.0, 1.0, -1.0, 4.0, 2.0])
    _, doubt = Recorded(chosen, (), ())(x, y)
    assert doubt.tolist() == [False, True, True, True, True, True, False]
