"""Affine plants that are sampled exactly: the matrices of x+ = A x + B u + E w + c, enclosed.

The plant follows the flow; its simulation uses a rounded matrix exponential, computed by scipy with a relative error of
about 1e-15 and sometimes much more. The enclosures contain both.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import final

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from systems import Discretisation, exact
from systems.arithmetic.exact import Value, evaluate, with_symbolic_numbers
from systems.arithmetic.exponential import exponential
from systems.arithmetic.interval import Interval
from systems.lowering.program import read

__all__ = ["SampledFlow"]


@final
@dataclass(frozen=True, eq=False)
class SampledFlow:
    """A plant with affine equations and how it is sampled, the integrator being "exact".

    Raises:
        InvalidValue: the equations are not affine.
    """

    dynamics: Discretisation

    @cached_property
    def equations(self) -> ca.Function:
        """x+ as a function (x, u, w, p), p the entries of the matrices."""
        plant = self.dynamics.plant
        x, u, w = plant.state.symbol(), plant.input.symbol(), plant.disturbance.symbol()
        sizes = [z.shape[0] for z in (x, u, w)]
        matrices = [ca.SX.sym(name, len(plant.state), size) for name, size in zip("ABE", sizes, strict=True)]
        offset = ca.SX.sym("c", len(plant.state))
        after = sum((M @ z for M, z in zip(matrices, (x, u, w), strict=True)), offset)
        p = ca.vertcat(*(ca.vec(M) for M in matrices), offset)
        return ca.Function(f"{plant.name}_exact", [x, u, w, p], [after], ["x", "u", "w", "p"], ["next"])

    @cached_property
    def numbers(self) -> np.ndarray:
        """The entries used by the simulation."""
        plant = exact(self.dynamics.plant, self.dynamics.dt)
        return np.concatenate([M.ravel(order="F") for M in (plant.A, plant.B, plant.E, plant.c)])

    @cached_property
    def entries(self) -> Interval:
        """The entries of the flow, and those of the simulation.

        exp([[A, B], [0, 0]] dt) = [[exp(A dt), integral of exp(A t) B over dt], [0, 1]] (Van Loan 1978).

        Raises:
            NotApplicable: a coefficient of the equations is not known to be finite.
        """
        rows = self._coefficients()
        n, width = len(rows), len(rows[0])
        dt = Fraction(self.dynamics.dt)
        scaled = [[_times(a, dt) for a in row] for row in rows] + [[Fraction(0)] * width for _ in range(width - n)]
        try:
            flow = exponential(scaled)[:n].moved(lambda a: a.ravel(order="F"))
        except ValueError as error:
            raise NotApplicable(f"plant {self.dynamics.plant.name} cannot be sampled exactly: {error}") from error
        return flow.hull(self.numbers)

    def _coefficients(self) -> list[list[Value]]:
        """A, B, E and c side by side."""
        free, numbers = with_symbolic_numbers(self.dynamics.plant.casadi())
        x, u, w, _, c = free.sx_in()
        value = free(x, u, w, ca.SX(0, 1), c)
        slopes = [ca.densify(ca.jacobian(value, z)) for z in (x, u, w)]
        # Slopes are constant, as exact() has verified, and all that is left at the origin is the offset.
        f = ca.Function("coefficients", [x, u, w, c], [ca.horzcat(*slopes, ca.densify(value))])
        nowhere = [[Fraction(0)] * z.shape[0] for z in (x, u, w)]
        (entries,) = evaluate(read(f), *nowhere, [Fraction(a) for a in numbers.tolist()])
        width = f.size2_out(0)
        return [entries[k : k + width] for k in range(0, len(entries), width)]


def _times(a: Value, dt: Fraction) -> Value:
    if isinstance(a, Fraction):
        return a * dt
    return a * Interval(np.nextafter(float(dt), -np.inf), np.nextafter(float(dt), np.inf))
