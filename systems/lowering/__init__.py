"""One CasADi function in other arithmetics: numpy, torch, outward-rounded intervals, compiled C."""

from __future__ import annotations

from typing import Any, Literal

import casadi as ca

from systems.arguments import expect_choice
from systems.errors import expect
from systems.lowering.jacobian import jacobian
from systems.lowering.program import NotLowerable, read

__all__ = ["NotLowerable", "jacobian", "lower"]


def lower(function: ca.Function, to: Literal["numpy", "torch", "interval", "c"]) -> Any:
    """The same straight-line program as `function` in another arithmetic.

    Args:
        function: an SX function, or an MX function that CasADi can expand.
        to: `"numpy"`, `"torch"` or `"interval"` for a callable on arrays `(..., n)`, tensors or `Interval`s, one
            positional argument per input, whose batches broadcast against each other; `"c"` for a compiled
            `casadi.Function`.

    Returns:
        `f` with `f(x, ...)` one array `(..., m)`, `(..., r, c)` for a matrix, or a tuple for several outputs.

    Raises:
        InvalidValue: not a CasADi function, or an unknown arithmetic.
        NotLowerable: free variables, a function that cannot be expanded, or an operation that the arithmetic
            does not support.
    """
    expect(function, ca.Function, "the function to lower", "such as plant.casadi() or task.dynamics.function()")
    expect_choice(to, "to", ("numpy", "torch", "interval", "c"))
    # Each arithmetic is imported when asked for: torch is optional and slow to import.
    if to == "numpy":
        from systems.lowering.numpy_backend import NumpyFunction

        return NumpyFunction(read(function))
    if to == "torch":
        from systems.lowering.torch_backend import TorchFunction

        return TorchFunction(read(function))
    if to == "interval":
        from systems.lowering.interval_backend import IntervalFunction

        return IntervalFunction(read(function))
    from systems.lowering.c_backend import compile_c

    return compile_c(function)
