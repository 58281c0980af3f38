"""The closed loop of a task and a law: numbers, intervals with their Jacobians, and affine forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import cached_property
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.certify.loops.sampled_flow import SampledFlow
from ctrl.certify.loops.value_and_jacobian import ValueAndJacobian
from ctrl.controller import Controller, NotApplicable
from ctrl.laws.law import Law, clip, clip_exactly
from systems import InvalidValue, Task, TriviumError, UnknownName
from systems.arithmetic.affine import Affine, Patch, clipped
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.exact import (
    ExactColumn,
    NotExact,
    Value,
    evaluate_exactly,
    is_kept,
    jumps,
    with_symbolic_numbers,
)
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_functions import clipped as clipped_box
from systems.arithmetic.interval_functions import intersection
from systems.arithmetic.interval_matrices import reshape
from systems.lowering import lower
from systems.lowering.program import read
from systems.uncertain_parameters import expect_varied

__all__ = ["ClosedLoop"]


@final
@dataclass(frozen=True, eq=False)
class ClosedLoop:
    """f(x, w) = F(x, clip(u(x)), w): the true plant under a control law, without disturbances unless given.

    In discrete time f(x) is the next state, x+ = f(x); in continuous time the time derivative, x' = f(x), with the
    control law evaluated continuously.

    The law is clipped to the task's input bounds, and these to the true plant's limits.

    The enclosures hold in real arithmetic for the equations of the true plant with its parameters, dt, gains and bounds
    exactly as stored in double precision. These numbers are kept as symbols and substituted as points, so that CasADi
    cannot fold them into other numbers when it differentiates. For an exactly sampled affine plant they enclose both
    the flow itself and its simulation: :class:`SampledFlow`.

    Args:
        task: whose true plant is controlled, with a constant reference.
        law: the controller in closed form.
        continuous: whether the law is evaluated continuously; default: once per sample.
        uncertain: intervals of parameters of the plant, by name; default: none. Only these become symbols in the
            plant's equations. The enclosures then hold for every value in the intervals; point evaluations use the
            plant's own values.
        disturbance: intervals of signals of w, by name, the others being zero; default: none. The enclosures then hold
            for every value in the intervals; point evaluations use the middle unless w is given.

    Raises:
        NotApplicable: the reference moves, or the plant may jump between neighbouring states.
        InvalidValue: an interval that does not hold the plant's own value, or an unbounded disturbance; an uncertain
            parameter that the plant's equations or limits read in a way that an expression cannot follow.
        UnknownName: no such parameter or signal.
    """

    task: Task
    law: Law
    continuous: bool = False
    uncertain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    disturbance: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.task, Task):
            raise InvalidValue(f"the task is of type {type(self.task).__name__}; expected a Task, which holds a plant")
        law: object = self.law
        if isinstance(law, type) or (isinstance(law, Controller) and not isinstance(law, Law)):
            name = law.__name__ if isinstance(law, type) else type(law).__name__
            known = hasattr(law, "law")
            way = f"give its law: {name}(task).law" if known else "only a law in closed form can be certified"
            raise InvalidValue(f"the law is {name}, a controller; {way}")
        if not self.task.reference.is_constant:
            raise NotApplicable(f"task '{self.task.name}': the reference moves; a region of attraction needs a point")
        if self.continuous and self.task.true_dynamics.plant.is_discrete:
            raise NotApplicable(f"plant {self.task.plant.name} is discrete by nature; it has no continuous time")
        if self.task.measurement is not None:
            raise NotApplicable(
                f"task '{self.task.name}' has a measurement, and this is the loop of a law that reads the state; prove "
                "it of dataclasses.replace(task, measurement=None), which says nothing of the loop with an estimator"
            )
        for name, ends in (*self.uncertain.items(), *self.disturbance.items()):
            if np.shape(ends) != (2,):
                raise InvalidValue(f"{name}: {ends!r}; expected an interval (low, high)")
        _ = self._parameters, self._equations, self.disturbance_box
        n, m = len(self.task.plant.state), len(self.task.plant.input)
        try:
            given = np.shape(self.law(np.zeros(n)))
            reads = self.law.enclose_jacobian(Interval.of(np.zeros(n))).shape[-1]
        except TriviumError:
            raise
        except ValueError as error:  # of numpy, which cannot multiply its weights by the state
            raise InvalidValue(f"the law cannot read {n} states, which {self.task.plant.name} has: {error}") from error
        if given != (m,):
            raise InvalidValue(f"the law answers with shape {given}; plant {self.task.plant.name} has {m} inputs")
        if reads != n:
            raise InvalidValue(f"the law reads {reads} states; plant {self.task.plant.name} has {n}")

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: a copy lowers its functions anew, since those cannot be pickled."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __call__(self, x: np.ndarray, w: np.ndarray | None = None) -> np.ndarray:
        """f (..., n) at states (..., n) and disturbances (..., q) in floating point, for sampling."""
        u = np.clip(self.law(x), *self._bounds)
        return self._numbers(x, u, self.disturbance_box.mid if w is None else w, self._parameters[0])

    def enclose(self, x: Interval, w: Interval | np.ndarray | None = None) -> Interval:
        """Every value of f over the boxes (..., n), for every disturbance or for those in boxes (..., q)."""
        u = clipped_box(self.law.enclose(x), *self._bounds)
        return self._boxes(x, u, self.disturbance_box if w is None else w, self._parameters[1])

    def enclose_jacobian(self, x: Interval) -> ValueAndJacobian:
        """As :meth:`enclose`, with enclosures (..., n, n) of the Jacobian df/dx over the boxes."""
        u, slope = clip(self.law.enclose(x), self.law.enclose_jacobian(x), *self._bounds)
        identity = np.broadcast_to(np.eye(x.shape[-1]), (*x.shape, x.shape[-1]))
        return self._value_and_jacobian(x, u, Ball.of(identity), Ball.of(slope))

    def enclose_slopes(self, patch: Patch) -> Ball:
        """Every slope df/dd over parallelepipeds x = point + T d, (b, n, n)."""
        u, slope = clip(self._input_range(patch), self.law.enclose_slopes(patch), *self._bounds)
        return self._value_and_jacobian(patch.hull, u, patch.turn, Ball.of(slope) @ patch.turn).jacobian

    def relax(self, patch: Patch) -> Affine:
        """An affine form of f over parallelepipeds: that of the law, carried through the plant by its Jacobian.

        A mean value form (Moore, Kearfott & Cloud 2009, section 6.3) in the state and the input: with u = C d + e,
        f = f(middle) + (df/dx T + df/du C) d + df/du e, where the slopes are enclosed over the whole box.

        Where there is a disturbance, it is a form over :meth:`with_disturbances` of them.
        """
        n, m, half = patch.half.shape[-1], len(self.task.plant.input), patch.half
        k = n + m + (self.disturbance_box.shape[0] if self.is_disturbed else 0)
        lower, upper = self._bounds
        form = clipped(self.law.relax(patch), half, lower, upper)
        # The range of a relaxation may exceed the bounds, the input itself does not; but the mean value theorem needs
        # all points between the input and the relaxation's own middle.
        reach = form.range(half)
        least, most = np.clip(reach.lo, lower, upper), np.clip(reach.hi, lower, upper)
        u = Interval(np.fmin(least, form.value), np.fmax(most, form.value))
        by_x = np.zeros((len(patch), n, k))
        by_x[..., :n] = patch.T
        by_u = np.zeros((len(patch), m, k))
        by_u[..., n : n + m] = np.eye(m)
        slopes = self._value_and_jacobian(patch.hull, u, Ball.of(by_x), Ball.of(by_u), n + m).jacobian
        by_input = slopes[..., n : n + m]
        total = slopes[..., :n] + (by_input @ Ball.of(form.matrix))
        if self.is_disturbed:
            by_w = slopes[..., n + m :]
            total = Ball(*(np.concatenate([a, b], axis=-1) for a, b in ((total.mid, by_w.mid), (total.rad, by_w.rad))))
            half = self.with_disturbances(patch).half
        value = self._boxes(patch.point, Interval.of(form.value), self.disturbance_box.mid, self._parameters[1])
        with np.errstate(invalid="ignore", over="ignore"):
            radius = (total.rad @ half[..., None])[..., 0] + (by_input.size @ form.radius[..., None])[..., 0]
            return Affine(value.mid, total.mid, upward(radius + value.rad))

    def with_disturbances(self, patch: Patch) -> Patch:
        """The parallelepipeds extended by one direction per disturbance, along which the state is constant; unchanged
        without disturbances."""
        if not self.is_disturbed:
            return patch
        reach = np.broadcast_to(self.disturbance_box.rad, (len(patch), self.disturbance_box.shape[0]))
        across = np.zeros((len(patch.T), reach.shape[-1]))
        return Patch(
            patch.hull, patch.point, np.concatenate([patch.half, reach], axis=-1), np.hstack([patch.T, across])
        )

    def _input_range(self, patch: Patch) -> Interval:
        """Where the law may lie before the bounds, from its relaxation and its enclosure over the hull."""
        near, far = self.law.relax(patch).range(patch.half), self.law.enclose(patch.hull)
        return intersection(near, far)

    def _value_and_jacobian(
        self, x: Interval, u: Interval, by_x: Ball, by_u: Ball, first: int | None = None
    ) -> ValueAndJacobian:
        """f and its Jacobian with respect to some k variables, (..., n, k), given those of x and of u.

        Those from ``first`` on are the disturbances. Where f may be undefined in a box, so is its Jacobian: a
        derivative can be defined where its function is not, such as 1 / x of log(x).
        """
        n, m, q = len(self.task.plant.state), len(self.task.plant.input), len(self.task.plant.disturbance)
        batch, k = x.shape[:-1], by_x.shape[-1]

        def equations(z: ValueAndJacobian, u: Interval, w: Interval, p: Interval) -> ValueAndJacobian:
            value, *slopes_of = self._physics(z.value, u, w, p)
            if not self._is_kept:
                value = self._values(z.value, u, w, self._parameters[1])
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

        return self._stepper(equations)(ValueAndJacobian(x, by_x), u, self.disturbance_box, self._free[1])

    def law_directions(self, x: Interval) -> list[np.ndarray]:
        """Gradients (n,) of the inputs near the middle of a box (n,): the control law's kinks are most pronounced along
        these."""
        return [row for row in Ball.of(self.law.enclose_jacobian(x)).mid if np.isfinite(row).all() and row.any()]

    @cached_property
    def curved_directions(self) -> list[np.ndarray]:
        """Unit vectors (n,) of the states on which the Jacobian of the plant's equations depends."""
        f = self._equations
        x, u, w, p = f.sx_in()
        slopes = ca.jacobian(f(x, u, w, p), ca.vertcat(x, u))
        curved = ca.which_depends(ca.vec(slopes), x, 1)
        return [np.eye(len(curved))[i] for i, does in enumerate(curved) if does]

    @property
    def reference(self) -> np.ndarray:
        """The reference state (n,)."""
        return self.task.reading.start[0]

    @cached_property
    def representatives(self) -> tuple[np.ndarray, np.ndarray]:
        """Bounds, lower and upper (n,), within which periodic signals and quaternions are the representatives nearest
        to the reference.

        A controller may map its measurement to the representative nearest to the reference, so the control law
        describes the controller within these bounds only.

        Raises:
            NotApplicable: the quaternions nearest to the reference do not form a box.
        """
        state, at = self.task.reading.state, self.reference
        lower, upper = at - 0.5 * state.periods, at + 0.5 * state.periods
        for group in state.quaternions:
            along = [i for i in group if at[i] != 0.0]
            if len(along) != 1:
                names = ", ".join(state.names[i] for i in group)
                raise NotApplicable(
                    f"task '{self.task.name}': the reference of the quaternion {names} has {len(along)} components "
                    "that are not zero, so the attitudes closer to it than to its negative do not form a box; turn "
                    "the axes so that one is left, or confine the quaternion by the task's domain"
                )
            (lower if at[along[0]] > 0 else upper)[along[0]] = 0.0
        return lower, upper

    @property
    def domain(self) -> tuple[np.ndarray, np.ndarray]:
        """``Task.domain_bounds`` cut to the :attr:`representatives`."""
        (low, high), (least, most) = self.task.domain_bounds, self.representatives
        return np.maximum(low, least), np.minimum(high, most)

    def beyond_half_a_period(self, lower: np.ndarray, upper: np.ndarray) -> str:
        """In words, the parts of a box of states, lower and upper (n,), beyond the :attr:`representatives`; empty where
        none are."""
        least, most = self.representatives
        out = [
            f"{name} in [{low!r}, {high!r}]"
            for name, low, high in zip(self.task.plant.state.names, least.tolist(), most.tolist(), strict=True)
        ]
        return ", ".join(text for text, wrong in zip(out, (lower < least) | (upper > most), strict=True) if wrong)

    def drift(self, x: np.ndarray) -> tuple[bool, float]:
        """Whether x is exactly an equilibrium, and a bound on its change (in one sample, or per unit of time).

        Intervals cannot prove an equality; rational arithmetic can, and does wherever the value is rational for an
        obvious reason (polynomial plants, zero angles).
        """
        moved = self.increment(Interval.of(x))
        bound = float(abs(moved).hi.max(initial=0.0))
        point = [Fraction(a) for a in x.tolist()]
        u = self.law.exact(point)
        if u is None:
            return False, bound
        if self._flow is not None:  # at rest where its equations are zero, however its samples are rounded
            program, p, stepper = read(self._flow.dynamics.plant.casadi()), [], lambda source: source
        else:
            own, box = self._parameters
            p = [Fraction(a) if box.lo[k] == box.hi[k] else box[k] for k, a in enumerate(own.tolist())]
            program, stepper = read(self._equations), self._stepper
        inputs = clip_exactly(u, *self._bounds)

        def equations(z: ExactColumn, u: Sequence[Value], w: Sequence[Value], p: Sequence[Value]) -> ExactColumn:
            (value,) = evaluate_exactly(program, z.entries, u, w, p)
            if value is None:
                raise NotExact
            return ExactColumn(tuple(value))

        try:
            step = stepper(equations)
            middle = [Fraction(a) for a in self.disturbance_box.mid.tolist()]
            after = step(ExactColumn(tuple(point)), inputs, middle, p)
        except NotExact:
            return False, bound
        moves = not (self.continuous or self._flow is not None)  # rather than gives the velocity
        return list(after.entries) == (point if moves else [Fraction(0)] * len(point)), bound

    def increment(self, x: Interval) -> Interval:
        """Encloses the change per sample f(x) - x (..., n), in continuous time the derivative f(x); zero at an
        equilibrium."""
        after = self.enclose(x)
        return after if self.continuous else after - x

    # ---- lowered functions ----

    def _stepper(self, source: Callable[..., Any]) -> Callable[..., Any]:
        return source if self.continuous else self.task.true_dynamics.stepper(source)

    @cached_property
    def _equations(self) -> ca.Function:
        """The equations f(x, u, w, p) that are stepped, as they are simulated: p are the uncertain parameters, or the
        entries of the matrices of an exact sampling."""
        dynamics, names = self.task.true_dynamics, tuple(self.uncertain)
        if self._flow is not None and not names:
            return self._flow.equations
        f = dynamics.plant.casadi(names) if self.continuous else dynamics.equations(names)
        if jumping := jumps(f):
            raise NotApplicable(
                f"plant {self.task.plant.name} uses {', '.join(jumping)}, where it may jump: its Jacobian does not "
                "describe it, so nothing can be proved. Write kinks with fmin, fmax or fabs"
            )
        return f

    @cached_property
    def _parameters(self) -> tuple[np.ndarray, Interval]:
        """Their p, (k,): the plant's own numbers, and the intervals around these."""
        plant = self.task.true_dynamics.plant
        expect_varied(plant, self.uncertain)
        if self._flow is not None:
            return self._flow.numbers, self._flow.entries
        ends = np.array(list(self.uncertain.values()), dtype=float).reshape(-1, 2).T
        return np.array([float(plant.parameters[name]) for name in self.uncertain]), Interval(*ends)

    @cached_property
    def _free(self) -> tuple[ca.Function, Interval]:
        """The equations with their literal numbers at the end of p, and p, for derivatives."""
        free, numbers = with_symbolic_numbers(self._equations)
        x, u, w, p, c = free.sx_in()
        joined = ca.Function(
            free.name(), [x, u, w, ca.vertcat(p, c)], [free(x, u, w, p, c)], ["x", "u", "w", "p"], ["f"]
        )
        own = self._parameters[1]
        return joined, Interval(np.concatenate([own.lo, numbers]), np.concatenate([own.hi, numbers]))

    @cached_property
    def _is_kept(self) -> bool:
        """Whether CasADi has simplified nothing in them: log(x) - log(x) would be 0 then, and is NaN when it runs."""
        return is_kept(self._equations)

    @cached_property
    def _flow(self) -> SampledFlow | None:
        """Of a plant that is sampled exactly."""
        dynamics = self.task.true_dynamics
        sampled = dynamics.integrator == "exact" and not (self.continuous or dynamics.plant.is_discrete)
        return SampledFlow(dynamics) if sampled else None

    @property
    def is_sampled_exactly(self) -> bool:
        """Whether the enclosures hold the solution between samples, and not an integrator's step."""
        return self._flow is not None

    @property
    def is_disturbed(self) -> bool:
        return bool(self.disturbance)

    @cached_property
    def disturbance_box(self) -> Interval:
        """Enclosure (q,) of the admitted disturbances."""
        low, high = (np.zeros(len(self.task.plant.disturbance)) for _ in range(2))
        names = list(self.task.plant.disturbance.names)
        for name, (least, most) in self.disturbance.items():
            if name not in names:
                raise UnknownName.among(name, names, f"disturbance of {self.task.plant.name}")
            if not -np.inf < least <= most < np.inf:
                raise InvalidValue(f"{name} in [{least}, {most}]; expected a bounded interval")
            low[names.index(name)], high[names.index(name)] = least, most
        return Interval(low, high)

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.task.applied_bounds

    @cached_property
    def _numbers(self) -> Callable[..., np.ndarray]:
        return self._stepper(lower(self._equations, to="numpy"))

    @cached_property
    def _values(self) -> Callable[..., Interval]:
        return lower(self._equations, to="interval")

    @cached_property
    def _boxes(self) -> Callable[..., Interval]:
        return self._stepper(self._values)

    @cached_property
    def _physics(self) -> Any:
        f = self._free[0]
        x, u, w, p = f.sx_in()
        value = f(x, u, w, p)
        slopes = [ca.jacobian(value, z) for z in ((x, u, w) if self.is_disturbed else (x, u))]
        return lower(ca.Function(f"{f.name()}_with_jacobians", [x, u, w, p], [value, *slopes]), to="interval")
