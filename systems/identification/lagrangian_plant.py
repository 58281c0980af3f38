"""Mechanical plants whose mass matrix and potential are given, or were fitted, as functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np

from systems.arguments import expect_array, expect_pair
from systems.errors import DimensionMismatch, InvalidValue, expect, shown
from systems.euler_lagrange import accelerations, kinetic_energy
from systems.parameters import nonnegative
from systems.plant import Plant
from systems.signals import Signals, Vector

__all__ = ["CONTEXT", "LagrangianPlant", "expect_limits", "expect_mechanical"]

CONTEXT = ("context_1", "context_2", "context_3")
"""Names of the entries of a context, as many as it has."""


@final
@dataclass(frozen=True, eq=False)
class LagrangianPlant(Plant):
    """M(q, c) q'' + C(q, q', c) q' + dV/dq = B u - D q', with a context c that consists of parameters.

    C and dV/dq are derived from M and V. Therefore the power that enters the energy 1/2 q''M q' + V is (B u - D q')'q',
    whatever M > 0 and V are: without input and friction, a fitted plant conserves its energy, too.

    Args:
        terms: (q, c) -> (M, V), of sizes (n, n) and (1, 1), of SX expressions; M symmetric and positive definite for
            every c >= 0. c has at most 3 entries, and may have none.
        state: n coordinates followed by their rates, in the same order: the unit of a rate is that of its coordinate
            with "/s".
        input: m signals.
        matrix: B, (n, m).
        friction: the diagonal of D, (n,), not negative.
        input_limits: one (lower, upper) per input; default: none.
        context_1, context_2, context_3: c, not negative; those beyond its length stay 0.

    Raises:
        DimensionMismatch: sizes that do not fit.
        InvalidValue: states that are not coordinates and their rates, negative friction or context.
    """

    terms: ca.Function
    state: Signals
    input: Signals
    matrix: np.ndarray
    friction: np.ndarray
    input_limits: tuple[tuple[float, float], ...] = ()
    context_1: float = nonnegative(0.0)
    context_2: float = nonnegative(0.0)
    context_3: float = nonnegative(0.0)

    def __post_init__(self) -> None:
        expect(self.terms, ca.Function, "the terms of a Lagrangian plant", "a casadi.Function (q, c) -> (M, V)")
        for role in ("state", "input"):
            expect(getattr(self, role), Signals, f"{role} of a Lagrangian plant", 'such as signals("angle [rad]")')
        n = expect_mechanical(self.state)
        sizes = [self.terms.size_in(i) for i in range(self.terms.n_in())]
        results = [self.terms.size_out(i) for i in range(self.terms.n_out())]
        if (
            len(sizes) != 2
            or sizes[0] != (n, 1)
            or sizes[1][0] > len(CONTEXT)
            or sizes[1][0] * sizes[1][1] != sizes[1][0]
            or results != [(n, n), (1, 1)]
        ):
            raise DimensionMismatch(
                f"terms with arguments of sizes {sizes} and results of sizes {results}; expected coordinates "
                f"({n}, 1) and a context of at most {len(CONTEXT)} entries, giving a mass matrix ({n}, {n}) and a "
                "potential (1, 1)"
            )
        matrix = expect_array(self.matrix, "the input matrix", ("coordinates", "inputs"))
        if matrix.shape != (n, len(self.input)):
            raise DimensionMismatch(
                f"an input matrix of shape {matrix.shape}; expected ({n}, {len(self.input)}), a row for each coordinate"
            )
        friction = expect_array(self.friction, "friction", ("coordinates",))
        if len(friction) != n or (friction < 0).any():
            raise InvalidValue(f"friction = {friction}; expected {n} numbers of at least 0")
        for array, name in ((matrix, "matrix"), (friction, "friction")):
            array = array.copy()
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        expect_limits(self.input_limits, self.input)
        for name in CONTEXT[self.contexts :]:
            value = getattr(self, name)
            if isinstance(value, (int, float)) and value != 0:
                raise InvalidValue(f"{name} = {value:g}; expected 0, since the terms have {self.contexts} contexts")
        super().__post_init__()

    @property
    def contexts(self) -> int:
        """Length of c."""
        return int(self.terms.size1_in(1))

    @property
    def context_names(self) -> tuple[str, ...]:
        """Names of the entries of c, which are parameters."""
        return CONTEXT[: self.contexts]

    @property
    def parameters(self) -> dict[str, Any]:
        """The context by name."""
        return {name: getattr(self, name) for name in self.context_names}

    def _at(self, q: ca.SX) -> tuple[ca.SX, ca.SX]:
        mass, potential = self.terms(q, ca.vertcat(ca.SX(0, 1), *(getattr(self, name) for name in self.context_names)))
        return mass, potential

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        n = len(self.friction)
        q, v = ca.SX.sym("q", n), ca.SX.sym("v", n)
        mass, potential = self._at(q)
        force = ca.SX(self.matrix) @ u.column - ca.SX(self.friction) * v
        derived = accelerations(q, v, mass, potential, force)
        accelerated = ca.substitute(derived, ca.vertcat(q, v), x.column)
        return ca.vertcat(x.column[n:], accelerated)

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return dict(zip(self.input.names, self.input_limits, strict=bool(self.input_limits)))

    def energy(self) -> ca.Function:
        """``x -> 1/2 q''M q' + V`` [J], where forces are in N or N m."""
        n = len(self.friction)
        x = self.state.symbol()
        mass, potential = self._at(x[:n])
        return ca.Function("energy", [x], [kinetic_energy(mass, x[n:]) + potential], ["x"], ["energy"])


def expect_mechanical(state: Signals) -> int:
    """The number of coordinates of a state that consists of these and their rates.

    Raises:
        InvalidValue: it does not.
    """
    n = len(state) // 2
    units = [(state[i].unit, state[n + i].unit) for i in range(n)]
    if len(state) != 2 * n or not n or any(rate != f"{unit}/s" for unit, rate in units):
        raise InvalidValue(
            f"a state of {', '.join(map(str, state))}; expected coordinates followed by their rates in the same order, "
            'such as signals("shoulder [rad]", "elbow [rad]", "shoulder_rate [rad/s]", "elbow_rate [rad/s]")'
        )
    return n


def expect_limits(limits: Any, input: Signals) -> None:
    """Refuses limits that are not one (lower, upper) for each input, or none.

    Raises:
        DimensionMismatch, InvalidValue: they are not.
    """
    if not isinstance(limits, (tuple, list)) or len(limits) not in (0, len(input)):
        raise DimensionMismatch(
            f"input_limits = {shown(limits)}; expected one (lower, upper) for each of {', '.join(input.names)}, or none"
        )
    for pair, name in zip(limits, input.names, strict=bool(limits)):
        expect_pair(pair, f"input_limits of {name}")
