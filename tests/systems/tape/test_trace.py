"""Traces by themselves: what is recorded, what is left out and what is presumed, against numpy operation by operation.

No compiled code runs here but in the last part, where traces are made ready to run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from systems.arithmetic.rounding import MAX, TINY, ULP, above, below
from systems.tape.recorded import Recorded
from systems.tape.tape import Tape, _chosen
from systems.tape.trace import FALSE, FINITE, TRUE, NotTraceable, Trace, Traced

SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -2.5, 5e-324, -1e-310, 1e200, -1e308, np.inf, -np.inf, np.nan])
X, Y = (a.ravel() for a in np.meshgrid(SPECIAL, SPECIAL))


def recorded(function: Callable[..., Any], *shapes: tuple[int, ...]) -> tuple[Trace, list[Traced]]:
    trace = Trace()
    results = function(*[trace.inputs(*shape) for shape in shapes])
    return trace, [x if isinstance(x, Traced) else trace.constants(x) for x in results]


def evaluated(trace: Trace, given: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Every number of a trace (operations, boxes) by numpy, and whether a condition does not hold."""
    boxes = given.shape[1]
    values, doubt = [], np.zeros(boxes, dtype=bool)
    for k, (op, args) in enumerate(zip(trace.ops, trace.args, strict=True)):
        a = [] if op == "input" else [values[i] for i in args]
        value = np.full(boxes, np.nan)
        if op == "input":
            value = given[args[0]]
        elif op == "constant":
            value = np.full(boxes, trace.values[k])
        elif op == "where":
            value = np.where(a[0] == 1.0, a[1], a[2])
        elif op in (FINITE, TRUE, FALSE):
            doubt |= ~{FINITE: np.isfinite(a[0]), TRUE: a[0] == 1.0, FALSE: a[0] == 0.0}[op]
        elif op != "none":
            value = getattr(np, op)(*a).astype(float)
        values.append(value)
    return values, doubt


def same(a: Any, b: Any) -> bool:
    """Equal numbers, both NaN, or zeros of either sign."""
    return bool(np.all((a == b) | (np.isnan(a) & np.isnan(b))))


def names(trace: Trace) -> list[str]:
    return [op for op in trace.ops if op not in ("none", "input", "constant")]


# ---- constants and conditions ----


def test_constants_are_kept_once_and_zeros_have_signs() -> None:
    trace = Trace()
    zero, minus = trace.constant(0.0), trace.constant(-0.0)
    assert zero != minus
    assert np.copysign(1.0, trace.values[minus]) == -1.0
    assert [trace.constant(v) for v in (0.0, -0.0, 2.5)] == [zero, minus, trace.constant(2.5)]
    assert min(trace.values) > 0  # zero is no number of an operation
    assert trace.constants(np.array([True, False])).is_truth
    assert not trace.constants(np.array([1.0, 0.0])).is_truth
    assert not trace.constants(np.array([1, 0])).is_truth
    assert trace.constants(2.5).shape == ()
    np.testing.assert_array_equal(
        [trace.values[k] for k in trace.constants(np.array([[1, 2], [3, 4]])).ids.flat], [1, 2, 3, 4]
    )
    for odd in (np.array(["a"]), np.array([None]), np.array([1j])):
        with pytest.raises(NotTraceable, match="an array of"):
            trace.constants(odd)


@pytest.mark.parametrize(
    ("condition", "fine", "odd"),
    [(FINITE, [0.0, -1e308], [np.inf, -np.inf, np.nan]), (TRUE, [1.0], [0.0, 2.0]), (FALSE, [0.0, -0.0], [1.0, 2.0])],
)
def test_conditions_on_constants_hold_or_nothing_is_recorded(
    condition: str, fine: Sequence[float], odd: Sequence[float]
) -> None:
    trace = Trace()
    for value in fine:
        trace.expect(condition, trace.constant(value))
    for value in odd:
        with pytest.raises(NotTraceable, match="holds for none"):
            trace.expect(condition, trace.constant(value))
    assert not names(trace)


@pytest.mark.parametrize(
    ("condition", "statement", "conditions"),
    [
        (TRUE, lambda x, y: (x < 1.0) & (y < 2.0), [(TRUE, "less"), (TRUE, "less")]),
        (FALSE, lambda x, y: (x < 1.0) | (y < 2.0), [(FALSE, "less"), (FALSE, "less")]),
        (FALSE, lambda x, y: (x < 1.0) & (y < 2.0), [(FALSE, "logical_and")]),
        (TRUE, lambda x, y: (x < 1.0) | (y < 2.0), [(TRUE, "logical_or")]),
        (TRUE, lambda x, y: ~(x < 1.0), [(FALSE, "less")]),
        (FALSE, lambda x, y: ~((x < 1.0) & (y < 2.0)), [(TRUE, "less"), (TRUE, "less")]),
        (TRUE, lambda x, y: np.isfinite(x), [(FINITE, "input")]),
        (FALSE, lambda x, y: np.isfinite(x), [(FALSE, "isfinite")]),
        (TRUE, lambda x, y: np.isnan(x), [(TRUE, "isnan")]),
        (FINITE, lambda x, y: -x, [(FINITE, "input")]),
        (FINITE, lambda x, y: abs(-x), [(FINITE, "input")]),
        (FINITE, lambda x, y: x + y, [(FINITE, "add")]),
        (TRUE, lambda x, y: np.equal(x, y), [(TRUE, "equal")]),
    ],
)
def test_conditions_are_taken_apart(condition: str, statement: Any, conditions: list[tuple[str, str]]) -> None:
    trace = Trace()
    x, y = trace.inputs(), trace.inputs()
    number = int(statement(x, y).ids.flat[0])
    before = len(trace.ops)
    for _ in range(2):  # once is enough
        trace.expect(condition, number)
    found = zip(trace.ops[before:], trace.args[before:], strict=True)
    assert [(op, trace.ops[a]) for op, (a,) in found] == conditions
    with np.errstate(all="ignore"):
        values, doubt = evaluated(trace, np.array([X, Y]))
    expected = {FINITE: np.isfinite, TRUE: lambda v: v == 1.0, FALSE: lambda v: v == 0.0}[condition]
    np.testing.assert_array_equal(doubt, ~expected(values[number]))


# ---- what is left out ----

RULES: list[tuple[Any, list[str]]] = [
    (lambda x, y: x + 0.0, []),
    (lambda x, y: 0.0 + x, []),
    (lambda x, y: x + 1.0, ["add"]),
    (lambda x, y: x - 0.0, []),
    (lambda x, y: 0.0 - x, ["negative"]),
    (lambda x, y: x - 1.0, ["subtract"]),
    (lambda x, y: 1.0 - x, ["subtract"]),
    (lambda x, y: x - y, ["subtract"]),
    (lambda x, y: x - (-y), ["negative", "add"]),
    (lambda x, y: x + (-y), ["negative", "subtract"]),
    (lambda x, y: (-x) + y, ["negative", "subtract"]),
    (lambda x, y: (-x) + (-y), ["negative", "negative", "add"]),
    (lambda x, y: (-x) + abs(y), ["negative", "absolute", "subtract"]),
    (lambda x, y: (-x) - y, ["negative", "subtract"]),
    (lambda x, y: x * 1.0, []),
    (lambda x, y: 1.0 * x, []),
    (lambda x, y: x * -1.0, ["negative"]),
    (lambda x, y: -1.0 * x, ["negative"]),
    (lambda x, y: x * 2.0, ["multiply"]),
    (lambda x, y: x * 0.0, [FINITE]),
    (lambda x, y: 0.0 * x, [FINITE]),
    (lambda x, y: x / 1.0, []),
    (lambda x, y: x / 2.0, ["divide"]),
    (lambda x, y: 1.0 / x, ["divide"]),
    (lambda x, y: x / y, ["divide"]),
    (lambda x, y: np.negative(-x), ["negative"]),
    (lambda x, y: abs(-x), ["negative", "absolute"]),
    (lambda x, y: abs(abs(x)), ["absolute"]),
    (lambda x, y: abs(abs(-x)), ["negative", "absolute"]),
    (lambda x, y: -abs(x), ["absolute", "negative"]),
    (lambda x, y: np.minimum(x, x), []),
    (lambda x, y: np.maximum(x, x), []),
    (lambda x, y: np.fmin(x, x), []),
    (lambda x, y: np.fmax(x, x), []),
    (lambda x, y: np.minimum(x, np.inf), []),
    (lambda x, y: np.minimum(np.inf, x), []),
    (lambda x, y: np.maximum(x, -np.inf), []),
    (lambda x, y: np.maximum(-np.inf, x), []),
    (lambda x, y: np.minimum(x, -np.inf), ["minimum"]),
    (lambda x, y: np.maximum(x, np.inf), ["maximum"]),
    (lambda x, y: np.fmin(x, np.inf), ["fmin"]),
    (lambda x, y: np.fmax(x, -np.inf), ["fmax"]),
    (lambda x, y: np.minimum(x, y), ["minimum"]),
    (lambda x, y: np.where(x < y, x, x), ["less"]),
    (lambda x, y: np.where(x < y, x, y), ["less", "where"]),
    (lambda x, y: np.where(np.array([True]), x, y), []),
    (lambda x, y: np.where(np.array([False]), x, y), []),
    (lambda x, y: np.where((x < y) & np.array([True]), x, y), ["less", "where"]),
    (lambda x, y: np.where(np.array([True]) & (x < y), x, y), ["less", "where"]),
    (lambda x, y: np.where((x < y) & np.array([False]), x, y), ["less"]),
    (lambda x, y: np.where(np.array([False]) & (x < y), x, y), ["less"]),
    (lambda x, y: np.where((x < y) | np.array([True]), x, y), ["less"]),
    (lambda x, y: np.where(np.array([True]) | (x < y), x, y), ["less"]),
    (lambda x, y: np.where((x < y) | np.array([False]), x, y), ["less", "where"]),
    (lambda x, y: np.where(np.array([False]) | (x < y), x, y), ["less", "where"]),
    (lambda x, y: x * 1.0 + np.sqrt(np.array([4.0])) * np.minimum(3.0, np.array([5.0])) - 6.0, ["add", "subtract"]),
    (lambda x, y: (x + y) * (y + x), ["add", "multiply"]),
    (lambda x, y: (x * y) - (y * x), ["multiply", "subtract"]),
    (lambda x, y: np.where(x < y, 1.0, 0.0) + np.where(y < x, 1.0, 0.0), ["less", "where", "less", "where", "add"]),
    (lambda x, y: np.where(np.equal(x, y) & np.equal(y, x), x, 2.0), ["equal", "logical_and", "where"]),
    (lambda x, y: np.where(x > y, x, y) + np.where(y < x, x, y), ["less", "where", "add"]),
    (lambda x, y: np.where(x >= y, x, y), ["less_equal", "where"]),
]


@pytest.mark.parametrize("earlier", [(), (0.0, -0.0, 1.0, -1.0, 2.0, np.inf, -np.inf)])
@pytest.mark.parametrize("k", range(len(RULES)))
def test_what_changes_no_number_is_left_out(k: int, earlier: tuple[float, ...]) -> None:
    """Whether constants have numbers before or after those of the inputs."""
    function, expected = RULES[k]
    trace = Trace()
    for value in earlier:
        trace.constant(value)
    result = trace.constants(0.0) + function(trace.inputs(), trace.inputs())
    assert names(trace) == expected
    with np.errstate(all="ignore"):
        values, doubt = evaluated(trace, np.array([X, Y]))
        reference = np.broadcast_to(function(X, Y), X.shape)
    found = values[int(result.ids.flat[0])]
    if FINITE in expected:
        np.testing.assert_array_equal(doubt, ~np.isfinite(X))
    else:
        assert not doubt.any()
    assert same(found[~doubt], reference[~doubt])


def test_operations_on_constants_are_evaluated() -> None:
    trace = Trace()
    x = int(trace.inputs().ids[0])
    zero, one, four, nine = (trace.constant(v) for v in (0.0, 1.0, 4.0, 9.0))

    def value(op: str, *args: int) -> float:
        return trace.values[trace.operation(op, args)]

    assert [value("sqrt", four), value("negative", four), value("isnan", nine), value("isfinite", nine)] == [
        2,
        -4,
        0,
        1,
    ]
    assert [value("add", four, nine), value("subtract", four, nine), value("divide", nine, four)] == [13, -5, 2.25]
    assert [value("less", four, nine), value("less", nine, four), value("power", nine, four)] == [1, 0, 6561]
    assert [value("where", one, four, nine), value("where", zero, four, nine)] == [4, 9]
    assert value("divide", one, zero) == np.inf
    assert np.isnan(value("divide", zero, zero))
    assert np.isnan(value("sqrt", trace.constant(-1.0)))
    assert [trace.operation("where", (one, x, four)), trace.operation("where", (zero, x, four))] == [x, four]
    assert [trace.operation("where", (one, four, x)), trace.operation("where", (zero, four, x))] == [four, x]
    assert not names(trace)
    choice = trace.operation("where", (trace.operation("less", (x, four)), one, nine))
    assert trace.ops[choice] == "where"


# ---- arrays ----

ARRAYS: list[Any] = [
    lambda x: x.T.T,
    lambda x: x[:, ::-1, 1:],
    lambda x: x[..., None] + x[:, :, None],
    lambda x: x.reshape(len(x), 6),
    lambda x: x.transpose((0, 2, 1)),
    lambda x: x.swapaxes(1, 2) @ x,
    lambda x: x @ np.arange(6.0).reshape(3, 2),
    lambda x: np.arange(6.0).reshape(3, 2) @ x,
    lambda x: x[:, None] @ x.swapaxes(1, 2)[:, None],
    lambda x: x.sum(-1),
    lambda x: x.sum(1),
    lambda x: x.sum(-1, keepdims=True),
    lambda x: x[:, :0].sum(1),
    lambda x: x[:, :0].sum(1, keepdims=True),
    lambda x: x[:, :1].sum(1),
    lambda x: (x < 0.0)[:, :1].sum(1),
    lambda x: x[:, :1].max(1),
    lambda x: (x[:, :0] < 0.0).all(1),
    lambda x: (x[:, :0] < 0.0).any(axis=(1, 2)),
    lambda x: x if (x * np.array([0.0, 1.0, 1.0])).any() else 2.0 * x,
    lambda x: np.stack([x < 0.0, x], 1),
    lambda x: np.concatenate([x, x < 0.0], 1),
    lambda x: x.max(1),
    lambda x: x.max(-1, keepdims=True),
    lambda x: x.min(1),
    lambda x: x.min(-1, keepdims=True),
    lambda x: (x < 0.5).all(-1),
    lambda x: (x < 0.5).all(axis=(1, 2)),
    lambda x: (x < -0.5).any(axis=1),
    lambda x: (x < -0.5).any(axis=(-1, -2)),
    lambda x: np.clip(x, -0.2, 0.3),
    lambda x: np.concatenate([x, 2.0 * x], 1),
    lambda x: np.concatenate([x, x[:1]], axis=0)[: len(x)],
    lambda x: np.stack([x, -x], -1),
    lambda x: np.stack([x < 0.0, x > 0.5], 1),
    lambda x: np.broadcast_to(x[:, None], (len(x), 2, 2, 3)),
    lambda x: np.add(*np.broadcast_arrays(x[:, :1], x)),
    lambda x: np.zeros_like(x) + x,
    lambda x: np.zeros_like(x, dtype=bool) | (x < 0.0),
    lambda x: np.full_like(x, 2.5) * x,
    lambda x: np.copy(x, order="C"),
    lambda x: np.where(x < 0.0, x, 1.0),
    lambda x: np.where(x < 0.0, x < -0.5, x > 0.5),
    lambda x: np.where(x < 0.0, x, x > 0.5),
    lambda x: np.where(x < 0.0, x < -0.5, x),
    lambda x: np.einsum("...ii->...i", x[:, :, :2]),
    lambda x: x if x.any() else 0.0 * x,
    lambda x: x if np.zeros_like(x).any() else 2.0 * x,
    lambda x: np.not_equal(x, 0.0),
    lambda x: np.power(np.abs(x), 2.0) + np.hypot(x, 1.0) + np.arctan2(x, 2.0),
]


@pytest.mark.parametrize("k", range(len(ARRAYS)))
def test_arrays_are_moved_and_folded_as_numpys(k: int) -> None:
    function = ARRAYS[k]
    trace, (result,) = recorded(lambda x: [function(x)], (2, 3))
    x = np.random.default_rng(k).normal(size=(5, 2, 3))
    x[0, 0, 0] = 0.0
    values, doubt = evaluated(trace, x.reshape(5, 6).T)
    reference = function(x)
    found = np.array([values[i] for i in result.ids.flat]).T.reshape(5, *result.shape[1:])
    assert reference.shape == (5, *result.shape[1:])
    assert result.is_truth == (reference.dtype == bool)
    np.testing.assert_allclose(found, reference, rtol=1e-15)
    assert not doubt.any()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x @ x[0, 0], "vector"),
        (lambda x: x[0, 0] @ x.swapaxes(1, 2), "vector"),
        (lambda x: x[x > 0.0], "selected"),
        (lambda x: x[:, x[0] > 0.0], "selected"),
        (lambda x: x.__setitem__(x > 0.0, 1.0), "selected"),
        (lambda x: (x > 0.0).__setitem__(0, x[0]), "truths are overwritten"),
        (lambda x: x.any(axis=1), "any of numbers"),
        (lambda x: x.all(), "all of numbers"),
        (lambda x: x.all(1), "all of numbers"),
        (lambda x: float(x[0, 0, 0]), "a number is required"),
        (lambda x: bool(x[0, 0, 0] > 0.0), "a branch depends"),
        (lambda x: bool((x > 0.0).all(axis=(0, 1, 2))), "a branch depends"),
        (lambda x: np.asarray(x), "an array of numbers"),
        (lambda x: np.add.reduce(x), r"add\.reduce"),
        (lambda x: np.add(x, x, where=True), r"add\.__call__"),
        (lambda x: np.cbrt(x), "cbrt"),
        (lambda x: np.remainder(x, 2.0), "remainder"),
        (lambda x: np.sort(x), "sort"),
        (lambda x: np.einsum("bij->bji", x), "einsum"),
        (lambda x: np.where(x, x, x), "a choice by numbers"),
        (lambda x: np.logical_or(x > 0.0, x), "as of truths"),
        (lambda x: -(x > 0.0), "as of truths"),
        (lambda x: (x > 0.0) - (x > 1.0), "as of truths"),
    ],
)
def test_what_no_list_can_say_is_refused(function: Any, message: str) -> None:
    with pytest.raises(NotTraceable, match=message):
        function(Trace().inputs(2, 3))
    with pytest.raises(ValueError, match="more than one element"):
        bool(Trace().inputs(2, 3) > 0.0)


def test_branches_take_the_usual_way_and_presume_it() -> None:
    def branching(x: Any) -> list[Any]:
        if not np.isfinite(x).all():
            x = 0.0 * x
        if (x < 0.0).any():
            x = -x
        if np.all(x <= 5.0):
            x = x + 1.0
        if np.any(x > 8.0):
            x = x + 100.0
        return [x]

    x = np.array([[1.0, 2.0], [np.inf, 1.0], [1.0, np.nan], [-1.0, 2.0], [2.0, 6.0], [-np.inf, 0.0]])
    trace, (result,) = recorded(branching, (2,))
    values, doubt = evaluated(trace, x.T)
    assert doubt.tolist() == [False, True, True, True, True, True]
    np.testing.assert_array_equal([values[k][0] for k in result.ids.flat], [2.0, 3.0])


def test_entries_are_overwritten_in_place() -> None:
    trace = Trace()
    x = trace.inputs(3)
    whole, copied = x[:, 1:], x.copy()
    x[:, 1] = 4.0
    x[..., 2] = x[:, 0] < 0.0  # truths are numbers, too
    assert whole.ids[0, 0] == trace.constant(4.0)
    assert trace.ops[copied.ids[0, 1]] == "input"
    assert not x.is_truth
    np.subtract(x, 1.0, out=x)
    assert trace.ops[x.ids[0, 0]] == "subtract"
    assert trace.values[int(x.ids[0, 1])] == 3.0
    truths = x < 0.0
    truths[:, 1] = x[:, 0] > 1.0
    assert truths.is_truth
    assert len(x) == 1
    assert x.ndim == 2
    first = trace.inputs(2).ids
    assert [trace.args[k] for k in first.flat] == [(3,), (4,)]
    assert trace.count == 5


def test_eigenvectors_are_entries_of_one_operation() -> None:
    trace, (Q,) = recorded(lambda a: [np.linalg.eigh(a)[1]], (2, 2))
    start = trace.ops.index("eigenvectors")
    assert trace.args[start] == tuple(range(1, 5))
    assert Q.ids.tolist() == [[[start + 1, start + 2], [start + 3, start + 4]]]
    assert [trace.args[k] for k in Q.ids.flat] == [(start, k) for k in range(4)]
    trace, (Q,) = recorded(lambda a: [np.linalg.eigh(a)[1]], (3, 2, 2))
    assert Q.shape == (1, 3, 2, 2)
    assert trace.ops.count("eigenvectors") == 3
    assert recorded(lambda x: [np.concatenate([x, x])], (3,))[1][0].shape == (2, 3)


# ---- made ready to run ----

T, U = TINY, ULP
STEPS: list[tuple[Any, list[str]]] = [
    (lambda x, y, z: x * y + z, ["multiply_add"]),
    (lambda x, y, z: z + x * y, ["multiply_add"]),
    (lambda x, y, z: abs(x) * y + z, ["absolute_multiply_add"]),
    (lambda x, y, z: x * abs(y) + z, ["absolute_multiply_add"]),
    (lambda x, y, z: x * 3.0 + z, ["multiply_number_add"]),
    (lambda x, y, z: 3.0 * x + z, ["multiply_number_add"]),
    (lambda x, y, z: z - x * 3.0, ["multiply_number_add"]),
    (lambda x, y, z: z - 3.0 * x, ["multiply_number_add"]),
    (lambda x, y, z: z - x * y, ["multiply", "subtract"]),
    (lambda x, y, z: x * 3.0 - z, ["multiply_number", "subtract"]),
    (lambda x, y, z: x + 3.0, ["add_number"]),
    (lambda x, y, z: 3.0 + x, ["add_number"]),
    (lambda x, y, z: x - 3.0, ["add_number"]),
    (lambda x, y, z: 3.0 - x, ["subtract"]),
    (lambda x, y, z: x * 3.0, ["multiply_number"]),
    (lambda x, y, z: x / 3.0, ["divide"]),
    (lambda x, y, z: np.minimum(x, 3.0), ["minimum_number"]),
    (lambda x, y, z: np.maximum(3.0, x), ["maximum_number"]),
    (lambda x, y, z: np.fmin(x, 3.0), ["fmin"]),
    (lambda x, y, z: (x * y + z) * (x * y), ["multiply", "add", "multiply"]),
    (lambda x, y, z: (z - x * 3.0) * (x * 3.0), ["multiply_number", "subtract", "multiply"]),
    (lambda x, y, z: below(x), ["below"]),
    (lambda x, y, z: above(x), ["above"]),
    (lambda x, y, z: below(x, U, T), ["below_tiny"]),
    (lambda x, y, z: above(x, U, T), ["above_tiny"]),
    (lambda x, y, z: below(x + y), ["sum_below"]),
    (lambda x, y, z: above(x + y), ["sum_above"]),
    (lambda x, y, z: below(x - y), ["difference_below"]),
    (lambda x, y, z: above(x - y), ["difference_above"]),
    (lambda x, y, z: below(x + 3.0), ["add_number", "below"]),
    (lambda x, y, z: above(x - 3.0), ["add_number", "above"]),
    (lambda x, y, z: below(x * y), ["multiply", "below"]),
    (lambda x, y, z: below(abs(x)), ["absolute", "below"]),
    (lambda x, y, z: above(-x), ["negative", "above"]),
    (lambda x, y, z: below(x, 4 * U), ["minimum_number", "absolute", "multiply_number_add"]),
    (lambda x, y, z: above(x, 4 * U), ["maximum_number", "absolute", "multiply_number_add"]),
    (lambda x, y, z: below(x, U, 1.0), ["minimum_number", "absolute", "multiply_number_add", "subtract"]),
    (lambda x, y, z: np.minimum(x, 2.0) - abs(x) * U, ["minimum_number", "absolute", "multiply_number_add"]),
    (lambda x, y, z: np.minimum(x, MAX) - abs(y) * U, ["minimum_number", "absolute", "multiply_number_add"]),
    (lambda x, y, z: np.maximum(x, -MAX) + abs(y) * U, ["maximum_number", "absolute", "multiply_number_add"]),
    (lambda x, y, z: np.minimum(x, MAX) + abs(x) * U, ["minimum_number", "absolute", "multiply_number_add"]),
    (lambda x, y, z: np.maximum(x, MAX) + abs(x) * U, ["maximum_number", "absolute", "multiply_number_add"]),
    (lambda x, y, z: np.minimum(x, MAX) - abs(x) / U, ["minimum_number", "absolute", "divide", "subtract"]),
    (lambda x, y, z: np.minimum(x, MAX) - y * U, ["minimum_number", "multiply_number_add"]),
]


@pytest.mark.parametrize("earlier", [(), (3.0, U, 4 * U, T, MAX, -MAX)])
@pytest.mark.parametrize("k", range(len(STEPS)))
def test_short_sequences_become_one_operation_of_the_same_bits(k: int, earlier: tuple[float, ...]) -> None:
    """Whether constants have numbers before or after those of the inputs."""
    function, expected = STEPS[k]
    trace = Trace()
    for value in earlier:
        trace.constant(value)
    result = int(function(*[trace.inputs() for _ in range(3)]).ids.flat[0])
    steps = _chosen(trace, [result])
    assert sorted(step.op for step in steps.values() if step.op != "input") == sorted(expected)
    rng = np.random.default_rng(k)
    drawn = rng.normal(size=(3, 400)) * 10.0 ** rng.integers(-12, 12, (3, 400))
    given = np.concatenate([drawn, rng.choice(SPECIAL, (3, 200))], axis=1)
    found, doubt = Tape(trace, [result])(given)
    with np.errstate(all="ignore"):
        assert same(found[0], function(*given))
    assert not doubt.any()


def _product(a: Any, b: Any, c: Any, d: Any, extreme: Any) -> Any:
    return extreme(extreme(a * c, a * d), extreme(b * c, b * d))


@pytest.mark.parametrize(("side", "extreme"), [(below, np.fmin), (above, np.fmax)])
def test_products_of_intervals_are_one_operation(side: Any, extreme: Any) -> None:
    def corners(a: Any, b: Any, c: Any, d: Any) -> list[Any]:
        other = np.fmax if extreme is np.fmin else np.fmin
        return [
            side(_product(a, b, c, d, extreme), U, T),
            side(_product(a, b, c, d, other), U, T),
            side(extreme(extreme(a * c, a * d), other(b * c, b * d)), U, T),
            side(extreme(extreme(a * c, a * d), extreme(b * c, a * b)), U, T),
            side(extreme(extreme(a * c, b * d), extreme(b * c, a * d)), U, T),
            side(_product(a, b, c, 2.0, extreme), U, T),
            side(_product(a, b, a, b, extreme), U, T),
            side(extreme(extreme(a * c, a + d), extreme(b * c, b * d)), U, T),
        ]

    trace, results = recorded(corners, (), (), (), ())
    ops = [step.op for step in _chosen(trace, [int(x.ids.flat[0]) for x in results]).values()]
    name = "product_below" if side is below else "product_above"
    assert ops.count(name) >= 1
    only = _chosen(trace, [int(results[0].ids.flat[0])])
    assert [step.op for step in only.values() if step.op != "input"] == [name]
    rng = np.random.default_rng(0)
    given = rng.normal(size=(4, 500)) * 10.0 ** rng.integers(-5, 5, (4, 500))
    found, _ = Recorded(corners, (), (), (), ())(*given)
    for a, b in zip(found, corners(*given), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_nothing_depends_on_is_not_run() -> None:
    def function(x: Any, y: Any) -> list[Any]:
        _ = np.exp(x) * y
        if not np.isfinite(x * y + 1.0).all():
            raise ArithmeticError
        if np.isnan(x).any() or not np.isfinite(x).all():  # both implied by the first
            raise ArithmeticError
        return [x + y, x, 2.0]

    trace, results = recorded(function, (), ())
    steps = _chosen(trace, [int(r.ids.flat[0]) for r in results])
    ops = [step.op for step in steps.values() if step.op not in ("input", "constant")]
    assert ops == ["multiply", "expect_finite_sum", "add"]
    x, y = np.array([1.0, np.inf, np.nan, 1e200, 1.0]), np.array([2.0, 1.0, 1.0, 1e200, -np.inf])
    found, doubt = Recorded(lambda x, y: [*function(x, y)[:2], np.zeros_like(x) + 2.0], (), ())(x, y)
    assert doubt.tolist() == [False, True, True, True, True]
    assert [a[0] for a in found] == [3.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("function", "implied"),
    [
        (lambda x, y: x - y, True),
        (lambda x, y: -abs(x) * 2.0, True),
        (lambda x, y: x / y, True),
        (lambda x, y: y / x, False),  # 1 / inf is finite
        (lambda x, y: np.minimum(x, y), False),
        (lambda x, y: np.tanh(x), False),
        (lambda x, y: np.where(y < 0.0, x, y), False),
    ],
)
def test_finite_results_imply_finite_operands_where_they_do(function: Any, implied: bool) -> None:
    def presumed(x: Any, y: Any) -> list[Any]:
        value = function(x, y)
        assert np.isfinite(value).all()
        assert np.isfinite(x).all()
        return [value]

    trace, results = recorded(presumed, (), ())
    ops = [step.op for step in _chosen(trace, [int(results[0].ids.flat[0])]).values()]
    assert ops.count("expect_finite") == (1 if implied else 2)
    _, doubt = Recorded(presumed, (), ())(X, Y)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(doubt, ~(np.isfinite(function(X, Y)) & np.isfinite(X)))


@pytest.mark.parametrize(
    ("statement", "presumed"),
    [
        (lambda x, y: (x < 0.0).any(), lambda x, y: ~(x < 0.0)),
        (lambda x, y: np.isnan(x).any(), lambda x, y: ~np.isnan(x)),
        (lambda x, y: not (x < y).all(), lambda x, y: x < y),
        (lambda x, y: not np.isnan(x).all(), lambda x, y: np.isnan(x)),
    ],
)
def test_statements_stay_conditions_though_they_are_finite_numbers(statement: Any, presumed: Any) -> None:
    def function(x: Any, y: Any) -> list[Any]:
        if statement(x, y):
            raise ArithmeticError
        for truth in (x < 0.0, x < y, np.isnan(x)):
            if not np.isfinite(truth * y).all():
                raise ArithmeticError
        return [y + 1.0]

    _, doubt = Recorded(function, (), ())(X, Y)
    np.testing.assert_array_equal(doubt, ~(presumed(X, Y) & np.isfinite(Y)))


def test_entries_of_eigenvectors_take_what_computes_them_along() -> None:
    a = np.array([[[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 3.0]]])
    (first, last), _ = Recorded(lambda a: [np.linalg.eigh(a)[1][:, 0, 0], np.linalg.eigh(a)[1][:, 1, 1]], (2, 2))(a)
    np.testing.assert_allclose(np.abs(first), [0.5**0.5, 1.0])
    np.testing.assert_allclose(np.abs(last), [0.5**0.5, 1.0])


def test_a_tape_knows_its_operations() -> None:
    trace = Trace()
    x = trace.inputs()
    trace._add("cube", (int(x.ids.flat[0]),))
    with pytest.raises(NotTraceable, match="cube"):
        Tape(trace, [1])


def test_rows_are_free_again_once_nothing_reads_them() -> None:
    def chain(x: Any, y: Any) -> list[Any]:
        kept = x
        for k in range(30):
            x, y = np.sqrt(x * x + y), np.abs(x - y) / 3.0 + k
        return [x, kept, y, x + kept]

    record = Recorded(chain, (), ())
    assert record.tape._rows <= 60  # 30 of them are the constants
    given = np.random.default_rng(0).random((2, 700))
    found, _ = record(*given)
    for a, b in zip(found, chain(*given), strict=True):
        np.testing.assert_array_equal(a, b)
