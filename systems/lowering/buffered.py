"""CasADi functions evaluated in place, without the conversions that a call would make."""

from __future__ import annotations

from typing import final

import casadi as ca
import numpy as np

__all__ = ["Buffered"]


@final
class Buffered:
    """A CasADi function that reads its arguments from, and writes its results to, fixed arrays.

    Args:
        function: its arguments and results must be dense.
        arguments, results: C-ordered arrays with matching numbers of elements, read and written in place. Further
            arguments of the function are zero, and further arrays are not used.
    """

    def __init__(self, function: ca.Function, arguments: list[np.ndarray], results: list[np.ndarray]) -> None:
        self._buffer, self.run = function.buffer()
        self._kept = (function, arguments, results)
        for i, array in enumerate(arguments[: function.n_in()]):
            self._buffer.set_arg(i, memoryview(array))  # type: ignore[call-arg, arg-type]
        for i, array in enumerate(results[: function.n_out()]):
            self._buffer.set_res(i, memoryview(array))  # type: ignore[call-arg, arg-type]
