"""A transition as functions: guard, its rate, and the reset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np

from systems.errors import DimensionMismatch, InvalidValue
from systems.expressions import column, evaluated, without_nan
from systems.plant import Plant
from systems.signals import Vector

__all__ = ["Guard"]


@final
@dataclass(frozen=True, eq=False)
class Guard:
    """A transition out of a mode, as CasADi functions.

    Args:
        target: name of the mode that is entered.
        function: ``g(x, u, w) -> (value, rate)``; rate is the time derivative of the guard along the dynamics or, of a
            discrete plant, its change over the next sample.
        reset: ``r(x) -> x+``, the state of the target.
    """

    target: str
    function: ca.Function
    reset: ca.Function

    @staticmethod
    def of(
        source: Plant,
        target: Plant,
        name: str,
        guard: Callable[[Vector], Any],
        reset: Callable[[Vector], Any],
        where: str,
    ) -> Guard:
        """The functions of a transition from one plant to another.

        Args:
            source: plant that is left.
            target: plant that is entered.
            name: of the mode that is entered.
            guard: as in Transition.
            reset: as in Transition.
            where: which transition this is, for messages.

        Raises:
            InvalidValue: the guard does not depend on the state, or holds what is not an expression of it.
            DimensionMismatch: a guard of another shape than one number, a reset of another number of states.
        """
        x, u, w = source.state.symbol(), source.input.symbol(), source.disturbance.symbol()
        state = Vector(source.state, x, f"{source.name} state")
        place = f"guard of the transition {where}"
        value = column([evaluated(guard, place, state)], place, "one expression, such as x.height")
        if value.shape != (1, 1):
            raise DimensionMismatch(f"{place} has shape {value.shape}; expected one expression, such as x.height")
        if not ca.depends_on(value, x):
            raise InvalidValue(
                f"{place} does not depend on the state ({', '.join(source.state.names)}), so it never changes; to "
                "switch at a time, give the plant a state for it, with the derivative 1"
            )
        f = source.casadi()(x, u, w, ca.SX(0, 1))
        rate = ca.substitute(value, x, f) - value if source.is_discrete else ca.jtimes(value, x, f)
        place = f"reset of the transition {where}"
        names = ", ".join(target.state.names)
        after = column(evaluated(reset, place, state), place, f"one expression per state of the target: {names}")
        if after.shape != (len(target.state), 1):
            raise DimensionMismatch(
                f"{place} returned shape {after.shape}; expected ({len(target.state)}, 1), one expression per state of "
                f"the target: {names}"
            )
        try:
            g = ca.Function("guard", [x, u, w], [value, rate], ["x", "u", "w"], ["value", "rate"])
            r = ca.Function("reset", [x], [after], ["x"], ["next"])
        except RuntimeError as error:
            raise InvalidValue(
                f"the transition {where} holds symbols that are not states of {source.name}; CasADi says: "
                f"{str(error).splitlines()[-1]}"
            ) from error
        return Guard(name, without_nan(g, f"guard of the transition {where}"), without_nan(r, place))

    def is_due(self, x: np.ndarray, u: np.ndarray, w: np.ndarray) -> bool:
        """Whether the transition is taken at x (n,) under input u (m,) and disturbance w (q,)."""
        value, rate = self.function(x, u, w)
        return bool(float(value) <= 0.0 and float(rate) <= 0.0)
