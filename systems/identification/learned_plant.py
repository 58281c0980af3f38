"""Plants whose equations were fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import casadi as ca

from systems.arguments import expect_number
from systems.errors import DimensionMismatch, expect
from systems.plant import Plant
from systems.signals import Signals, Vector

__all__ = ["LearnedPlant"]


@final
@dataclass(frozen=True, eq=False)
class LearnedPlant(Plant):
    """A plant defined by one CasADi function, as returned by fits.

    Args:
        equations: f(x, u, w), of SX expressions: x' or, with ``dt``, x+.
        state, input, disturbance: names and units.
        dt: seconds between samples of a discrete plant; default: None, continuous time.
        input_limits: one (lower, upper) per input; default: none.

    Raises:
        DimensionMismatch: a function of other sizes than the signals', or limits of another number of inputs.
    """

    equations: ca.Function
    state: Signals
    input: Signals
    disturbance: Signals
    dt: float | None = None
    input_limits: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        expect(self.equations, ca.Function, "the equations of a learned plant", "a casadi.Function f(x, u, w)")
        for role in ("state", "input", "disturbance"):
            expect(getattr(self, role), Signals, f"{role} of a learned plant", 'such as signals("position [m]")')
        if self.dt is not None:
            expect_number(self.dt, "dt", above=0.0, hint="seconds between samples, or None for continuous time")
        sizes = tuple(map(len, (self.state, self.input, self.disturbance)))
        given = tuple(self.equations.size1_in(i) for i in range(self.equations.n_in()))
        if given != sizes or self.equations.numel_out() != len(self.state):
            raise DimensionMismatch(
                f"equations with arguments of sizes {given} and {self.equations.numel_out()} results; expected "
                f"{sizes} for state, input and disturbance, and {len(self.state)}"
            )
        if len(self.input_limits) not in (0, len(self.input)):
            raise DimensionMismatch(
                f"input_limits of {len(self.input_limits)} inputs; expected one (lower, upper) for each of "
                f"{', '.join(self.input.names)}, or none"
            )
        super().__post_init__()

    @property
    def is_discrete(self) -> bool:
        return self.dt is not None

    def _equations(self, x: Vector, u: Vector, w: Vector) -> Any:
        return self.equations(x.column, u.column, w.column)

    ode = _equations
    step = _equations

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return dict(zip(self.input.names, self.input_limits, strict=bool(self.input_limits)))
