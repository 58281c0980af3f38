"""Random programs of intervals: as they are written, recorded, and in Arb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from systems.arithmetic import interval_functions as rules
from systems.arithmetic.interval import Interval

Steps = list[tuple[str, int, int, float]]

ROUNDED: dict[str, Callable[[Interval, Interval, float], Interval]] = {
    "add": lambda a, b, c: a + b,
    "sub": lambda a, b, c: a - b,
    "mul": lambda a, b, c: a * b,
    "div": lambda a, b, c: a / b,
    "add number": lambda a, b, c: a + c,
    "number sub": lambda a, b, c: c - a,
    "mul number": lambda a, b, c: a * c,
    "number div": lambda a, b, c: c / a,
    "neg": lambda a, b, c: -a,
    "fabs": lambda a, b, c: abs(a),
    "sq": lambda a, b, c: a.sq(),
    "sqrt": lambda a, b, c: rules.sqrt(a),
    "fmin": lambda a, b, c: rules.fmin(a, b),
    "fmax": lambda a, b, c: rules.fmax(a, c),
    "where": lambda a, b, c: rules.where(a < c, a, b),
}
"""Operations whose rounding is that of IEEE 754."""
LIBRARY: dict[str, Callable[[Interval, Interval, float], Interval]] = {
    **{
        name: (lambda rule: lambda a, b, c: rule(a))(getattr(rules, name))
        for name in "exp expm1 log log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh".split()  # noqa: SIM905
    },
    "cube": lambda a, b, c: a**3.0,
    "root": lambda a, b, c: a**1.5,
    "atan2": lambda a, b, c: rules.atan2(a, b),
    "hypot": lambda a, b, c: rules.hypot(a, b),
}
"""Operations that call a library."""
_ARB: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda a, b, c: a + b,
    "sub": lambda a, b, c: a - b,
    "mul": lambda a, b, c: a * b,
    "div": lambda a, b, c: a / b,
    "add number": lambda a, b, c: a + c,
    "number sub": lambda a, b, c: c - a,
    "mul number": lambda a, b, c: a * c,
    "number div": lambda a, b, c: c / a,
    "neg": lambda a, b, c: -a,
    "fabs": lambda a, b, c: abs(a),
    "sq": lambda a, b, c: a**2,
    "fmin": lambda a, b, c: a.min(b),
    "fmax": lambda a, b, c: a.max(c),
    "where": lambda a, b, c: a if a < c else b if a > c else a.union(b),
    "cube": lambda a, b, c: a**3,
    "root": lambda a, b, c: a ** (c * 0 + 1.5),
    "atan2": lambda a, b, c: type(a).atan2(a, b),
    "hypot": lambda a, b, c: (a**2 + b**2).sqrt(),
}


@dataclass(frozen=True)
class Written:
    """A program: step k takes the values of two earlier ones and a number.

    Args:
        steps: name, two values, a number; the first values are the inputs.
        inputs: how many.
    """

    steps: tuple[tuple[str, int, int, float], ...]
    inputs: int

    @staticmethod
    def drawn(rng: np.random.Generator, names: list[str], length: int, inputs: int = 3) -> Written:
        steps = []
        for k in range(length):
            a, b = (int(rng.integers(max(0, inputs + k - 8), inputs + k)) for _ in range(2))
            number = float(rng.choice([rng.normal(), 2.0 ** rng.integers(-8, 9), -1.0, 1.0, 0.5]))
            steps.append((str(rng.choice(names)), a, b, number))
        return Written(tuple(steps), inputs)

    def intervals(self, low: Any, high: Any) -> list[Interval]:
        """The value of every step over boxes (b, inputs)."""
        boxes = Interval(low, high)
        values = [boxes[:, k] for k in range(self.inputs)]
        for name, a, b, number in self.steps:
            values.append((ROUNDED | LIBRARY)[name](values[a], values[b], number))
        return values[self.inputs :]

    def bounds(self, low: Any, high: Any) -> list[Any]:
        """Lower and upper bounds of every step, each (b,)."""
        return [side for value in self.intervals(low, high) for side in (value.lo, value.hi)]

    def arb(self, point: np.ndarray) -> list[Any]:
        """The value of every step at a point, as balls of 300 bits."""
        import flint

        flint.ctx.prec = 300
        values = [flint.arb(float(x)) for x in point]
        for name, a, b, number in self.steps:
            rule = _ARB.get(name) or (lambda a, b, c, name=name: getattr(a, name)())
            values.append(rule(values[a], values[b], flint.arb(number)))
        return values[self.inputs :]


def drawn_boxes(rng: np.random.Generator, boxes: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of all sizes: points, tiny, wide and huge ones, around zero and away from it."""
    middle = rng.normal(size=(boxes, inputs)) * 2.0 ** rng.integers(-12, 6, (boxes, inputs))
    middle[rng.random((boxes, inputs)) < 0.05] *= 1e150
    middle[rng.random((boxes, inputs)) < 0.05] *= 1e-290
    middle[rng.random((boxes, inputs)) < 0.1] = 0.0
    half = np.abs(middle) * 2.0 ** -rng.integers(0, 50, (boxes, inputs)) * rng.random((boxes, inputs))
    half[rng.random((boxes, inputs)) < 0.2] = 0.0
    half += (rng.random((boxes, inputs)) < 0.1) * rng.random((boxes, inputs))
    return middle - half, middle + half


@dataclass
class Tally:
    """What a fuzz came to: operations on boxes; how many said nothing, and how many failed. At how many points Arb has
    no value, as for the arc cosine of a ball that reaches beyond 1 by its rounding."""

    operations: int = 0
    silent: int = 0
    wrong: int = 0
    unknown: int = 0


def compare_with_numpy(written: Written, low: np.ndarray, high: np.ndarray, tally: Tally) -> None:
    """The recorded program says nothing exactly where something is undefined or unbounded, and else gives the bounds of
    the written one: to the bit, but where a library is called."""
    from systems.tape.recorded import Recorded

    results, doubt = Recorded(written.bounds, low.shape[1:], high.shape[1:])(low, high)
    with np.errstate(all="ignore"):
        values = written.intervals(low, high)
    # An operand may be infinite where its operation is doubted, so all are looked at.
    odd = np.any([~np.isfinite(v.lo + v.hi) for v in values], axis=0)
    odd |= np.any([v.undefined for v in values if v.undefined is not None], axis=0)
    reference = [side for v in values for side in (v.lo, v.hi)]
    exact = all(name in ROUNDED for name, *_ in written.steps)
    slack = 0.0 if exact else 2.0**-47
    same = np.all(
        [(np.abs(a - b) <= slack * np.abs(b)) | (a == b) | doubt for a, b in zip(results, reference, strict=True)],
        axis=0,
    )
    tally.operations += len(written.steps) * len(low)
    tally.silent += len(written.steps) * int(doubt.sum())
    tally.wrong += int((~same).sum() + (doubt != odd).sum())


def compare_with_arb(
    written: Written, low: np.ndarray, high: np.ndarray, tally: Tally, rng: np.random.Generator
) -> None:
    """Points of the boxes have values within the bounds of the recorded program."""
    import flint

    from systems.tape.recorded import Recorded

    results, doubt = Recorded(written.bounds, low.shape[1:], high.shape[1:])(low, high)
    tally.operations += len(written.steps) * len(low)
    tally.silent += len(written.steps) * int(doubt.sum())
    for j in np.flatnonzero(~doubt):
        share = rng.choice([0.0, 1.0, rng.random()], size=low.shape[1])
        point = np.clip(low[j] + share * (high[j] - low[j]), low[j], high[j])
        for k, value in enumerate(written.arb(point)):
            lower, upper = (flint.arb(float(results[2 * k + side][j])) for side in (0, 1))
            tally.unknown += not value.is_finite()
            tally.wrong += bool(value < lower) or bool(value > upper)
