"""Plants with algebraic equations in addition to differential ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import casadi as ca
import numpy as np

from systems.arguments import expect_array, expect_whole
from systems.errors import DimensionMismatch, InvalidValue, shown
from systems.expressions import column, evaluated
from systems.newton import SOLVED, as_function, newton, orthogonalise, where_solved
from systems.plant import Plant
from systems.signals import Signals, Values, Vector
from systems.symbolic_parameters import expect_same_function

__all__ = ["DifferentialAlgebraicPlant"]

_REGULAR = 1e-12  # smallest singular value of dg/dz with columns and rows of length 1


class DifferentialAlgebraicPlant(Plant):
    """A plant x' = f(x, z, u, w) whose algebraic signals z solve 0 = g(x, z, u, w), of index 1.

    A subclass declares ``algebraic`` in addition to the other signals, and defines ``derivative`` and
    ``algebraic_equations`` instead of ``ode``::

        @dataclass(frozen=True)
        class Diode(DifferentialAlgebraicPlant):
            capacity: float = positive(1e-6)  # F
            resistance: float = positive(100.0)  # ohm

            state = signals("voltage [V]")
            algebraic = signals("drop [V]")
            input = signals("source [V]")

            def derivative(self, x, z, u, w):
                return [(u.source - z.drop - x.voltage) / (self.resistance * self.capacity)]

            def algebraic_equations(self, x, z, u, w):
                current = (u.source - z.drop - x.voltage) / self.resistance
                return [current - 1e-12 * casadi.expm1(z.drop / 0.025)]

    Index 1 means that dg/dz is regular, so that x and u determine z. Newton's method computes z from ``guess`` in a
    fixed number of iterations, so that everything else works with an ordinary plant, ``ode(x, u, w)``. If it does not
    converge, x' is NaN, that is, the plant is undefined there. Equations of a higher index must be differentiated
    first, such as those of a rod of fixed length, which determine its force only after two differentiations.

    Raises:
        InvalidValue: an invalid class body, or equations that do not determine z for any values.
        DimensionMismatch: the numbers of equations and algebraic signals differ.
    """

    algebraic: Signals
    newton_iterations: ClassVar[int] = 8
    """Number of iterations of Newton's method; equations that are affine in z need three."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for method in ("ode", "step"):
            if method in cls.__dict__:
                raise InvalidValue(
                    f"{cls.__name__} defines {method}; a plant with algebraic signals defines derivative(x, z, u, w) "
                    "and algebraic_equations(x, z, u, w)"
                )

    def __post_init__(self) -> None:
        super().__post_init__()
        declared = getattr(self, "algebraic", None)
        if not isinstance(declared, Signals) or not declared:
            raise InvalidValue(
                f'{self.name}.algebraic is {shown(declared)}; write algebraic = signals("name [unit]", ...) in the '
                "class body, or derive from Plant if there are none"
            )
        others = {*self.state.names, *self.input.names, *self.disturbance.names}
        if twice := sorted(others & set(declared.names)):
            raise InvalidValue(f"{self.name}: {', '.join(twice)} named twice among algebraic and other signals")
        expect_whole(self.newton_iterations, f"{self.name}.newton_iterations", least=3, most=100)
        x, u, w = self._vectors()
        z = self._algebraic(declared.symbol())
        for written, arguments in (
            (self.derivative, (x, z, u, w)),
            (self.algebraic_equations, (x, z, u, w)),
            (self.guess, (x, u)),
        ):
            evaluated(written, f"{self.name}.{written.__name__}", *arguments)
        slopes = ca.jacobian(self._column(self.algebraic_equations, x, z, u, w), z.column)
        if ca.sprank(slopes) < len(declared):
            raise InvalidValue(
                f"{self.name}: the algebraic equations do not determine {', '.join(declared.names)}: dg/dz is singular "
                "for all values, so the index is higher than 1; differentiate the equations that contain states alone "
                "until the algebraic signals appear"
            )

    # ---- written by subclasses ----

    def derivative(self, x: Vector, z: Vector, u: Vector, w: Vector) -> Any:
        """Time derivative of the state, one expression per state, in order."""
        raise InvalidValue(f"{self.name} does not define derivative(x, z, u, w)")

    def algebraic_equations(self, x: Vector, z: Vector, u: Vector, w: Vector) -> Any:
        """The expressions that are zero, one per algebraic signal."""
        raise InvalidValue(f"{self.name} does not define algebraic_equations(x, z, u, w)")

    def guess(self, x: Vector, u: Vector) -> Any:
        """Where Newton's method begins, one expression per algebraic signal, in order; default: zero."""
        return [0.0] * len(self.algebraic)

    # ---- derived ----

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        """Time derivative of the state, with the algebraic signals that follow from state, input and disturbance."""
        z, residual = self._solve(x, u, w)
        written = self.derivative(x, self._algebraic(z), u, w)
        derivative = column(written, f"{self.name}.derivative", f"one expression per state: {self.state.names}")
        return where_solved(derivative, residual)

    def solve_algebraic(self, x: Vector, u: Vector, w: Vector | None = None) -> Vector:
        """The algebraic signals as expressions, for costs, constraints, measurements and observations.

        If Newton's method does not converge, they are its last iterates, since optimisers need a smooth function; a run
        ends at such a point, because the next state is undefined.

        Args:
            x, u: state and input.
            w: disturbance; default: zero.
        """
        no_disturbance = Vector(self.disturbance, ca.SX.zeros(len(self.disturbance)), f"{self.name} disturbance")
        return self._algebraic(self._solve(x, u, no_disturbance if w is None else w)[0])

    def algebraic_function(self) -> ca.Function:
        """``z(x, u, w) -> algebraic, residual, slopes``: the algebraic signals, the residual of Newton's method, see
        :func:`systems.newton.newton`, and dg/dz there."""
        x, u, w = self._vectors()
        z, residual = self._solve(x, u, w)
        free = self._algebraic(self.algebraic.symbol())
        g = self._column(self.algebraic_equations, x, free, u, w)
        slopes = as_function([free.column], [ca.densify(ca.jacobian(g, free.column))])(z)
        names = ["x", "u", "w"], ["algebraic", "residual", "slopes"]
        return ca.Function(f"{self.name}_algebraic", [x.column, u.column, w.column], [z, residual, slopes], *names)

    def algebraic_values(self, x: Values, u: Values, w: Values = ()) -> np.ndarray:
        """The algebraic signals (k,) that are consistent with a state and an input.

        Args:
            x: state, by name (others zero) or in order.
            u: input, likewise.
            w: disturbance, likewise; default: zero.

        Raises:
            InvalidValue: Newton's method does not converge from the plant's guess, or dg/dz is singular.
        """
        state, inputs = self.state.array(x, what="state"), self.input.array(u, what="input")
        disturbance = self.disturbance.optional(w, "disturbance")
        return self._expect_regular(self.algebraic_function(), state, inputs, disturbance)

    def expect_regular(self, x: np.ndarray, u: np.ndarray) -> None:
        """Refuses a plant that is not of index 1, or whose algebraic signals are not found, at any of the points.

        Args:
            x: (points, n). u: (points, m).

        Raises:
            InvalidValue: see :meth:`algebraic_values`.
        """
        x, u = expect_array(x, "x", ("points", len(self.state))), expect_array(u, "u", ("points", len(self.input)))
        function, no_disturbance = self.algebraic_function(), np.zeros(len(self.disturbance))
        for state, inputs in zip(x, u, strict=True):
            self._expect_regular(function, state, inputs, no_disturbance)

    def _expect_regular(self, function: ca.Function, x: np.ndarray, u: np.ndarray, w: np.ndarray) -> np.ndarray:
        z, residual, slopes = (np.array(part) for part in function(x, u, w))
        names, values = (*self.state.names, *self.input.names), (*x, *u)
        at = ", ".join(f"{name} = {value:.4g}" for name, value in zip(names, values, strict=True))
        with np.errstate(all="ignore"):
            scaled = slopes / np.linalg.norm(slopes, axis=1, keepdims=True)
            scaled = scaled / np.linalg.norm(scaled, axis=0)
        if np.isfinite(slopes).all() and not (
            np.isfinite(scaled).all() and np.linalg.svd(scaled, compute_uv=False)[-1] > _REGULAR
        ):
            raise InvalidValue(
                f"{self.name}: the algebraic equations do not determine {', '.join(self.algebraic.names)} at {at}: "
                "dg/dz is singular there, so the index is higher than 1; differentiate those in states alone"
            )
        if not residual[0, 0] <= SOLVED:
            raise InvalidValue(
                f"{self.name}: Newton's method does not find {', '.join(self.algebraic.names)} at {at} in "
                f"{self.newton_iterations} iterations (residual {residual[0, 0]:.2g}, which should be at most "
                f"{SOLVED:g}); write a better guess(x, u), or increase newton_iterations"
            )
        return np.asarray(z[:, 0])

    def _expect_followed(self, f: ca.Function, parameters: Sequence[str]) -> None:
        # Numerical and symbolic elimination differ in rounding, so the equations as written are compared.
        plant, p = self.symbolic(parameters)
        x, u, w = self._vectors()
        z = self._algebraic(self.algebraic.symbol())
        inputs = [ca.vertcat(x.column, z.column), u.column, w.column]
        written, known = (
            ca.vertcat(
                column(of.derivative(x, z, u, w), f"{self.name}.derivative", "one expression per state"),
                of._column(of.algebraic_equations, x, z, u, w),
                of._column(of.guess, x, u),
            )
            for of in (plant, self)
        )
        names = (*self.state.names, *self.algebraic.names, *(f"guess of {name}" for name in self.algebraic.names))
        expect_same_function(
            ca.Function("written", [*inputs, p], [written]),
            ca.Function("known", [*inputs, ca.SX(0, 1)], [known]),
            self.name,
            names,
            {name: float(getattr(self.parametrised, name)) for name in parameters},
        )

    def _solve(self, x: Vector, u: Vector, w: Vector) -> tuple[ca.SX, ca.SX]:
        """z and the residual of Newton's method, as expressions."""
        own = self._vectors()
        guess = self._column(self.guess, *own[:2])

        def equations(z: ca.SX) -> ca.SX:
            return self._column(self.algebraic_equations, own[0], self._algebraic(z), *own[1:])

        results = newton(equations, guess, ca.fabs(guess), self.newton_iterations, orthogonalise)
        solved = as_function([part.column for part in own], results)(x.column, u.column, w.column)
        return solved[0], ca.SX(solved[1])

    def _column(self, written: Any, *arguments: Vector) -> ca.SX:
        where, names = f"{self.name}.{written.__name__}", ", ".join(self.algebraic.names)
        result = column(written(*arguments), where, f"one expression per algebraic signal: {names}")
        if result.shape != (len(self.algebraic), 1):
            raise DimensionMismatch(
                f"{where} returned shape {result.shape}; expected ({len(self.algebraic)}, 1), one expression per "
                f"algebraic signal: {names}"
            )
        return ca.densify(result)

    def _vectors(self) -> tuple[Vector, Vector, Vector]:
        """State, input and disturbance as symbols."""
        roles = (self.state, "state"), (self.input, "input"), (self.disturbance, "disturbance")
        x, u, w = (Vector(declared, declared.symbol(), f"{self.name} {role}") for declared, role in roles)
        return x, u, w

    def _algebraic(self, z: ca.SX) -> Vector:
        return Vector(self.algebraic, z, f"{self.name} algebraic signal")
