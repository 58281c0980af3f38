"""Preparation of a trace for execution: operations without an effect on the outputs are removed, short sequences are
joined into one operation, and values share rows of memory if they are not needed at the same time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from threading import local
from typing import Any, final

import numpy as np

from systems.arithmetic.rounding import MAX, TINY, ULP
from systems.tape.machine import BLOCK, CODES, run
from systems.tape.trace import FALSE, FINITE, TRUE, NotTraceable, Trace

__all__ = ["Tape"]

_CONDITIONS = (FINITE, TRUE, FALSE)
_WITH_NUMBER = {
    "add": "add_number", "multiply": "multiply_number", "minimum": "minimum_number", "maximum": "maximum_number",
}  # fmt: skip


@dataclass(frozen=True)
class _Step:
    """An operation to run: its arguments are numbers of operations, and ``number`` is a constant of its own."""

    op: str
    args: tuple[int, ...]
    number: float | None = None


@final
class Tape:
    """A recorded function of columns: ``tape(given)`` for (inputs, boxes) returns (outputs, boxes), and for each box
    whether an assumption of the recording does not hold, in which case the results are not valid.

    Calls from several threads are independent of each other, and release the interpreter lock.

    Args:
        trace: of the function.
        outputs: numbers of the operations whose results are returned.
    """

    def __init__(self, trace: Trace, outputs: Sequence[int]) -> None:
        unknown = set(trace.ops) - set(CODES) - {"constant", "entry", "none"}
        if unknown:
            raise NotTraceable(", ".join(sorted(unknown)))
        steps = _chosen(trace, outputs)
        self.size = len(steps)
        self._code, self._lists, self._numbers, self._fixed, self._results, self._rows = _placed(trace, steps, outputs)
        self._memory = local()

    def __call__(self, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not hasattr(self._memory, "rows"):
            self._memory.rows = np.zeros((self._rows, BLOCK))
        boxes = given.shape[1]
        out, doubt = np.empty((len(self._results), boxes)), np.zeros(boxes, dtype=np.bool_)
        run(
            self._code, self._lists, self._numbers, self._fixed, np.ascontiguousarray(given), self._results, out, doubt,
            self._memory.rows,
        )  # fmt: skip
        return out, doubt


# ---- choice of operations ----


def _chosen(trace: Trace, outputs: Sequence[int]) -> dict[int, _Step]:
    """The operations to run, by number, in order."""
    ops, args = trace.ops, trace.args
    implied = _implied(trace)
    needed = set(outputs)
    uses = Counter(a for k in range(len(ops)) for a in _operands(ops[k], args[k]))
    uses.update(outputs)
    steps: dict[int, _Step] = {}
    for k in reversed(range(len(ops))):
        op = ops[k]
        if op in _CONDITIONS:
            a = args[k][0]
            if op == FINITE and a in implied:
                continue
            if op == FALSE and ops[a] == "isnan" and args[a][0] in implied:
                continue
        elif k not in needed or op == "constant":
            continue
        step = _joined(trace, k, uses)
        steps[k] = step
        needed.update(_operands(step.op, step.args))
    return dict(sorted(steps.items()))


def _operands(op: str, args: tuple[int, ...]) -> tuple[int, ...]:
    """The arguments that are operations."""
    return () if op == "input" else args[:1] if op == "entry" else args


def _implied(trace: Trace) -> set[int]:
    """Operations whose results are finite whenever those expected to be finite are."""
    ops, args = trace.ops, trace.args
    finite = {args[k][0] for k, op in enumerate(ops) if op == FINITE}
    implied: set[int] = set()
    for k in reversed(range(len(ops))):
        if k in finite or k in implied:
            if ops[k] in ("add", "subtract", "multiply", "negative", "absolute"):
                implied.update(args[k])
            elif ops[k] == "divide":
                implied.add(args[k][0])
            # Values that are moved outward are first clipped to the finite doubles; an infinity appears in the margin.
    return implied


def _joined(trace: Trace, k: int, uses: Counter[int]) -> _Step:
    """An operation, joined with those whose results only it uses, if a single operation exists for all of them."""
    ops, args, values = trace.ops, trace.args, trace.values
    op, given = ops[k], args[k]
    if op == FINITE and ops[given[0]] == "add":
        return _Step("expect_finite_sum", args[given[0]])
    if op in ("add", "subtract"):
        moved = _moved_outward(trace, op, given)
        if moved is not None:
            return moved
    if op == "add":
        for product, other in (given, given[::-1]):
            if ops[product] == "multiply" and uses[product] == 1:
                x, y = args[product]
                x, y = (y, x) if x in values else (x, y)
                if y in values:
                    return _Step("multiply_number_add", (x, other), values[y])
                for size, factor in ((x, y), (y, x)):
                    if ops[size] == "absolute":
                        return _Step("absolute_multiply_add", (args[size][0], factor, other))
                return _Step("multiply_add", (x, y, other))
    if op == "subtract":
        x, y = given
        if y in values:
            return _Step("add_number", (x,), -values[y])
        if ops[y] == "multiply" and uses[y] == 1:
            number = next((a for a in args[y] if a in values), None)
            if number is not None:
                other = args[y][0] if args[y][1] == number else args[y][1]
                return _Step("multiply_number_add", (other, x), -values[number])
    if op in _WITH_NUMBER:
        for number, other in (given, given[::-1]):
            if number in values:
                return _Step(_WITH_NUMBER[op], (other,), values[number])
    return _Step(op, given)


def _moved_outward(trace: Trace, op: str, given: tuple[int, ...]) -> _Step | None:
    """If an operation is the last of ``rounding.below`` or ``rounding.above``: one operation for these and for the sum
    or product of intervals that they round."""
    ops, args, values = trace.ops, trace.args, trace.values
    confine, most, side = ("minimum", MAX, "below") if op == "subtract" else ("maximum", -MAX, "above")
    for confined, margin in (given,) if op == "subtract" else (given, given[::-1]):
        if ops[confined] != confine:
            continue
        value = next((x for x in args[confined] if values.get(x) != most), None)
        if value is None or not any(values.get(x) == most for x in args[confined]):
            continue
        absolute = 0.0
        if ops[margin] == "add":
            number = next((x for x in args[margin] if x in values), None)
            if number is None:
                continue
            margin, absolute = next(x for x in args[margin] if x != number), values[number]
        if ops[margin] != "multiply" or absolute not in (0.0, TINY):
            continue
        size = next((x for x in args[margin] if values.get(x) != ULP), None)
        if size is None or not any(values.get(x) == ULP for x in args[margin]) or not _is_size(trace, size, value):
            continue
        if absolute:
            corners = _corners(trace, value, "fmin" if side == "below" else "fmax")
            return _Step(f"product_{side}", corners) if corners else _Step(f"{side}_tiny", (value,))
        kinds = {"add": "sum", "subtract": "difference"}
        if ops[value] in kinds and not any(a in values for a in args[value]):
            return _Step(f"{kinds[ops[value]]}_{side}", args[value])
        return _Step(side, (value,))
    return None


def _is_size(trace: Trace, size: int, value: int) -> bool:
    """Whether ``size`` is the absolute value of ``value``."""
    if trace.ops[value] == "negative":
        value = trace.args[value][0]
    return size == value if trace.ops[value] == "absolute" else trace.ops[size] == "absolute" and (
        trace.args[size] == (value,)
    )  # fmt: skip


def _corners(trace: Trace, k: int, extreme: str) -> tuple[int, ...] | None:
    """a, b, c, d if operation k is the extreme of ac, ad, bc and bd, none of them a constant; None otherwise."""
    ops, args, values = trace.ops, trace.args, trace.values
    if ops[k] != extreme or any(ops[half] != extreme for half in args[k]):
        return None
    products = [p for half in args[k] for p in args[half]]
    if any(ops[p] != "multiply" for p in products):
        return None
    p, q, r, s = (set(args[x]) for x in products)
    for a in p & q:
        for c in p & r:
            rest_b, rest_d = (args[products[2]], args[products[1]])
            b = rest_b[0] if rest_b[1] == c else rest_b[1]
            d = rest_d[0] if rest_d[1] == a else rest_d[1]
            if {b, d} == s and {a, c} == p and {a, d} == q and {b, c} == r and not {a, b, c, d} & values.keys():
                return a, b, c, d
    return None


# ---- rows of memory ----


def _placed(trace: Trace, steps: dict[int, _Step], outputs: Sequence[int]) -> tuple[Any, ...]:
    """The code and its tables."""
    last: dict[int, int] = {}
    for k, step in steps.items():
        last.update(dict.fromkeys(_operands(step.op, step.args), k))
    last.update(dict.fromkeys(outputs, len(trace.ops)))
    row: dict[int, int] = {}
    numbers: dict[str, int] = {}
    table: list[float] = []
    fixed: list[tuple[int, int]] = []
    free: list[int] = []
    code: list[tuple[int, ...]] = []
    lists: list[int] = []
    rows = 1  # operations without a result write to the first row

    def numbered(value: float) -> int:
        key = value.hex()
        if key not in numbers:
            numbers[key] = len(table)
            table.append(value)
        return numbers[key]

    def taken() -> int:
        nonlocal rows
        if free:
            return free.pop()
        rows += 1
        return rows - 1

    for k in sorted({a for step in steps.values() for a in _operands(step.op, step.args)} | set(outputs)):
        if k in trace.values:
            row[k] = rows
            fixed.append((rows, numbered(trace.values[k])))
            rows += 1
    for k, step in steps.items():
        if step.op == "entry":
            if k not in last:
                free.append(row[k])
            continue
        if step.op == "eigenvectors":
            entries = range(k + 1, k + 1 + len(step.args))
            for j in entries:
                row[j] = taken()
            start, n = len(lists), round(len(step.args) ** 0.5)
            lists += [row[a] for a in step.args] + [row[j] for j in entries]
            code.append((CODES[step.op], 0, start, n, 0, 0))
        elif step.op == "input":
            row[k] = taken()
            code.append((CODES[step.op], row[k], step.args[0], 0, 0, 0))
        else:
            places = [row[a] for a in step.args]
            if step.number is not None:
                places.insert(1, numbered(step.number))
            places += [0] * (4 - len(places))
            result = 0
            if not step.op.startswith("expect"):
                result = row[k] = taken()
            code.append((CODES[step.op], result, *places))
        for a in dict.fromkeys(_operands(step.op, step.args)):
            if last[a] == k and a not in trace.values:
                free.append(row[a])
    results = np.array([row[k] for k in outputs], dtype=np.int32)
    return (
        np.array(code, dtype=np.int32).reshape(-1, 6),
        np.array(lists, dtype=np.int32),
        np.array(table, dtype=np.float64),
        np.array(fixed, dtype=np.int32).reshape(-1, 2),
        results,
        rows,
    )
