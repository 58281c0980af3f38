"""Control laws written as CasADi expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.laws.law import Law
from systems import DimensionMismatch, InvalidValue
from systems.arithmetic.exact import evaluate_exactly, is_kept, jumps, with_symbolic_numbers
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_matrices import reshape
from systems.errors import expect
from systems.lowering import jacobian, lower
from systems.lowering.program import read

__all__ = ["Expression"]


@final
@dataclass(frozen=True, eq=False)
class Expression(Law):
    """u = u(x) from a CasADi function of one column (n, 1) with one output (m, 1), such as a network written in CasADi.

    Its Jacobian is CasADi's, with the numbers of the expression taken as the doubles they are.

    Raises:
        DimensionMismatch: a function of another form.
        InvalidValue: the function may jump (branches, sign, floor, ...), so that no Jacobian describes it.
    """

    function: ca.Function

    def __post_init__(self) -> None:
        f = self.function
        expect(f, ca.Function, "the function of an Expression", "such as casadi.Function('law', [x], [u])")
        if f.n_in() != 1 or f.n_out() != 1 or f.size2_in(0) != 1 or f.size2_out(0) != 1:
            raise DimensionMismatch(
                f"{f} is not a law; expected a function of one state column (n, 1) with one input column (m, 1)"
            )
        jumping = jumps(f)
        if jumping:
            raise InvalidValue(
                f"law {f.name()} uses {', '.join(jumping)}, where it may jump: a Jacobian does not describe it. "
                "Write kinks with fmin, fmax or fabs"
            )

    def __getstate__(self) -> dict[str, Any]:
        """The field alone: a copy lowers its function anew, since that cannot be pickled."""
        return {"function": self.function}

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self._value(x)

    def enclose(self, x: Interval) -> Interval:
        return self._boxes(x)

    def enclose_jacobian(self, x: Interval) -> Interval:
        m, n = self.function.size1_out(0), self.function.size1_in(0)
        slopes = reshape(self._slopes(x, self._free[1]), (*x.shape[:-1], m, n))
        if self._may_be_undefined and (nowhere := self.enclose(x).undefined) is not None:
            slopes.without_value(nowhere[..., None])  # a derivative can be defined where its function is not
        return slopes

    @property
    def casadi(self) -> ca.Function:
        return self.function

    def exact(self, x: Sequence[Fraction]) -> list[Fraction] | None:
        return evaluate_exactly(read(self.function), x)[0]

    @cached_property
    def _free(self) -> tuple[ca.Function, np.ndarray]:
        return with_symbolic_numbers(self.function)

    @cached_property
    def _may_be_undefined(self) -> bool:
        return not (read(self.function).is_total and is_kept(self.function))

    @cached_property
    def _value(self) -> Any:
        return lower(self.function, to="numpy")

    @cached_property
    def _boxes(self) -> Any:
        return lower(self.function, to="interval")

    @cached_property
    def _slopes(self) -> Any:
        return lower(jacobian(self._free[0]), to="interval")
