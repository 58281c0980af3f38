"""Lowering to outward-rounded interval arithmetic, for proofs."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from systems.arithmetic import interval_functions
from systems.arithmetic.interval import Interval
from systems.lowering.emit import ELEMENTARY, INVERSE, OPERATORS, Arithmetic, calls, emit
from systems.lowering.program import Program

ARITHMETIC = Arithmetic(
    name="interval",
    templates={
        **OPERATORS,
        **calls((*ELEMENTARY, *INVERSE, "truth", "real")),
        **calls(("atan2", "fmin", "fmax", "copysign", "hypot", "share"), arguments=2),
        "sq": "{0}.sq()",
        "fabs": "abs({0})",
        "pow": "power({0}, {1})",
        "constpow": "power({0}, {1})",
        "where": "where({0}, {1}, {2})",
    },
    namespace={**vars(interval_functions)},
    constant="Interval.of({0})",
)


@final
class IntervalFunction:
    """A CasADi function on boxes: `f(x, u)` with `Interval`s (or arrays, as points) `(..., n)`.

    Returns an `Interval` `(..., m)` (`(..., r, c)` for a matrix), or a tuple of them when there are several
    outputs, that contains every value of the function on the box in exact arithmetic, its constants taken as
    exact doubles, and is `undefined` where it may have none.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._run, self.source = emit(program, ARITHMETIC)

    def __call__(self, *inputs: Any) -> Any:
        boxes = [Interval.of(a) for a in inputs]
        batch = self.program.batch([a.shape for a in boxes])
        results = self._run(*boxes)
        outputs = [
            _assemble(components, port.shape, batch)
            for components, port in zip(results, self.program.outputs, strict=True)
        ]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _assemble(components: tuple[Any, ...], shape: tuple[int, ...], batch: tuple[int, ...]) -> Interval:
    # The signal is the slowest axis in memory, so that components stay contiguous from step to step.
    like = next((c.lo for c in components if isinstance(c, Interval) and len(c.shape) == len(batch)), np.empty(0))
    lo, hi = (np.empty_like(like, shape=(len(components), *batch)) for _ in range(2))
    undefined: Any = None
    for k, component in enumerate(components):
        part = Interval.of(component)
        lo[k], hi[k] = part.lo, part.hi
        if part.undefined is not None:
            undefined = np.zeros_like(lo, dtype=bool) if undefined is None else undefined
            undefined[k] = part.undefined
    axes = (*range(len(shape), len(shape) + len(batch)), *range(len(shape)))
    result = Interval.of(0.0)
    result.lo, result.hi, result.undefined = lo, hi, undefined
    return result.moved(lambda a: a.reshape(*shape, *batch).transpose(axes))
