"""One step of a plant, or its derivative, as numbers, over boxes with its Jacobian, and in rational arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.certify.loops.sampled_flow import SampledFlow
from ctrl.certify.loops.second_order import SecondOrder, composed
from ctrl.controller import NotApplicable
from systems import Discretisation
from systems.arithmetic.balls import Ball
from systems.arithmetic.exact import (
    ExactColumn,
    NotExact,
    Value,
    evaluate_exactly,
    is_kept,
    jumps,
    kinked,
    with_symbolic_numbers,
)
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_matrices import reshape
from systems.implicit import ImplicitRungeKutta
from systems.lowering import lower
from systems.lowering.program import read
from systems.uncertain_parameters import expect_varied

__all__ = ["PlantStep", "ValueAndJacobian"]


@final
@dataclass(frozen=True, slots=True)
class ValueAndJacobian:
    """Enclosures of a value (..., n) and of its Jacobian (..., n, k) over boxes.

    The integrators of :mod:`systems.discretise` accept these in place of numbers, so the code of a step also computes
    its derivative by the chain rule (automatic differentiation in forward mode).
    """

    value: Interval
    jacobian: Ball

    __array_ufunc__ = None  # so that numpy scalars on the left defer to __rmul__

    def __add__(self, other: ValueAndJacobian) -> ValueAndJacobian:
        return ValueAndJacobian(self.value + other.value, self.jacobian + other.jacobian)

    def __mul__(self, scale: Any) -> ValueAndJacobian:
        return ValueAndJacobian(self.value * scale, self.jacobian * scale)

    __rmul__ = __mul__


@final
@dataclass(frozen=True, eq=False)
class PlantStep:
    """F(x, u, w): the next state of a sampled plant, or in continuous time its derivative.

    The enclosures hold in real arithmetic for the equations with their parameters and dt exactly as stored in double
    precision. These numbers are kept as symbols and substituted as points, so that CasADi cannot fold them into other
    numbers when it differentiates. For an exactly sampled affine plant they enclose both the flow itself and its
    simulation: :class:`SampledFlow`.

    Args:
        dynamics: the plant and how it is sampled.
        continuous: whether F is the derivative.
        uncertain: intervals of parameters, by name. Only these become symbols in the equations.
        is_disturbed: whether Jacobians are also taken with respect to the disturbance.

    Raises:
        NotApplicable: of :attr:`equations`, where the plant may jump between neighbouring states, or is sampled by an
            implicit integrator.
        InvalidValue: of :attr:`parameters`, for an interval that does not hold the plant's own value, or a parameter
            that the equations or limits read in a way that an expression cannot follow.
    """

    dynamics: Discretisation
    continuous: bool
    uncertain: Mapping[str, tuple[float, float]]
    is_disturbed: bool

    def __call__(self, x: np.ndarray, u: np.ndarray, w: np.ndarray) -> np.ndarray:
        """F (..., n) in floating point, with the plant's own parameters."""
        return self._numbers(x, u, w, self.parameters[0])

    def enclose(self, x: Interval, u: Interval, w: Interval | np.ndarray) -> Interval:
        """An enclosure of F over boxes (..., n), (..., m), (..., q)."""
        return self._boxes(x, u, w, self.parameters[1])

    def enclose_jacobian(
        self, x: Interval, u: Interval, w: Interval, by_x: Ball, by_u: Ball, first: int | None = None
    ) -> ValueAndJacobian:
        """F and its Jacobian with respect to some k variables, (..., n, k), given those of x and of u.

        Those from ``first`` on are the disturbances. If F may be undefined in a box, so is its Jacobian, because a
        derivative may be defined where its function is not, such as 1 / x for log(x).
        """
        plant = self.dynamics.plant
        n, m, q = len(plant.state), len(plant.input), len(plant.disturbance)
        batch, k = x.shape[:-1], by_x.shape[-1]

        def equations(z: ValueAndJacobian, u: Interval, w: Interval, p: Interval) -> ValueAndJacobian:
            value, *slopes_of = self._physics(z.value, u, w, p)
            if not self._is_kept:
                value = self._values(z.value, u, w, self.parameters[1])
            state, input, *by_disturbance = (
                Ball.of(reshape(J, (*batch, n, c))) for J, c in zip(slopes_of, (n, m, q)[: len(slopes_of)], strict=True)
            )
            slopes = state @ z.jacobian + input @ by_u
            if by_disturbance and first is not None:
                by_w = np.zeros((q, k))
                by_w[:, first:] = np.eye(q)
                slopes = slopes + by_disturbance[0] @ Ball.of(np.broadcast_to(by_w, (*batch, q, k)))
            return ValueAndJacobian(
                value, slopes if value.undefined is None else slopes.without_value(value.undefined[..., None])
            )

        return self._stepper(equations)(ValueAndJacobian(x, by_x), u, w, self.free[1])

    def enclose_second_order(self, x: Interval, u: Interval, w: Interval, by_x: Ball, by_u: Ball) -> SecondOrder:
        """F over one box (n,), (m,), (q,), with first and second derivatives with respect to k variables, given the
        Jacobians of x and u, which are affine in these.

        Raises:
            NotApplicable: the equations have kinks, at which second derivatives are meaningless.
        """
        if kinks := kinked(self.equations):
            raise NotApplicable(f"plant {self.dynamics.plant.name} uses {', '.join(kinks)}, which may have kinks")
        n, k = by_x.shape
        size = n + len(self.dynamics.plant.input)

        def equations(z: SecondOrder, u: Interval, w: Interval, p: Interval) -> SecondOrder:
            value, by_state, by_input, curvature = self._curves(z.value, u, w, p)
            if not self._is_kept:
                value = self._values(z.value, u, w, self.parameters[1])
            f_x, f_u = (Ball.of(reshape(J, (n, -1))) for J in (by_state, by_input))
            slopes = Ball(np.hstack([f_x.mid, f_u.mid]), np.hstack([f_x.rad, f_u.rad]))
            after = composed(value, slopes, Ball.of(reshape(curvature, (n, size, size))), z, by_u)
            return after.without_value(value.undefined)

        start = SecondOrder(x, by_x, Ball.of(np.zeros((n, k, k))))
        return self._stepper(equations)(start, u, w, self.free[1])

    def rests_exactly(self, x: Sequence[Fraction], u: Sequence[Value], w: Sequence[Fraction]) -> bool:
        """Whether F(x, u, w) = x, or F = 0 in continuous time, in rational arithmetic; false if a value is not known to
        be rational."""
        if self.flow is not None:  # at rest if its equations are zero, regardless of rounding in its samples
            program, p, stepper = read(self.dynamics.plant.casadi()), [], lambda source: source
        else:
            own, box = self.parameters
            p = [Fraction(a) if box.lo[k] == box.hi[k] else box[k] for k, a in enumerate(own.tolist())]
            program, stepper = read(self.equations), self._stepper

        def equations(z: ExactColumn, u: Sequence[Value], w: Sequence[Value], p: Sequence[Value]) -> ExactColumn:
            (value,) = evaluate_exactly(program, z.entries, u, w, p)
            if value is None:
                raise NotExact
            return ExactColumn(tuple(value))

        try:
            after = stepper(equations)(ExactColumn(tuple(x)), u, w, p)
        except NotExact:
            return False
        moves = not (self.continuous or self.flow is not None)  # rather than gives the velocity
        return list(after.entries) == (list(x) if moves else [Fraction(0)] * len(x))

    @cached_property
    def curved_directions(self) -> list[np.ndarray]:
        """Unit vectors (n,) of the states on which the Jacobian of the equations depends."""
        x, u, w, p = self.equations.sx_in()
        slopes = ca.jacobian(self.equations(x, u, w, p), ca.vertcat(x, u))
        curved = ca.which_depends(ca.vec(slopes), x, 1)
        return [np.eye(len(curved))[i] for i, does in enumerate(curved) if does]

    # ---- the equations and their arguments ----

    @cached_property
    def equations(self) -> ca.Function:
        """The equations f(x, u, w, p) that are stepped, as they are simulated: p are the uncertain parameters, or the
        entries of the matrices of an exact sampling."""
        names = tuple(self.uncertain)
        if self.flow is not None and not names:
            return self.flow.equations
        plant, integrator = self.dynamics.plant, self.dynamics.integrator
        if isinstance(integrator, ImplicitRungeKutta) and not (self.continuous or plant.is_discrete):
            raise NotApplicable(
                f"plant {plant.name} is discretised by {integrator}, whose steps are computed by Newton's method, "
                "which proofs do not support. Use continuous=True, or discretise by 'rk4' or, if the plant is affine, "
                "by 'exact'"
            )
        f = plant.casadi(names) if self.continuous else self.dynamics.equations(names)
        if jumping := jumps(f):
            raise NotApplicable(
                f"plant {plant.name} uses {', '.join(jumping)}, where it may be discontinuous, so its Jacobian does "
                "not bound its change and nothing can be proved. Write kinks with fmin, fmax or fabs; implicit "
                "integrators and algebraic signals, which need Newton's method, are not supported"
            )
        return f

    @cached_property
    def parameters(self) -> tuple[np.ndarray, Interval]:
        """The values of p, (k,): the plant's own numbers, and the intervals around these."""
        plant = self.dynamics.plant
        expect_varied(plant, self.uncertain)
        if self.flow is not None:
            return self.flow.numbers, self.flow.entries
        ends = np.array(list(self.uncertain.values()), dtype=float).reshape(-1, 2).T
        return np.array([float(plant.parameters[name]) for name in self.uncertain]), Interval(*ends)

    @cached_property
    def free(self) -> tuple[ca.Function, Interval]:
        """The equations with their literal numbers appended to p, and this p, for derivatives."""
        free, numbers = with_symbolic_numbers(self.equations)
        x, u, w, p, c = free.sx_in()
        joined = ca.Function(
            free.name(), [x, u, w, ca.vertcat(p, c)], [free(x, u, w, p, c)], ["x", "u", "w", "p"], ["f"]
        )
        own = self.parameters[1]
        return joined, Interval(np.concatenate([own.lo, numbers]), np.concatenate([own.hi, numbers]))

    @cached_property
    def flow(self) -> SampledFlow | None:
        """The flow of a plant that is sampled exactly."""
        dynamics = self.dynamics
        sampled = dynamics.integrator == "exact" and not (self.continuous or dynamics.plant.is_discrete)
        return SampledFlow(dynamics) if sampled else None

    # ---- lowered functions ----

    def _stepper(self, source: Callable[..., Any]) -> Callable[..., Any]:
        return source if self.continuous else self.dynamics.stepper(source)

    @cached_property
    def _is_kept(self) -> bool:
        """Whether CasADi left the equations unsimplified: it makes log(x) - log(x) zero, which is NaN at x < 0."""
        return is_kept(self.equations)

    @cached_property
    def _numbers(self) -> Callable[..., np.ndarray]:
        return self._stepper(lower(self.equations, to="numpy"))

    @cached_property
    def _values(self) -> Callable[..., Interval]:
        return lower(self.equations, to="interval")

    @cached_property
    def _boxes(self) -> Callable[..., Interval]:
        return self._stepper(self._values)

    @cached_property
    def _physics(self) -> Any:
        f = self.free[0]
        x, u, w, p = f.sx_in()
        value = f(x, u, w, p)
        slopes = [ca.jacobian(value, z) for z in ((x, u, w) if self.is_disturbed else (x, u))]
        return lower(ca.Function(f"{f.name()}_with_jacobians", [x, u, w, p], [value, *slopes]), to="interval")

    @cached_property
    def _curves(self) -> Any:
        """The equations, their Jacobians, and their second derivatives: output by output a matrix (n + m, n + m)."""
        f = self.free[0]
        x, u, w, p = f.sx_in()
        value, z = f(x, u, w, p), ca.vertcat(x, u)
        slopes = ca.densify(ca.jacobian(value, z))
        # CasADi stacks columns and numpy rows; transposed, the entries of one output come one after another.
        curvature = ca.densify(ca.jacobian(ca.vec(slopes.T), z)).T
        by_state, by_input = slopes[:, : x.shape[0]], slopes[:, x.shape[0] :]
        return lower(
            ca.Function(f"{f.name()}_with_curvature", [x, u, w, p], [value, by_state, by_input, ca.vec(curvature)]),
            to="interval",
        )
