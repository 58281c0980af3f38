"""Recorded functions: the same as numpy's to the bit, silent where a presumption fails, and within Arb's bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval
from systems.errors import InvalidValue
from systems.tape import machine
from systems.tape.recorded import Recorded, Recorder
from systems.tape.trace import NotTraceable
from tests.systems.tape.programs import (
    LIBRARY,
    ROUNDED,
    Tally,
    Written,
    compare_with_arb,
    compare_with_numpy,
    drawn_boxes,
)

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 5e-324, -5e-324, 2.0**-1022, 1.7976931348623157e308, -1.7976931348623157e308,
           np.inf, -np.inf, np.nan, 3.0, -2.5, 1e200, 1e-200]  # fmt: skip
UNARY = ["negative", "absolute", "sqrt", "floor", "ceil", "sign", "isfinite", "isnan"]
BINARY = ["add", "subtract", "multiply", "divide", "minimum", "maximum", "fmin", "fmax", "less", "less_equal",
          "greater", "greater_equal", "equal", "not_equal"]  # fmt: skip
CALLED = ["exp", "expm1", "log", "log1p", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
          "arcsinh", "arccosh", "arctanh"]  # fmt: skip


def same(a: Any, b: Any) -> bool:
    return bool(np.all((a == b) | (np.isnan(a) & np.isnan(b))))


def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = np.array(SPECIAL + list(rng.normal(size=30) * 10.0 ** rng.integers(-20, 20, 30)))
    return np.repeat(x, len(x)), np.tile(x, len(x))


@pytest.mark.parametrize("name", UNARY)
def test_operations_of_one_number_are_numpys(name: str) -> None:
    x, _ = pairs()
    with np.errstate(all="ignore"):
        (found,), doubt = Recorded(lambda a: [getattr(np, name)(a)], ())(x)
        assert same(found, getattr(np, name)(x))
    assert not doubt.any()


@pytest.mark.parametrize("name", BINARY)
def test_operations_of_two_numbers_are_numpys(name: str) -> None:
    x, y = pairs()
    rule = getattr(np, name)
    with np.errstate(all="ignore"):
        (found,), _ = Recorded(lambda a, b: [rule(a, b)], (), ())(x, y)
        assert same(found, rule(x, y))
        for number in (3.5, -0.75, np.inf):
            found, doubt = Recorded(lambda a: [rule(a, number), rule(number, a)], ())(x)  # noqa: B023
            known = ~doubt
            assert same(found[0][known], rule(x, number)[known])
            assert same(found[1][known], rule(number, x)[known])


def test_sums_of_products_are_rounded_twice() -> None:
    """As numpy rounds them, and not once as fused operations do."""
    rng = np.random.default_rng(1)
    a, b, c = rng.normal(size=(3, 20_000))

    def sums(a: Any, b: Any, c: Any) -> list[Any]:
        return [a * b + c, c - a * 0.1, a * 0.3 + c, np.abs(a) * b + c, np.abs(a) * 0.7 + c, c - a * b]

    results, _ = Recorded(sums, (), (), ())(a, b, c)
    for found, reference in zip(results, sums(a, b, c), strict=True):
        np.testing.assert_array_equal(found, reference)


def test_conditions_choose() -> None:
    x, y = pairs()

    def chosen(a: Any, b: Any) -> list[Any]:
        low = a < b
        return [np.where(low, a, b), np.where(~low & (a == a), 1.0, b), np.where(low | (b != b), a, -1.0)]

    with np.errstate(all="ignore"):
        results, _ = Recorded(chosen, (), ())(x, y)
        for found, reference in zip(results, chosen(x, y), strict=True):
            assert same(found, reference)


@pytest.mark.parametrize("name", CALLED)
def test_functions_of_the_library_are_within_the_error_that_is_assumed(name: str) -> None:
    flint = pytest.importorskip("flint")
    flint.ctx.prec = 200
    rng = np.random.default_rng(2)
    x = rng.normal(size=300) * 10.0 ** rng.uniform(-8, 1.5, 300)
    x = 1.0 + np.abs(x) if name == "arccosh" else np.abs(x) if name == "log" else x
    x = 0.999 * np.tanh(x) if name in ("arcsin", "arccos", "arctanh", "log1p") else x
    (found,), _ = Recorded(lambda a: [getattr(np, name)(a)], ())(x)
    other = name.replace("arc", "a")
    for a, b in zip(x, found, strict=True):
        exact = getattr(flint.arb(float(a)), other)()
        assert abs(exact - float(b)) <= 4 * 2.0**-52 * abs(exact)  # a quarter of LIBRARY


def test_functions_of_two_numbers_call_the_library() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 300))
    results, _ = Recorded(lambda a, b: [np.arctan2(a, b), np.hypot(a, b), np.power(np.abs(a), 1.5)], (), ())(a, b)
    for found, reference in zip(results, (np.arctan2(a, b), np.hypot(a, b), np.abs(a) ** 1.5), strict=True):
        np.testing.assert_allclose(found, reference, rtol=1e-15)


def test_random_programs_of_intervals_are_numpys_to_the_bit() -> None:
    rng, tally = np.random.default_rng(4), Tally()
    for _ in range(40):
        written = Written.drawn(rng, list(ROUNDED), 20)
        compare_with_numpy(written, *drawn_boxes(rng, 40, written.inputs), tally)
    assert tally.operations >= 30_000
    assert tally.silent < 0.9 * tally.operations
    assert tally.wrong == 0


def test_random_programs_enclose_what_arb_computes() -> None:
    pytest.importorskip("flint")
    rng, tally = np.random.default_rng(5), Tally()
    for _ in range(60):
        written = Written.drawn(rng, [*ROUNDED, *LIBRARY], 6)
        compare_with_arb(written, *drawn_boxes(rng, 30, written.inputs), tally, rng)
    assert tally.operations >= 10_000
    assert tally.silent < 0.9 * tally.operations
    assert tally.unknown < 20
    assert tally.wrong == 0


@pytest.mark.parametrize("name", LIBRARY)
def test_functions_of_intervals_are_undefined_where_numpys_are(name: str) -> None:
    rng, tally = np.random.default_rng(7), Tally()
    low, high = drawn_boxes(rng, 400, 2)
    with np.errstate(all="ignore"):
        compare_with_numpy(Written(((name, 0, 1, 0.5),), 2), low, high, tally)
    assert tally.wrong == 0


@pytest.mark.parametrize(
    ("function", "fine", "odd"),
    [
        (lambda x: 1.0 / x, (1.0, 2.0), (-1.0, 2.0)),
        (lambda x: x.sq().sq().sq(), (1.0, 2.0), (1e30, 1e60)),
        (lambda x: x + x, (1.0, 2.0), (1e308, 1.5e308)),
        (lambda x: x * 3.0, (1.0, 2.0), (1e308, 1.5e308)),
        (lambda x: x * x, (1.0, 2.0), (-1e200, 1e200)),
        (lambda x: x + 1e307, (1.0, 2.0), (1e308, 1.75e308)),
        (lambda x: 1.0 / (x * 0.0 + 1.0), (1.0, 2.0), (1.0, np.inf)),
        (lambda x: x * 1.0, (1.0, 2.0), (2.0, 1.0)),
        (lambda x: x * 1.0, (1.0, 2.0), (np.nan, np.nan)),
    ],
    ids=["pole", "power", "sum", "multiple", "product", "shift", "unbounded", "empty", "nan"],
)
def test_what_is_presumed_is_looked_at_for_each_box(function: Any, fine: Any, odd: Any) -> None:
    def bounds(low: Any, high: Any) -> list[Any]:
        value = function(Interval(low, high))
        return [value.lo, value.hi]

    low, high = (np.array([a, b, a]) for a, b in zip(fine, odd, strict=True))
    _, doubt = Recorded(bounds, (), ())(low, high)
    assert doubt.tolist() == [False, True, False]


def test_a_zero_factor_does_not_hide_what_is_not_known() -> None:
    """0 times an infinite radius is NaN, which says that nothing is known."""
    T = np.array([[1.0, 0.0], [0.0, 2.0]])

    def turned(mid: Any, rad: Any) -> list[Any]:
        product = Ball.of(T) @ Ball(mid, rad)
        return [product.mid, product.rad]

    mid, rad = np.ones((3, 2, 1)), np.full((3, 2, 1), 0.1)
    rad[1, 0] = np.inf
    rad[2, 1] = np.nan
    (_, radius), doubt = Recorded(turned, (2, 1), (2, 1))(mid, rad)
    assert not doubt[0]
    known = np.isfinite(radius).all(axis=(1, 2)) & ~doubt
    assert known.tolist() == [True, False, False]


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_eigenvectors_are_about_orthonormal_and_diagonalise(n: int) -> None:
    rng = np.random.default_rng(n)
    M = rng.normal(size=(300, n, n))
    M = M + M.swapaxes(1, 2)
    M[0], M[1] = 0.0, np.eye(n)
    (Q,), _ = Recorded(lambda a: [np.linalg.eigh(a)[1]], (n, n))(M)
    np.testing.assert_allclose(Q.swapaxes(1, 2) @ Q, np.broadcast_to(np.eye(n), M.shape), atol=1e-12)
    turned = Q.swapaxes(1, 2) @ M @ Q
    np.testing.assert_allclose(turned * (1 - np.eye(n)), 0.0, atol=1e-7)


def test_batches_of_all_lengths_and_threads_agree() -> None:
    recorder = Recorder()
    rng = np.random.default_rng(6)

    def function(x: Any, y: Any) -> list[Any]:
        return [x @ y, np.sin(x).sum(-1), (x < 0.0).all(axis=(1, 2))]

    for boxes in (1, machine.BLOCK - 1, machine.BLOCK, machine.BLOCK + 1, 9 * machine.BLOCK + 5):
        x, y = rng.normal(size=(2, boxes, 2, 2))
        for found, reference in zip(recorder(function, x, y), function(x, y), strict=True):
            assert found.shape == reference.shape
            np.testing.assert_allclose(found, reference, rtol=1e-14, atol=1e-14)


def test_doubtful_boxes_are_computed_by_numpy() -> None:
    recorder, calls = Recorder(), []

    def inverse(low: Any, high: Any) -> list[Any]:
        calls.append(len(low))
        value = 1.0 / Interval(low, high)
        return [value.lo, value.hi]

    low, high = np.full(600, 1.0), np.full(600, 2.0)
    low[[3, 500]] = -1.0
    found = recorder(inverse, low, high)
    assert calls == [1, 2], "recorded with one box, then two are doubtful"
    reference = inverse(low, high)
    for a, b in zip(found, reference, strict=True):
        np.testing.assert_array_equal(a, b)
    assert found[0][3] == -np.inf
    low[:400] = -1.0
    recorder(inverse, low, high)
    recorder(inverse, low, high)
    assert calls[-1] == 600, "where most are doubtful, numpy computes all"
    with pytest.raises(InvalidValue):
        Recorder()(inverse, high, low)


def test_what_cannot_be_recorded_is_computed_by_numpy() -> None:
    def chooses(x: Any) -> list[Any]:
        return [x[np.flatnonzero(x > 0.0)]]

    def converts(x: Any) -> list[Any]:
        return [np.asarray(x).astype(int)]

    def branches(x: Any) -> list[Any]:
        return [x if x[0] > 0.0 else -x]

    x = np.array([1.0, -1.0])
    for function in (chooses, converts):
        with pytest.raises(NotTraceable):
            Recorded(function, ())
        np.testing.assert_array_equal(Recorder()(function, x)[0], function(x)[0])
    with pytest.raises(NotTraceable):
        Recorded(branches, ())


def test_rows_of_memory_are_reused() -> None:
    def long(x: Any) -> list[Any]:
        for _ in range(500):
            x = x * x + 0.1
        return [x]

    tape = Recorded(long, ()).tape
    assert tape.size >= 500
    assert tape._rows < 20


def test_a_statement_that_is_computed_with_stays_a_condition() -> None:
    """Though a finite product of it implies that it is finite itself."""

    def without_nan(a: Any, b: Any) -> list[Any]:
        missing = np.isnan(a)
        if missing.any():
            a = np.where(missing, 0.0, a)
        if not np.isfinite(missing * b).all():
            a = 2.0 * a
        return [a + b]

    a, b = np.array([1.0, np.nan]), np.array([2.0, 3.0])
    _, doubt = Recorded(without_nan, (), ())(a, b)
    assert doubt.tolist() == [False, True]
    np.testing.assert_array_equal(Recorder()(without_nan, a, b)[0], [3.0, 3.0])


def test_what_shows_the_same_entries_is_overwritten_together() -> None:
    def overwritten(a: Any) -> list[Any]:
        a, least = a.copy(), a.min(-1)
        first, last = a[:, 0], a.T[-1]
        first += 1.0
        np.copyto(last, 7.0, where=last > 0.0)
        low = a.max(-1)
        low -= 1.0
        least *= 2.0
        return [a, low, least]

    for width in (1, 3):
        x = np.random.default_rng(9).normal(size=(5, width))
        for found, reference in zip(Recorded(overwritten, (width,))(x)[0], overwritten(x), strict=True):
            np.testing.assert_array_equal(found, reference)


def test_arguments_of_another_shape_are_recorded_anew() -> None:
    recorder = Recorder()

    def total(a: Any) -> list[Any]:
        return [a.sum(-1)]

    for width in (4, 2, 4, 6):
        np.testing.assert_array_equal(recorder(total, np.ones((3, width)))[0], np.full(3, width))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [(x > 0.0) + (x > 1.0)],
        lambda x: [np.logical_and(x, x)],
        lambda x: [np.logical_not(x)],
        lambda x: [~np.where(x > 0.0, x > 1.0, x)],
        lambda x: [np.where(x, 1.0, 2.0)],
        lambda x: [np.where(x > 0.0, True, x)],
        lambda x: [np.where(x > 0.0, x, x > 1.0)],
        lambda x: [np.stack([x > 1.0, x > 0.0], -1).sum(-1)],
        lambda x: [np.stack([x > 1.0], -1).sum(-1)],
        lambda x: [np.eye(2), x],
        lambda x: [x, np.ones(3)],
    ],
)
def test_truths_and_numbers_and_batches_are_kept_apart(function: Any) -> None:
    x = np.array([2.0, 0.5, -1.0, 0.0])
    try:
        reference = function(x)
    except TypeError:
        with pytest.raises(TypeError):
            Recorder()(function, x)
        return
    for found, expected in zip(Recorder()(function, x), reference, strict=True):
        np.testing.assert_array_equal(found, expected)
        assert (found.dtype == bool) == (expected.dtype == bool)


def test_no_boxes_are_a_batch_too() -> None:
    recorder = Recorder()
    for boxes in (3, 0):
        x, H = np.ones((boxes, 2)), np.ones((boxes, 2, 2))
        total, sign = recorder(_of_a_matrix, x, H)
        assert total.shape == sign.shape == (boxes,)


def _of_a_matrix(x: Any, H: Any) -> tuple[Any, Any]:
    return (x * H[:, 0]).sum(axis=1), x[:, 0] > 0.0
