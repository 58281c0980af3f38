"""Lowering to numpy: one batch of any shape, float32 or float64."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from systems.errors import InvalidValue
from systems.lowering.calls import call
from systems.lowering.emit import ELEMENTARY, INVERSE, OPERATORS, Arithmetic, calls, emit
from systems.lowering.program import Program


def erf(x: Any) -> Any:
    """The error function."""
    from scipy import special  # slow to import

    return special.erf(x)


def erfinv(x: Any) -> Any:
    """The inverse error function."""
    from scipy import special

    return special.erfinv(x)


ARITHMETIC = Arithmetic(
    name="numpy",
    templates={
        **OPERATORS,
        **calls(ELEMENTARY, "np."),
        **{op: f"np.arc{op[1:]}({{0}})" for op in INVERSE},
        "sq": "{0} * {0}",
        "fabs": "np.abs({0})",
        "pow": "{0} ** {1}",
        "constpow": "{0} ** {1}",
        **calls(("fmin", "fmax", "fmod", "copysign", "hypot"), "np.", arguments=2),
        "atan2": "np.arctan2({0}, {1})",
        "truth": "{0} != 0",
        "real": "np.asarray({0}, dtype)",
        "where": "np.where({0}, {1}, {2})",
        **{op: f"{op}({{0}})" for op in ("erf", "erfinv")},
        "call": "",  # written by emit
        "share": "np.where({0} <= {1}, np.where({1} <= {0}, dtype(0.5), dtype(1)), dtype(0))",
    },
    namespace={"np": np, "call": call, "erf": erf, "erfinv": erfinv},
    constant="dtype({0})",
    extra=("dtype",),
)


@final
class NumpyFunction:
    """A CasADi function on numpy arrays: `f(x, u)` with arrays `(..., n)` whose batches broadcast.

    Returns one array `(..., m)` (`(..., r, c)` for a matrix), or a tuple of them when there are several
    outputs. The result has the inputs' floating type; its components are contiguous in memory.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._run, self.source = emit(program, ARITHMETIC)

    def __call__(self, *inputs: Any) -> Any:
        arrays = [np.asarray(a) for a in inputs]
        batch = self.program.batch([a.shape for a in arrays])
        if any(a.dtype.kind not in "fiub" for a in arrays):
            raise InvalidValue(
                f"{self.program.name}: arrays of {', '.join(str(a.dtype) for a in arrays)}; expected real numbers"
            )
        dtype = _floating_type(arrays)
        with np.errstate(all="ignore"):  # both branches of a `where` are evaluated
            results = self._run(*(np.asarray(a, dtype) for a in arrays), dtype.type)
        outputs = [
            _assemble(components, port.shape, batch, dtype)
            for components, port in zip(results, self.program.outputs, strict=True)
        ]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _floating_type(arrays: list[NDArray[Any]]) -> np.dtype[Any]:
    # An empty input (no disturbance, no parameters) does not affect the precision.
    types = [a.dtype for a in arrays if a.shape[-1:] != (0,) and a.dtype.kind == "f"]
    return np.result_type(*types) if types else np.dtype(np.float64)


def _assemble(
    components: tuple[Any, ...], shape: tuple[int, ...], batch: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    # The signal is the slowest axis in memory, so that components stay contiguous from step to step.
    out = np.empty((len(components), *batch), dtype)
    for row, component in zip(out, components, strict=True) if batch else ():
        row[...] = component
    if not batch:
        out[:] = components
    axes = range(len(shape), len(shape) + len(batch))
    return out.reshape(*shape, *batch).transpose(*axes, *range(len(shape)))
