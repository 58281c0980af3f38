"""Runs lists of operations on blocks of boxes: each operation is one loop over numbers in the cache.

The loops are compiled once and used for all lists. Sums, products, quotients and roots are rounded as in numpy (no
contraction of sums and products, no reassociation); the elementary functions are those of the C library, for which
``systems.arithmetic.rounding.LIBRARY`` assumes the same accuracy as for numpy's.
"""

from __future__ import annotations

import numpy as np

from systems.verified_cache import compiled

__all__ = ["BLOCK", "CODES", "run"]

BLOCK = 256  # boxes per block: enough to amortise the dispatch of operations, few enough to stay in the cache
_ULP = 2.0**-52
_TINY = 2.0**-1022
_MAX = float(np.finfo(np.float64).max)

_NAMES = (
    *("add", "subtract", "multiply", "divide", "negative", "absolute", "minimum", "maximum", "fmin", "fmax", "sqrt"),
    *("less", "less_equal", "equal", "not_equal", "isfinite", "isnan", "logical_not", "logical_and", "logical_or"),
    *("where", "floor", "ceil", "sign", "exp", "expm1", "log", "log1p", "sin", "cos", "tan", "arcsin", "arccos"),
    *("arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "arctan2", "hypot", "power"),
    *("expect_finite", "expect_true", "expect_false", "expect_finite_sum", "eigenvectors", "input"),
    # Several operations joined in one, each rounded separately:
    *("add_number", "multiply_number", "minimum_number", "maximum_number", "multiply_add", "multiply_number_add"),
    *("absolute_multiply_add", "below", "above", "below_tiny", "above_tiny", "product_below", "product_above"),
    *("sum_below", "sum_above", "difference_below", "difference_above"),
)
CODES = {name: k for k, name in enumerate(_NAMES)}
"""The number of every known operation."""

_ADD, _SUBTRACT, _MULTIPLY, _DIVIDE, _NEGATIVE, _ABSOLUTE, _MINIMUM, _MAXIMUM, _FMIN, _FMAX, _SQRT = range(11)
_LESS, _LESS_EQUAL, _EQUAL, _NOT_EQUAL, _ISFINITE, _ISNAN, _NOT, _AND, _OR = range(11, 20)
_WHERE, _FLOOR, _CEIL, _SIGN, _EXP, _EXPM1, _LOG, _LOG1P, _SIN, _COS, _TAN, _ASIN, _ACOS = range(20, 33)
_ATAN, _SINH, _COSH, _TANH, _ASINH, _ACOSH, _ATANH, _ATAN2, _HYPOT, _POWER = range(33, 43)
_EXPECT_FINITE, _EXPECT_TRUE, _EXPECT_FALSE, _EXPECT_FINITE_SUM, _EIGENVECTORS, _INPUT = range(43, 49)
_ADD_NUMBER, _MULTIPLY_NUMBER, _MINIMUM_NUMBER, _MAXIMUM_NUMBER, _MULTIPLY_ADD, _MULTIPLY_NUMBER_ADD = range(49, 55)
_ABSOLUTE_MULTIPLY_ADD, _BELOW, _ABOVE, _BELOW_TINY, _ABOVE_TINY, _PRODUCT_BELOW, _PRODUCT_ABOVE = range(55, 62)
_SUM_BELOW, _SUM_ABOVE, _DIFFERENCE_BELOW, _DIFFERENCE_ABOVE = range(62, 66)


@compiled()
def _eigenvectors(A, Q, n):  # type: ignore[no-untyped-def]
    """Jacobi's method with cyclic rotations, for a block of symmetric matrices at once.

    Args:
        A: (n^2, BLOCK), overwritten.
        Q: (n^2, BLOCK), approximate eigenvectors, by columns.
    """
    cosine, sine = np.empty(BLOCK), np.empty(BLOCK)
    for i in range(n * n):
        row = Q[i]
        for j in range(BLOCK):
            row[j] = 1.0 if i % (n + 1) == 0 else 0.0
    for _ in range(6):
        worst = 0.0
        for j in range(BLOCK):
            off, size = 0.0, 0.0
            for i in range(n * n):
                square = A[i, j] * A[i, j]
                size += square
                if i % (n + 1) != 0:
                    off += square
            if off > 0.0:
                worst = max(worst, off / size)
        if not worst > 1e-18:
            break
        for p in range(n - 1):
            for q in range(p + 1, n):
                pp, qq, pq, qp = A[p * n + p], A[q * n + q], A[p * n + q], A[q * n + p]
                for j in range(BLOCK):
                    d, e = 0.5 * (qq[j] - pp[j]), pq[j]
                    root = np.sqrt(d * d + e * e)
                    t = e / (d + root + 1e-300) if d >= 0.0 else e / (d - root - 1e-300)
                    c = 1.0 / np.sqrt(t * t + 1.0)
                    cosine[j], sine[j] = c, t * c
                    pp[j] -= t * e
                    qq[j] += t * e
                    pq[j] = 0.0
                    qp[j] = 0.0
                for k in range(n):
                    if k not in (p, q):
                        kp, kq, pk, qk = A[k * n + p], A[k * n + q], A[p * n + k], A[q * n + k]
                        for j in range(BLOCK):
                            x = cosine[j] * kp[j] - sine[j] * kq[j]
                            y = sine[j] * kp[j] + cosine[j] * kq[j]
                            kp[j] = x
                            pk[j] = x
                            kq[j] = y
                            qk[j] = y
                    left, right = Q[k * n + p], Q[k * n + q]
                    for j in range(BLOCK):
                        x = cosine[j] * left[j] - sine[j] * right[j]
                        y = sine[j] * left[j] + cosine[j] * right[j]
                        left[j] = x
                        right[j] = y


@compiled()
def run(code, lists, numbers, fixed, given, results, out, doubt, memory):  # type: ignore[no-untyped-def]
    """Runs a list on all boxes.

    Args:
        code: (k, 6) of int32: operation, row of the result, and up to four rows, or numbers, of arguments.
        lists: int32, rows of operations with more arguments.
        numbers: float64, constants to which instructions refer.
        fixed: (f, 2): rows of ``memory`` for constants, and indices of their numbers.
        given: (inputs, boxes), float64.
        results: (outputs,), rows of the results.
        out: (outputs, boxes), float64, overwritten.
        doubt: (boxes,), set to 1 if a condition does not hold.
        memory: (rows, BLOCK), float64, overwritten.
    """
    boxes = given.shape[1]
    for k in range(fixed.shape[0]):
        for j in range(BLOCK):
            memory[fixed[k, 0], j] = numbers[fixed[k, 1]]
    A, Q = np.empty((0, BLOCK)), np.empty((0, BLOCK))
    bad = np.empty(BLOCK)
    for first in range(0, boxes, BLOCK):
        count = min(BLOCK, boxes - first)
        for j in range(BLOCK):
            bad[j] = 0.0
        for k in range(code.shape[0]):
            op = code[k, 0]
            if op == _INPUT:
                z, row = memory[code[k, 1]], given[code[k, 2]]
                for j in range(count):
                    z[j] = row[first + j]
                for j in range(count, BLOCK):  # the last block is padded with its first box
                    z[j] = row[first]
                continue
            if op == _MULTIPLY_NUMBER_ADD:
                z, a, c = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 4]]
                number = numbers[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] * number + c[j]
            elif op == _MULTIPLY_ADD:
                z, a, b, c = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]], memory[code[k, 4]]
                for j in range(BLOCK):
                    z[j] = a[j] * b[j] + c[j]
            elif op == _ABSOLUTE_MULTIPLY_ADD:
                z, a, b, c = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]], memory[code[k, 4]]
                for j in range(BLOCK):
                    z[j] = abs(a[j]) * b[j] + c[j]
            elif op == _MULTIPLY_NUMBER:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                number = numbers[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] * number
            elif op == _ADD_NUMBER:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                number = numbers[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] + number
            elif op == _ADD:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] + b[j]
            elif op == _SUBTRACT:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] - b[j]
            elif op == _MULTIPLY:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] * b[j]
            elif op == _DIVIDE:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] / b[j]
            elif op == _NEGATIVE:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = -a[j]
            elif op == _ABSOLUTE:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = abs(a[j])
            elif op == _BELOW:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = (a[j] if (a[j] < _MAX) | (a[j] != a[j]) else _MAX) - abs(a[j]) * _ULP
            elif op == _ABOVE:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = (a[j] if (a[j] > -_MAX) | (a[j] != a[j]) else -_MAX) + abs(a[j]) * _ULP
            elif op == _BELOW_TINY:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = (a[j] if (a[j] < _MAX) | (a[j] != a[j]) else _MAX) - (abs(a[j]) * _ULP + _TINY)
            elif op == _ABOVE_TINY:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = (a[j] if (a[j] > -_MAX) | (a[j] != a[j]) else -_MAX) + (abs(a[j]) * _ULP + _TINY)
            elif op == _SUM_BELOW:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    x = a[j] + b[j]
                    z[j] = (x if (x < _MAX) | (x != x) else _MAX) - abs(x) * _ULP
            elif op == _SUM_ABOVE:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    x = a[j] + b[j]
                    z[j] = (x if (x > -_MAX) | (x != x) else -_MAX) + abs(x) * _ULP
            elif op == _DIFFERENCE_BELOW:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    x = a[j] - b[j]
                    z[j] = (x if (x < _MAX) | (x != x) else _MAX) - abs(x) * _ULP
            elif op == _DIFFERENCE_ABOVE:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    x = a[j] - b[j]
                    z[j] = (x if (x > -_MAX) | (x != x) else -_MAX) + abs(x) * _ULP
            elif op == _PRODUCT_BELOW:
                z, a, b, c, d = (
                    memory[code[k, 1]],
                    memory[code[k, 2]],
                    memory[code[k, 3]],
                    memory[code[k, 4]],
                    memory[code[k, 5]],
                )
                for j in range(BLOCK):
                    p, q, r, s = a[j] * c[j], a[j] * d[j], b[j] * c[j], b[j] * d[j]
                    p = p if (p < q) | (q != q) else q
                    r = r if (r < s) | (s != s) else s
                    x = p if (p < r) | (r != r) else r
                    z[j] = (x if (x < _MAX) | (x != x) else _MAX) - (abs(x) * _ULP + _TINY)
            elif op == _PRODUCT_ABOVE:
                z, a, b, c, d = (
                    memory[code[k, 1]],
                    memory[code[k, 2]],
                    memory[code[k, 3]],
                    memory[code[k, 4]],
                    memory[code[k, 5]],
                )
                for j in range(BLOCK):
                    p, q, r, s = a[j] * c[j], a[j] * d[j], b[j] * c[j], b[j] * d[j]
                    p = p if (p > q) | (q != q) else q
                    r = r if (r > s) | (s != s) else s
                    x = p if (p > r) | (r != r) else r
                    z[j] = (x if (x > -_MAX) | (x != x) else -_MAX) + (abs(x) * _ULP + _TINY)
            elif op == _MINIMUM:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] if (a[j] < b[j]) | (a[j] != a[j]) else b[j]
            elif op == _MAXIMUM:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] if (a[j] > b[j]) | (a[j] != a[j]) else b[j]
            elif op == _MINIMUM_NUMBER:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                number = numbers[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] if (a[j] < number) | (a[j] != a[j]) else number
            elif op == _MAXIMUM_NUMBER:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                number = numbers[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] if (a[j] > number) | (a[j] != a[j]) else number
            elif op == _FMIN:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] if (a[j] < b[j]) | (b[j] != b[j]) else b[j]
            elif op == _FMAX:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] if (a[j] > b[j]) | (b[j] != b[j]) else b[j]
            elif op == _EXPECT_FINITE_SUM:
                a, b = memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    bad[j] = bad[j] if abs(a[j] + b[j]) <= _MAX else 1.0
            elif op == _EXPECT_FINITE:
                a = memory[code[k, 2]]
                for j in range(BLOCK):
                    bad[j] = bad[j] if abs(a[j]) <= _MAX else 1.0
            elif op == _EXPECT_TRUE:
                a = memory[code[k, 2]]
                for j in range(BLOCK):
                    bad[j] = bad[j] if a[j] == 1.0 else 1.0
            elif op == _EXPECT_FALSE:
                a = memory[code[k, 2]]
                for j in range(BLOCK):
                    bad[j] = bad[j] if a[j] == 0.0 else 1.0
            elif op == _WHERE:
                z, a, b, c = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]], memory[code[k, 4]]
                for j in range(BLOCK):
                    x, y = b[j], c[j]
                    z[j] = x if a[j] == 1.0 else y
            elif op == _LESS:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = 1.0 if a[j] < b[j] else 0.0
            elif op == _LESS_EQUAL:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = 1.0 if a[j] <= b[j] else 0.0
            elif op == _EQUAL:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = 1.0 if a[j] == b[j] else 0.0
            elif op == _NOT_EQUAL:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = 0.0 if a[j] == b[j] else 1.0
            elif op == _ISFINITE:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = 1.0 if abs(a[j]) <= _MAX else 0.0
            elif op == _ISNAN:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = 0.0 if a[j] == a[j] else 1.0
            elif op == _NOT:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = 1.0 - a[j]
            elif op == _AND:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] * b[j]
            elif op == _OR:
                z, a, b = memory[code[k, 1]], memory[code[k, 2]], memory[code[k, 3]]
                for j in range(BLOCK):
                    z[j] = a[j] if a[j] == 1.0 else b[j]
            elif op == _SQRT:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = np.sqrt(a[j])
            elif op == _FLOOR:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = np.floor(a[j])
            elif op == _CEIL:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = np.ceil(a[j])
            elif op == _SIGN:
                z, a = memory[code[k, 1]], memory[code[k, 2]]
                for j in range(BLOCK):
                    z[j] = 1.0 if a[j] > 0.0 else -1.0 if a[j] < 0.0 else a[j] + 0.0
            elif op == _EIGENVECTORS:
                n, start = code[k, 3], code[k, 2]
                if A.shape[0] != n * n:
                    A, Q = np.empty((n * n, BLOCK)), np.empty((n * n, BLOCK))
                for i in range(n * n):
                    z, a = A[i], memory[lists[start + i]]
                    for j in range(BLOCK):
                        z[j] = a[j]
                _eigenvectors(A, Q, n)
                for i in range(n * n):
                    z, a = memory[lists[start + n * n + i]], Q[i]
                    for j in range(BLOCK):
                        z[j] = a[j]
            else:
                _library(op, memory[code[k, 2]], memory[code[k, 3]], memory[code[k, 1]])
        for k in range(results.shape[0]):
            row = memory[results[k]]
            for j in range(count):
                out[k, first + j] = row[j]
        for j in range(count):
            doubt[first + j] = bad[j] != 0.0


@compiled()
def _library(op, a, b, z):  # type: ignore[no-untyped-def]
    """The functions that call the C library."""
    for j in range(BLOCK):
        x, y = a[j], b[j]
        if op == _SIN:
            z[j] = np.sin(x)
        elif op == _COS:
            z[j] = np.cos(x)
        elif op == _TANH:
            z[j] = np.tanh(x)
        elif op == _EXP:
            z[j] = np.exp(x)
        elif op == _TAN:
            z[j] = np.tan(x)
        elif op == _LOG:
            z[j] = np.log(x)
        elif op == _EXPM1:
            z[j] = np.expm1(x)
        elif op == _LOG1P:
            z[j] = np.log1p(x)
        elif op == _ASIN:
            z[j] = np.arcsin(x)
        elif op == _ACOS:
            z[j] = np.arccos(x)
        elif op == _ATAN:
            z[j] = np.arctan(x)
        elif op == _SINH:
            z[j] = np.sinh(x)
        elif op == _COSH:
            z[j] = np.cosh(x)
        elif op == _ASINH:
            z[j] = np.arcsinh(x)
        elif op == _ACOSH:
            z[j] = np.arccosh(x)
        elif op == _ATANH:
            z[j] = np.arctanh(x)
        elif op == _ATAN2:
            z[j] = np.arctan2(x, y)
        elif op == _HYPOT:
            z[j] = np.hypot(x, y)
        elif op == _POWER:
            z[j] = x**y
        else:
            z[j] = np.nan
