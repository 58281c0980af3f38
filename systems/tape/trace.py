"""Arrays that record computations as a list of operations on doubles.

numpy dispatches calls to its arguments (NEP 13 and 18), so code written for arrays (b, n) of boxes is recorded by
calling it with a batch of one box. The list contains the operations that numpy performs, in the same order and with
the same rounding, so its results are bounds whenever numpy's are. Two simplifications are made in advance: operations
on constants are evaluated, and operations that do not change a number, such as a product with 1, are omitted.

Code may branch on whether a condition holds for any or all of its boxes. Since one box does not represent the others,
the usual outcome is assumed: nothing is undefined, nothing overflows, all bounds are ordered. Each assumption is
recorded as a condition, which is checked for every box.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

__all__ = ["NotTraceable", "Trace", "Traced"]

FINITE, TRUE, FALSE = "expect_finite", "expect_true", "expect_false"
"""Conditions: that a number is finite, and that a statement is true or false."""

_TRUTHS = frozenset(
    {"less", "less_equal", "equal", "not_equal", "isfinite", "isnan", "logical_not", "logical_and", "logical_or"}
)
_SAME = {
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "invert": "logical_not",
    "bitwise_not": "logical_not",
}
_SWAPPED = {"greater": "less", "greater_equal": "less_equal"}
_UNARY = frozenset(
    {"negative", "absolute", "sqrt", "floor", "ceil", "sign", "exp", "expm1", "log", "log1p", "sin", "cos", "tan"}
    | {"arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh"}
    | {"isfinite", "isnan", "logical_not"}
)
_BINARY = frozenset(
    {"add", "subtract", "multiply", "divide", "minimum", "maximum", "fmin", "fmax", "arctan2", "hypot", "power"}
    | {"less", "less_equal", "equal", "not_equal", "logical_and", "logical_or"}
)
_OF_TRUTHS = frozenset({"logical_not", "logical_and", "logical_or"})
_COMMUTES = frozenset({"add", "multiply", "equal", "not_equal", "logical_and", "logical_or"})


class NotTraceable(Exception):
    """The code uses its arrays in a way that a list of operations on one box cannot represent."""


@final
class Trace:
    """The list: operation k has the name ``ops[k]`` and the numbers of earlier ones as arguments, ``args[k]``.

    ``values`` contains the numbers of operations that are constants. Truth values are 1 and 0.
    """

    def __init__(self) -> None:
        self.ops: list[str] = []
        self.args: list[tuple[int, ...]] = []
        self.values: dict[int, float] = {}
        self.known: dict[Any, int] = {}
        self._add("none", ())  # so that operations are numbered from 1

    def inputs(self, *shape: int) -> Traced:
        """New inputs, as an array with a batch of one: (1, *shape)."""
        ids = [self._add("input", (k,)) for k in range(self.count, self.count + int(np.prod(shape)))]
        self.count += len(ids)
        return Traced(self, np.array(ids, dtype=np.int64).reshape(1, *shape), False)

    count = 0  # of the inputs so far

    def constant(self, value: float) -> int:
        key = (value, str(value)) if value == 0.0 or value != value else value  # -0.0 is not 0.0
        if key not in self.known:
            self.known[key] = k = self._add("constant", ())
            self.values[k] = value
        return self.known[key]

    def constants(self, x: Any) -> Traced:
        """An array of numbers or truth values as an array of constants."""
        if type(x) is float:
            return Traced(self, np.array(self.constant(x)), False)
        x = np.asarray(x)
        if x.dtype.kind not in "bfiu":
            raise NotTraceable(f"an array of {x.dtype}")
        ids = np.array([self.constant(v) for v in x.astype(np.float64).ravel().tolist()], dtype=np.int64)
        return Traced(self, ids.reshape(x.shape), x.dtype.kind == "b")

    def expect(self, condition: str, a: int) -> None:
        """Records a condition on the boxes to be evaluated."""
        value = self.values.get(a)
        if value is not None:
            if not {FINITE: np.isfinite(value), TRUE: value == 1.0, FALSE: value == 0.0}[condition]:
                raise NotTraceable("a condition assumed of every box holds for none")
            return
        if (condition, a) in self.known:
            return
        negated = {TRUE: FALSE, FALSE: TRUE}
        joins = {TRUE: "logical_and", FALSE: "logical_or"}
        if self.ops[a] == "logical_not":
            self.expect(negated[condition], self.args[a][0])
        elif condition in joins and self.ops[a] == joins[condition]:
            for part in self.args[a]:
                self.expect(condition, part)
        elif (condition == TRUE and self.ops[a] == "isfinite") or (
            condition == FINITE and self.ops[a] in ("negative", "absolute")
        ):
            self.expect(FINITE, self.args[a][0])
        else:
            self.known[condition, a] = self._add(condition, (a,))

    def operation(self, op: str, args: tuple[int, ...]) -> int:
        """The number of an operation, which may have been recorded before or be a constant."""
        number = self.known.get((op, args))
        if number is None and op in _COMMUTES and args[0] > args[1]:
            number = self.operation(op, args[::-1])
        elif number is None:
            number = self._simplified(op, args)
            if number is None:
                number = self._add(op, args)
        self.known[op, args] = number
        return number

    def eigenvectors(self, ids: np.ndarray) -> np.ndarray:
        """Approximate eigenvectors of a symmetric matrix (n, n), by columns; nothing may depend on their accuracy."""
        n = len(ids)
        first = self._add("eigenvectors", tuple(ids.flat))
        return np.array([self._add("entry", (first, k)) for k in range(n * n)], dtype=np.int64).reshape(n, n)

    def _add(self, op: str, args: tuple[int, ...]) -> int:
        self.ops.append(op)
        self.args.append(args)
        return len(self.ops) - 1

    def _simplified(self, op: str, args: tuple[int, ...]) -> int | None:
        """An equal operation that was recorded before, or a constant; None if there is none."""
        x, y = args[0], args[-1]
        a, b = self.values.get(x), self.values.get(y)
        if a is not None and b is not None and (len(args) < 3 or args[1] in self.values):
            return self.constant(_evaluated(op, [self.values[k] for k in args]))
        if op == "add":
            return y if a == 0.0 else x if b == 0.0 else self._difference(x, y)
        if op == "subtract":
            if b == 0.0:
                return x
            if a == 0.0:
                return self.operation("negative", (y,))
            return self.operation("add", (x, self.args[y][0])) if self.ops[y] == "negative" else None
        if op == "multiply":
            return self._product(x, y, a, b)
        if op == "divide" and b == 1.0:
            return x
        if op == "negative" and self.ops[x] == "negative":
            return self.args[x][0]
        if op == "absolute" and self.ops[x] in ("negative", "absolute"):
            return x if self.ops[x] == "absolute" else self.operation("absolute", self.args[x])
        if op == "where":
            if a is not None:
                return args[1] if a else y
            return y if args[1] == y else None
        if op == "logical_and":
            return (y if a else x) if a is not None else (x if b else y) if b is not None else None
        if op == "logical_or":
            return (x if a else y) if a is not None else (y if b else x) if b is not None else None
        if op in ("minimum", "maximum", "fmin", "fmax") and x == y:
            return x
        if (op == "minimum" and np.inf in (a, b)) or (op == "maximum" and -np.inf in (a, b)):
            return y if a is not None else x  # NaN remains NaN
        return None

    def _difference(self, x: int, y: int) -> int | None:
        """A sum in which one term is a negated value."""
        if self.ops[y] == "negative" and self.ops[x] != "negative":
            return self.operation("subtract", (x, self.args[y][0]))
        if self.ops[x] == "negative" and self.ops[y] != "negative":
            return self.operation("subtract", (y, self.args[x][0]))
        return None

    def _product(self, x: int, y: int, a: float | None, b: float | None) -> int | None:
        for value, other in ((a, y), (b, x)):
            if value == 1.0:
                return other
            if value == -1.0:
                return self.operation("negative", (other,))
            if value == 0.0:  # if the other operand is not NaN
                self.expect(FINITE, other)
                return self.constant(0.0)
        return None


def _evaluated(op: str, values: list[Any]) -> float:
    with np.errstate(all="ignore"):
        if op == "where":
            return float(values[1] if values[0] else values[2])
        return float(getattr(np, op)(*map(np.float64, values)))


@final
class Traced(NDArrayOperatorsMixin):
    """An array of numbers or truth values of a trace, identified by ``ids``."""

    __slots__ = ("ids", "is_truth", "presumed", "trace")
    is_traced = True  # so that no overflow is missed

    def __init__(self, trace: Trace, ids: np.ndarray, is_truth: bool, presumed: str | None = None) -> None:
        self.trace, self.ids, self.is_truth = trace, ids, is_truth
        self.presumed = presumed  # of a single truth value that decides a branch

    def _of(self, x: Any) -> Traced:
        return x if isinstance(x, Traced) else self.trace.constants(x)

    def _apply(self, op: str, *inputs: Any) -> Traced:
        trace = self.trace
        given = [x.ids if type(x) is Traced else self._of(x).ids for x in inputs]
        shape = given[0].shape
        if any(ids.shape != shape for ids in given[1:]):
            given = list(np.broadcast_arrays(*given))
            shape = given[0].shape
        known, operation = trace.known, trace.operation
        rows = zip(*(ids.ravel().tolist() for ids in given), strict=True)
        results = [known.get((op, row)) or operation(op, row) for row in rows]
        is_truth = op in _TRUTHS or (op == "where" and all(self._of(x).is_truth for x in inputs[1:]))
        return Traced(trace, np.array(results, dtype=np.int64).reshape(shape), is_truth)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (), **kwargs: Any) -> Any:
        name = _SAME.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or kwargs:
            raise NotTraceable(f"{ufunc.__name__}.{method}")
        if name == "matmul":
            return self._matmul(*inputs)
        if name in _SWAPPED:
            name, inputs = _SWAPPED[name], inputs[::-1]
        if (len(inputs) == 1 and name not in _UNARY) or (len(inputs) == 2 and name not in _BINARY):
            raise NotTraceable(ufunc.__name__)
        truths = [self._of(x).is_truth for x in inputs]
        if (name in _OF_TRUTHS and not all(truths)) or (name in ("add", "subtract", "negative") and all(truths)):
            raise NotTraceable(f"{ufunc.__name__} of numbers as of truths, or the other way round")
        result = self._apply(name, *inputs)
        if out:
            out[0][...] = result
            return out[0]
        return result

    def _matmul(self, a: Any, b: Any) -> Traced:
        """Sums of products from left to right; the bounds of matrix products hold for any order."""
        a, b = self._of(a), self._of(b)
        if b.ndim < 2 or a.ndim < 2:
            raise NotTraceable("a product with a vector that is not written as a column")
        products = Traced(self.trace, a.ids[..., :, :, None], False) * Traced(self.trace, b.ids[..., None, :, :], False)
        return products.sum(-2)

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        rule = _FUNCTIONS.get(func.__name__)
        if rule is None:
            raise NotTraceable(func.__name__)
        return rule(self, *args, **kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotTraceable("an array of numbers is required")

    def __float__(self) -> float:
        raise NotTraceable("a number is required")

    def __bool__(self) -> bool:
        if self.ids.size != 1:
            raise ValueError("the truth value of an array with more than one element is ambiguous")
        value = self.trace.values.get(int(self.ids.flat[0]))
        if value is not None:
            return bool(value)
        if self.presumed is None:
            raise NotTraceable("a branch depends on the value of one box")
        self.trace.expect(self.presumed, int(self.ids.flat[0]))
        return self.presumed == TRUE

    # ---- the interface of arrays ----

    @property
    def shape(self) -> tuple[int, ...]:
        return self.ids.shape

    @property
    def ndim(self) -> int:
        return self.ids.ndim

    @property
    def T(self) -> Traced:
        return self._moved(self.ids.T)

    def _moved(self, ids: np.ndarray) -> Traced:
        return Traced(self.trace, ids, self.is_truth)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: Any) -> Traced:
        _expect_plain(key)
        return self._moved(np.asarray(self.ids[key]))

    def __setitem__(self, key: Any, value: Any) -> None:
        _expect_plain(key)
        value = self._of(value)
        if self.is_truth and not value.is_truth:
            raise NotTraceable("truths are overwritten by numbers")
        self.ids[key] = value.ids  # in place, so that all views of these entries change

    def reshape(self, *shape: Any) -> Traced:
        return self._moved(self.ids.reshape(*shape))

    def transpose(self, axes: Any) -> Traced:
        return self._moved(self.ids.transpose(axes))

    def swapaxes(self, a: int, b: int) -> Traced:
        return self._moved(self.ids.swapaxes(a, b))

    def copy(self) -> Traced:
        return self._moved(self.ids.copy())

    def _folded(self, op: str, axis: int, keepdims: bool = False) -> Traced:
        ids = np.moveaxis(self.ids, axis, 0)
        result = Traced(self.trace, ids[0].copy(), self.is_truth and op != "add")
        for part in ids[1:]:
            result = self._apply(op, result, self._moved(part))
        return self._moved(np.expand_dims(result.ids, axis)) if keepdims else result

    def sum(self, axis: int, keepdims: bool = False) -> Traced:
        if not self.ids.shape[axis]:
            return self.trace.constants(np.zeros(self.ids.sum(axis, keepdims=keepdims).shape))
        return self._folded("add", axis, keepdims)

    def max(self, axis: int, keepdims: bool = False) -> Traced:
        return self._folded("maximum", axis, keepdims)

    def min(self, axis: int, keepdims: bool = False) -> Traced:
        return self._folded("minimum", axis, keepdims)

    def all(self, axis: Any = None) -> Traced:
        return self._joined("logical_and", TRUE, 1.0, axis)

    def any(self, axis: Any = None) -> Any:
        if not self.is_truth:  # whether an array is entirely zero, so that work can be saved
            if axis is not None:
                raise NotTraceable("any of numbers")
            return bool((self.ids != self.trace.constant(0.0)).any())
        return self._joined("logical_or", FALSE, 0.0, axis)

    def _joined(self, op: str, presumed: str, neutral: float, axis: Any) -> Traced:
        if not self.is_truth:
            raise NotTraceable("all of numbers")
        axes = tuple(range(self.ndim)) if axis is None else tuple(np.atleast_1d(axis) % self.ndim)
        kept = [k for k in range(self.ndim) if k not in axes]
        ids = self.ids.transpose(*kept, *axes).reshape(*(self.shape[k] for k in kept), -1)
        start = self.trace.constant(neutral)
        result = Traced(self.trace, np.full(ids.shape[:-1], start, np.int64), True)
        for k in range(ids.shape[-1]):
            result = self._apply(op, result, self._moved(ids[..., k]))
        return Traced(self.trace, result.ids, True, presumed if axis is None else None)


def _expect_plain(key: Any) -> None:
    if any(isinstance(k, Traced) for k in (key if isinstance(key, tuple) else (key,))):
        raise NotTraceable("entries are selected by the values of one box")


def _copyto(like: Traced, to: Traced, value: Any, where: Any) -> None:
    to[...] = _where(like, where, value, to)


def _where(like: Traced, condition: Any, a: Any, b: Any) -> Traced:
    if not like._of(condition).is_truth:
        raise NotTraceable("a choice by numbers")
    return like._apply("where", condition, a, b)


def _filled(x: Any, shape: Any, value: float, dtype: Any, trace: Trace) -> Traced:
    shape = np.shape(x) if shape is None else shape
    return Traced(trace, np.full(shape, trace.constant(float(value)), np.int64), dtype is bool)


def _eigh(like: Traced, x: Traced) -> tuple[None, Traced]:
    vectors = [like.trace.eigenvectors(matrix) for matrix in x.ids.reshape(-1, *x.shape[-2:])]
    return None, Traced(like.trace, np.array(vectors, dtype=np.int64).reshape(x.shape), False)


def _einsum(like: Traced, rule: str, *a: Any) -> Traced:
    if rule != "...ii->...i":
        raise NotTraceable(f"einsum {rule}")
    return a[0]._moved(np.einsum(rule, a[0].ids))


def _broadcast(like: Traced, *a: Any) -> list[Traced]:
    given = [like._of(x) for x in a]
    joined = np.broadcast_arrays(*(x.ids for x in given))
    return [x._moved(np.array(ids)) for x, ids in zip(given, joined, strict=True)]


def _joined(function: Any) -> Any:
    def rule(like: Traced, parts: Any, axis: int = 0) -> Traced:
        given = [like._of(part) for part in parts]
        return Traced(like.trace, function([part.ids for part in given], axis), all(part.is_truth for part in given))

    return rule


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": _where,
    "concatenate": _joined(np.concatenate),
    "stack": _joined(np.stack),
    "clip": lambda like, x, low, high: np.minimum(np.maximum(x, low), high),
    "broadcast_arrays": _broadcast,
    "broadcast_to": lambda like, x, shape: x._moved(np.broadcast_to(x.ids, shape)),
    "zeros_like": lambda like, x, dtype=None, shape=None: _filled(x, shape, 0.0, dtype, like.trace),
    "full_like": lambda like, x, value: _filled(x, None, value, None, like.trace),
    "empty_like": lambda like, x, shape: _filled(x, shape, 0.0, None, like.trace),
    "copy": lambda like, x, order="K": x.copy(),
    "copyto": _copyto,
    "shape": lambda like, x: x.shape,
    "any": lambda like, x: x.any(),
    "all": lambda like, x: x.all(),
    "eigh": _eigh,
    "einsum": _einsum,
}
